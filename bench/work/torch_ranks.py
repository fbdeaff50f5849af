# SPDX-License-Identifier: Apache-2.0
"""A table spread over ranks by torch's operations: blocks of rows, ids and rows not merged."""

from __future__ import annotations

import socket
from itertools import cycle
from typing import Any

import numpy as np

from bench.work.contestant import State, Subject
from bench.work.fbgemm_tables import fbgemm_tables
from bench.work.ranks import ACCUMULATOR, FBGEMM, RATE, WIDTH, RanksWork, start


def join(job: Any) -> None:
    """Makes the ranks of MPI a group of torch.distributed, by gloo, on this machine."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    port = 0
    if job.rank == 0:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{job.bcast(port)}"
    distributed.init_process_group("gloo", init_method=address, rank=job.rank, world_size=job.size)


class RowWise:
    """What TorchRec calls row-wise sharding, of a table whose rows are not pooled.

    Each rank has a block of rows. Ids are put in order of their rank and sent; rows come back and
    are put in the order of the ids. Gradients of rows go where the ids went, into a sparse gradient
    of the block. Without autograd, which takes time of its own.

    Attributes:
        weights: the block.
        first: its first row.
    """

    def __init__(self, work: RanksWork, rank: int) -> None:
        import torch

        self.ranks, self.block = work.ranks, -(-work.rows // work.ranks)
        self.first = rank * self.block
        rows = np.arange(self.first, min(self.first + self.block, work.rows))
        self._make(torch.from_numpy(start("", rows, (WIDTH,)).copy()))

    def _make(self, values: Any) -> None:
        import torch

        self.table = torch.nn.Parameter(values)
        self.weights = self.table.detach()
        self.optimizer = torch.optim.Adagrad(
            [self.table], RATE, initial_accumulator_value=ACCUMULATOR, eps=0.0
        )

    def _rows(self, places: Any) -> Any:
        return self.weights.index_select(0, places)

    def _update(self, places: Any, gradients: Any) -> None:
        import torch

        self.table.grad = torch.sparse_coo_tensor(
            places[None], gradients, self.table.shape, check_invariants=False
        )
        self.optimizer.step()

    def lookup(self, ids: Any) -> Any:
        """The rows of ids; what the way back needs is kept."""
        import torch
        from torch.distributed import all_to_all_single

        owners = torch.div(ids, self.block, rounding_mode="floor")
        # As many passes as ranks: for few of them it is faster than sorting.
        self.order = torch.cat([(owners == rank).nonzero()[:, 0] for rank in range(self.ranks)])
        sends = torch.bincount(owners, minlength=self.ranks)
        receives = torch.empty_like(sends)
        all_to_all_single(receives, sends)
        self.sends, self.receives = sends.tolist(), receives.tolist()
        asked = ids.new_empty(sum(self.receives))
        all_to_all_single(asked, ids.index_select(0, self.order), self.receives, self.sends)
        self.places = asked - self.first
        rows = self._rows(self.places)
        came = rows.new_empty(len(ids), WIDTH)
        all_to_all_single(came, rows, self.sends, self.receives)
        back = torch.empty_like(self.order)
        back[self.order] = torch.arange(len(ids))
        return came.index_select(0, back)

    def apply_gradients(self, gradients: Any) -> None:
        """Update the rows of the last lookup."""
        from torch.distributed import all_to_all_single

        came = gradients.new_empty(len(self.places), WIDTH)
        all_to_all_single(came, gradients.index_select(0, self.order), self.receives, self.sends)
        self._update(self.places, came)


class Fused(RowWise):
    """The same with a block of FBGEMM's, which is updated in its backward pass."""

    def _make(self, values: Any) -> None:
        self.module = fbgemm_tables([tuple(values.shape)], "EXACT_ADAGRAD", RATE, 0.0)
        self.weights = self.module.split_embedding_weights()[0].detach()
        self.weights.copy_(values)
        self.module.split_optimizer_states()[0][0].fill_(ACCUMULATOR)

    def _rows(self, places: Any) -> Any:
        import torch

        self.found = self.module(places, torch.arange(len(places) + 1))  # bags of one id
        return self.found.detach()

    def _update(self, places: Any, gradients: Any) -> None:
        self.found.backward(gradients)


def row_wise(work: RanksWork, job: Any) -> Subject:
    """A step of it."""
    import torch

    join(job)
    table = (Fused if work.engine == FBGEMM else RowWise)(work, job.rank)
    names = {
        "table": table,
        "batches": cycle([torch.from_numpy(ids) for ids in work.batches(job.rank)]),
        "g": torch.from_numpy(work.gradient(job.rank)),
        "meet": job.Barrier,
    }

    def state() -> State:
        own = (work.seen >= table.first) & (work.seen < table.first + len(table.weights))
        parts = job.gather(table.weights.numpy()[work.seen[own] - table.first])
        return [{"var": np.concatenate(parts)} if job.rank == 0 else {}]

    statement = "rows = table.lookup(next(batches)); table.apply_gradients(g); meet()"
    return Subject(statement, names, state)
