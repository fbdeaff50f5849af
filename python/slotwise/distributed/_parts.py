# SPDX-License-Identifier: Apache-2.0
"""Arrays that are parts of a whole: which part of which whole, known by their memory."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from slotwise._identity import Memory, memory_of
from slotwise.distributed._communicator import Communicator
from slotwise.distributed._placement import Placement, Run


@dataclass(frozen=True)
class Parted:
    """A whole that is spread over ranks, and the part of it that is here.

    Attributes:
        comm: the ranks.
        shape: of the whole.
        placement: of a table, whose units are rows, in the placement's stored order; None for what
            is dealt out by elements, in C order.
        runs: which units of the whole this rank has, in stored order.
    """

    comm: Communicator
    shape: tuple[int, ...]
    placement: Placement | None
    runs: tuple[Run, ...]


_known: dict[Memory, tuple[weakref.ref[Any], Parted]] = {}


def declare(array: NDArray[Any], parted: Parted) -> None:
    """Note that an array is a part. (A slot beside it is the same part of a whole of its own.)"""
    key, owner = memory_of(array), array
    while isinstance(owner.base, type(array)):
        owner = owner.base
    _known[key] = weakref.ref(owner, lambda dead: _forget(key, dead)), parted


def _forget(key: Memory, dead: weakref.ref[Any]) -> None:
    if key in _known and _known[key][0] is dead:
        del _known[key]


def part_of(array: NDArray[Any]) -> Parted | None:
    """What an array is a part of; None if it is a whole."""
    return _known.get(memory_of(array), (None, None))[1] if _known else None
