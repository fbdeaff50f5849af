# SPDX-License-Identifier: Apache-2.0
"""Tensors of which each rank has a part: whose units are whose, and who reads or writes what."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slotwise.distributed import Communicator, local
from slotwise.distributed._parts import Parted, part_of
from slotwise.distributed._placement import Run, cut
from slotwise.state._index import Parts
from slotwise.state._ranks import Ranks

Array = NDArray[Any]
Chunks = tuple[int, range]  # of one of several tensors


def parted_of(arrays: Mapping[str, Array], owners: Mapping[str, Array]) -> dict[str, Parted]:
    """The arrays that are parts, each of a whole of its own.

    Args:
        arrays: by name.
        owners: of slots, the variables beside which they are.
    """
    found = {}
    for name, array in arrays.items():
        parted = part_of(array)
        if parted is None and name in owners:
            parted = _beside(array, owners[name])
        if parted is not None:
            found[name] = parted
    return found


def _beside(array: Array, owner: Array) -> Parted | None:
    """A slot beside a part is one, too, of as many rows or elements."""
    parted = part_of(owner)
    if parted is None or array.shape[:1] != owner.shape[:1]:
        return None
    if parted.placement is None:
        return parted if array.shape == owner.shape else None
    return replace(parted, shape=parted.shape[:1] + array.shape[1:])


def ranks_of(op: str, comms: Iterable[Communicator]) -> Ranks:
    """The ranks of a communicator, which may be named several times; without any, this process.

    Raises:
        ValueError: there are several.
    """
    found = {id(comm): comm for comm in comms}
    if len(found) > 1 and any(comm.size > 1 for comm in found.values()):
        raise ValueError(
            f"{op}: expected tables and optimizers of one communicator, got {len(found)}"
        )
    return Ranks(next(iter(found.values()), None) or local())


def kind_of(op: str, name: str, array: Array, parted: Parted) -> Parts:
    """The whole that an array is a part of.

    Raises:
        ValueError: the array is not what it was declared to be.
    """
    kind = Parts(array.dtype, parted.shape, parted.placement is not None)
    at = 0
    for run in sorted(parted.runs, key=lambda run: run.local):
        at = at + run.count if run.local == at else -1
    own = array.shape[0] if kind.buckets else array.size
    if at != own or (kind.buckets and array.shape[1:] != kind.unit_shape):
        raise ValueError(
            f"{op}: '{name}': expected the part of shape {parted.shape} that it was declared to "
            f"be, got shape {array.shape}"
        )
    return kind


class Own(NamedTuple):
    """What is here of a tensor: a kind of whole, and the runs of its units."""

    kind: Parts
    runs: Sequence[Run]


class Dealt:
    """Whose units of a tensor are whose.

    Args:
        what: errors begin with it.
        units: how many there are.
        runs: of each rank.

    Raises:
        ValueError: a unit belongs to none, or to several.
    """

    def __init__(self, what: str, units: int, runs: Sequence[Sequence[Run]]) -> None:
        self._runs = [sorted(run for run in own if run.count) for own in runs]
        self._begins = [[run.begin for run in own] for own in self._runs]
        every = sorted((*run, rank) for rank, own in enumerate(self._runs) for run in own)
        table = np.array(every, np.int64).reshape(-1, 4)
        self._all = table[:, 0], table[:, 1], table[:, 3]
        ends = np.concatenate([[0], table[:, 0] + table[:, 2]])
        if [*table[:, 0], units] != ends.tolist():
            raise ValueError(f"{what}: expected parts that make up {units} units, each on one rank")

    def of(self, rank: int, begin: int, end: int) -> list[Run]:
        """What a rank has of a range of units."""
        runs, begins = self._runs[rank], self._begins[rank]
        first = max(0, bisect_right(begins, begin) - 1)
        return cut(runs[first : bisect_left(begins, end)], begin, end)

    def locate(self, units: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rank of each unit, and its place there."""
        begins, places, ranks = self._all
        which = np.searchsorted(begins, units, side="right") - 1
        return ranks[which], places[which] + units - begins[which]


