# SPDX-License-Identifier: Apache-2.0
"""What a contestant hands to the measuring core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

State = list[dict[str, NDArray[Any]]]


class Unsupported(Exception):
    """The contestant has no way to do this work; the text says why."""


@dataclass
class Subject:
    """One thing to time: a statement as a user writes it, and the names it uses.

    ``state`` returns var and the slots as NumPy arrays, one dictionary per tensor, after any
    number of runs; a contestant leaves out slots that it keeps in another form. ``repeat``
    replaces the statement's loop where the loop itself is compiled.
    """

    statement: str
    names: dict[str, Any]
    state: Callable[[], State]
    note: str = ""
    repeat: Callable[[int], None] | None = None
    keep: Any = field(default=None, repr=False)
