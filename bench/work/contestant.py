# SPDX-License-Identifier: Apache-2.0
"""What a contestant hands to the measuring core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

State = list[dict[str, NDArray[Any]]]


class Unsupported(Exception):
    """The contestant has no way to do this work; the text says why."""


class Elsewhere(Protocol):
    """Processes that run a statement, and time it themselves."""

    def run(self, calls: int) -> float:
        """Seconds of so many calls."""

    def processor_time(self) -> float:
        """Seconds that the processes have computed since they started."""


@dataclass
class Subject:
    """One thing to time: a statement as a user writes it, and the names it uses.

    ``state`` returns var and the slots as NumPy arrays, one dictionary per tensor, after any
    number of runs; a contestant leaves out slots that it keeps in another form. ``repeat``
    replaces the statement's loop where the loop itself is compiled, ``elsewhere`` where it runs in
    other processes.
    """

    statement: str
    names: dict[str, Any]
    state: Callable[[], State]
    note: str = ""
    repeat: Callable[[int], None] | None = None
    elsewhere: Elsewhere | None = None
    keep: Any = field(default=None, repr=False)
