# SPDX-License-Identifier: Apache-2.0
"""The same training on any number of ranks: what each does, and what comes of it all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slotwise
from slotwise import _stateful, distributed, initializers
from slotwise._variable import own_array
from slotwise.distributed import Communicator, ShardedTable, Shares
from slotwise.distributed._parts import part_of
from support.reference import Array

SHARES = 8  # parts of a batch that variables' gradients come in

Split = Callable[[int, int], Sequence[int]]  # where each rank's part of so many ids begins; the end


def even(count: int, ranks: int) -> list[int]:
    return [count * rank // ranks for rank in range(ranks + 1)]


def at_random(seed: int) -> Split:
    """Parts of any lengths; some are empty."""

    def split(count: int, ranks: int) -> list[int]:
        rng = np.random.default_rng(seed)
        return [0, *np.sort(rng.integers(0, count + 1, ranks - 1)).tolist(), count]

    return split


def all_on_the_last(count: int, ranks: int) -> list[int]:
    return [0] * ranks + [count]


@dataclass
class Training:
    """Steps of an optimizer with a table and a variable that all ranks have."""

    make: Callable[[Communicator], Any]  # the optimizer
    dtype: Any = np.float32
    shape: tuple[int, ...] = (500, 6)
    ids: int = 600
    steps: int = 3
    spread: float = 4.0  # gradients' scales are 10 to the power of up to so much
    table: dict[str, Any] = field(default_factory=dict)
    pooled: bool = False
    seed: int = 7

    def batches(self) -> list[tuple[Array, Array, Array]]:
        rng = np.random.default_rng(self.seed)
        found = []
        for _ in range(self.steps):
            ids = (rng.zipf(1.2, self.ids) - 1) % self.shape[0]
            scales = 10.0 ** rng.uniform(-self.spread, self.spread, (self.ids, 1))
            grads = rng.standard_normal((self.ids, *self.shape[1:])) * scales
            parts = rng.standard_normal((SHARES, 3, 5))
            found.append((ids, grads.astype(self.dtype), parts.astype(self.dtype)))
        return found

    def run(self, comm: Communicator, split: Split = even) -> dict[str, Any]:
        """What a rank has in the end: its own parts of table and slots, and what is the same."""
        table = ShardedTable(
            self.shape,
            name="emb",
            comm=comm,
            dtype=self.dtype,
            **{"initializer": initializers.Uniform(-1, 1, seed=1), **self.table},
        )
        w = slotwise.Variable(np.ones((3, 5), self.dtype), name="w")
        optimizer = self.make(comm)
        for ids, grads, parts in self.batches():
            cuts = split(len(ids), comm.size)
            own = slice(cuts[comm.rank], cuts[comm.rank + 1])
            found = table.lookup(ids[own])
            shares = even(SHARES, comm.size)
            mine = parts[shares[comm.rank] : shares[comm.rank + 1]]
            if not len(mine):
                mine = np.zeros((1, 3, 5), self.dtype)
            optimizer.apply_gradients([(Shares(mine), w), (found.gradient(grads[own]), table)])
        slots = {
            f"{entry.variable.name}/{name}": (slot.value.copy(), part_of(own_array(entry.variable)))
            for entry in _stateful.met(optimizer)
            for name, slot in entry.slots.items()
        }
        return {
            "digest": table.digest(),
            "w": w.value.copy(),
            "slots": slots,
            "table": table.local.value.copy(),
        }


def together(results: Sequence[dict[str, Any]]) -> dict[str, bytes]:
    """The bytes of all that ranks have: parts in order of ranks, wholes once."""
    first = results[0]
    assert len({each["digest"] for each in results}) == 1
    assert all((each["w"].view(np.uint8) == first["w"].view(np.uint8)).all() for each in results)
    found = {"table": b"".join(each["table"].tobytes() for each in results)}
    found["w"] = first["w"].tobytes()
    for name, (slot, part) in first["slots"].items():
        is_spread = part is not None and slot.ndim > 0
        parts = results if is_spread else results[:1]
        found[name] = b"".join(each["slots"][name][0].tobytes() for each in parts)
    return found


def train(training: Training, ranks: int, split: Split = even) -> dict[str, bytes]:
    return together(distributed.in_threads(ranks, training.run, split))