def deal(op: str, ranks: Ranks, parts: Mapping[str, Own]) -> dict[str, Dealt]:
    """Have all ranks know whose units are whose, of tensors that are the same on each rank."""
    distinct: dict[tuple[Run, ...], int] = {}
    own = [
        distinct.setdefault(tuple(Run(*map(int, run)) for run in each.runs), len(distinct))
        for each in parts.values()
    ]
    told = ranks.agree(lambda: ([*distinct], own), lambda found: found)[1]
    every = [[[Run(*run) for run in each] for each in found] for found, _ in told]
    found, known = {}, {}
    for number, (name, each) in enumerate(parts.items()):
        key = (each.kind.units, *(which[number] for _, which in told))
        if key not in known:
            chosen = [every[rank][which[number]] for rank, (_, which) in enumerate(told)]
            known[key] = Dealt(f"{op}: '{name}'", each.kind.units, chosen)
        found[name] = known[key]
    return found


class Some(NamedTuple):
    """Some rows of a table that is spread over ranks, in its stored order.

    Attributes:
        total: how many there are on all ranks.
        runs: which of them this rank has.
        local: their rows in the part that is here.
        places: their places in the stored order of the table.
    """

    total: int
    runs: list[Run]
    local: NDArray[np.int64]
    places: NDArray[np.int64]

    def part(self, dtype: np.dtype[Any], row: tuple[int, ...]) -> Own:
        """An array that has a row of this shape for each."""
        width = math.prod(row)
        runs = [Run(*(width * number for number in run)) for run in self.runs]
        return Own(Parts(dtype, (self.total, *row), False), runs)


def some_of(ranks: Ranks, runs: Sequence[Run], mask: NDArray[np.bool_]) -> Some:
    """The rows of a part that a mask has, and those of the other ranks."""
    ordered = sorted(Run(*map(int, run)) for run in runs if run.count)
    local = [run.local + np.flatnonzero(mask[run.local :][: run.count]) for run in ordered]
    counts = [len(own) for own in local]
    told = ranks.agree(lambda: [[r.begin, n] for r, n in zip(ordered, counts, strict=True)], list)
    begins, total = {}, 0
    for begin, count in sorted(each for own in told[1] for each in own):
        begins[begin], total = total, total + count
    firsts = np.cumsum([0, *counts]).tolist()
    found = [Run(begins[r.begin], f, n) for r, f, n in zip(ordered, firsts, counts, strict=False)]
    places = [own + run.begin - run.local for run, own in zip(ordered, local, strict=True)]
    none = np.empty(0, np.int64)
    return Some(total, found, np.concatenate([none, *local]), np.concatenate([none, *places]))


def same_everywhere(op: str, ranks: Ranks, found: Mapping[str, Any]) -> None:
    """Raise unless all ranks have found the same, which JSON can hold."""
    told = ranks.agree(lambda: found, lambda found: found)[1]
    for rank, other in enumerate(told):
        for what in {**told[0], **other}:
            a, b = told[0].get(what), other.get(what)
            if a != b and repr(a) != repr(b):  # NaN is the same as NaN
                got = f"rank 0 has {a!r:.300}, rank {rank} {b!r:.300}"
                raise ValueError(f"{op}: {what}: expected the same on all ranks, but {got}")


def shares(tensors: Iterable[tuple[int, int]], ranks: int) -> list[list[Chunks]]:
    """The chunks that each rank reads or writes: equal runs of all bytes.

    Args:
        tensors: the bytes of each, and of its chunks.
        ranks: how many there are.
    """
    known = [*tensors]
    total, at = sum(size for size, _ in known), 0
    found: list[list[Chunks]] = [[] for _ in range(ranks)]
    for number, (size, chunk) in enumerate(known):
        count = -(-size // chunk)
        firsts = [-(-(total * rank // ranks - at) // chunk) for rank in range(ranks + 1)]
        for rank, (first, last) in enumerate(pairwise(firsts)):
            own = range(min(max(first, 0), count), min(max(last, 0), count))
            if own:
                found[rank].append((number, own))
        at += size
    return found


def in_rounds(shares: Sequence[Iterable[Chunks]]) -> list[list[tuple[int, int] | None]]:
    """Chunks that ranks deal with at once: a list for each round, of one for each rank, if any."""
    flat = [[(tensor, chunk) for tensor, chunks in own for chunk in chunks] for own in shares]
    count = max(map(len, flat))
    return [[own[n] if n < len(own) else None for own in flat] for n in range(count)]
