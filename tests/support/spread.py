# SPDX-License-Identifier: Apache-2.0
"""Tables and chunks that are spread over ranks, as `slotwise.distributed` declares them."""

from __future__ import annotations

from typing import Any

import numpy as np
import slotwise
from slotwise.distributed._parts import Parted, declare
from slotwise.distributed._placement import BUCKETS, Placement, chunk


class Table:
    """A table of which a rank has some rows, as its ``local`` Variable."""

    def __init__(self, comm: Any, whole: np.ndarray, name: str, placement: Placement) -> None:
        runs = placement.runs(comm.rank)
        none = np.empty(0, np.int64)
        places = np.concatenate([none, *(np.arange(r.begin, r.begin + r.count) for r in runs)])
        self.rows = placement.rows_at(places)  # of the whole, in the order of those that are here
        self.local = slotwise.Variable(whole[self.rows], name=name)
        declare(self.local.value, Parted(comm, whole.shape, placement, tuple(runs)))


def even(comm: Any, whole: np.ndarray, name: str = "emb") -> Table:
    return Table(comm, whole, name, Placement.even(len(whole), comm.size))


def scattered(comm: Any, whole: np.ndarray, name: str = "emb", seed: int = 0) -> Table:
    """Any bucket on any rank; rank 1 has none."""
    owners = np.random.default_rng(seed).integers(0, comm.size, BUCKETS)
    owners[owners == 1] = 0
    return Table(comm, whole, name, Placement(len(whole), owners, comm.size))


def chunk_of(comm: Any, whole: np.ndarray) -> np.ndarray:
    """A rank's chunk of a dense array's elements."""
    run = chunk(whole.size, comm.rank, comm.size)
    own = whole.reshape(-1)[run.begin : run.begin + run.count].copy()
    declare(own, Parted(comm, whole.shape, None, (run,)))
    return own


class Wrapped:
    """A communicator whose calls do something else first."""

    def __init__(self, comm: Any, before: Any) -> None:
        self._comm, self._before = comm, before
        self.rank, self.size = comm.rank, comm.size

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._comm, name)

        def wrapped(*args: Any) -> Any:
            self._before(self._comm, name, args)
            return call(*args)

        return wrapped


def chunks_of(size: int) -> Any:
    """What `_checksums.chunk_of_units` would be with chunks of another size."""
    return lambda unit: max(1, size // max(1, unit)) * max(1, unit)
