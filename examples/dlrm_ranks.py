# SPDX-License-Identifier: Apache-2.0
"""Trains the click model of ``dlrm_torch.py`` on ranks, to the loss of one process.

    torchrun --nproc-per-node 2 examples/dlrm_ranks.py

With ``python`` alone, this process is the only rank. Rows of the 26 tables are spread over the
ranks (`slotwise.distributed.ShardedTable`). The networks are on all of them, and PyTorch's
DistributedDataParallel keeps them alike. Each rank has a part of every batch.

Rank 0 prints log loss and AUC on held-out data and the time of a step. All exit with an error if
the model predicts no better than a constant.

Other numbers of ranks give other last digits: slotwise adds gradients of tables as if nothing were
rounded, but PyTorch adds those of the networks in an order that depends on the ranks. When such a
digit switches a ReLU on or off, Adam and Adagrad turn that into a step of the usual size. (Losses
of 1 and 2 ranks differed by 2e-7 at most in 50 batches, and by 2e-4 in 100.)
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import numpy as np
import slotwise
from metrics import Array, auc, best_constant, log_loss
from slotwise import ShardedTable, distributed, initializers, optimizers
from slotwise.distributed import Communicator
from tqdm import tqdm

try:
    import torch
except ModuleNotFoundError:
    sys.exit("examples/dlrm_ranks.py needs PyTorch: pip install 'slotwise[torch]'")

import slotwise.torch as st
from dlrm import Batch, Model, Rates, Sizes, World, options
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.parallel import DistributedDataParallel


class OnRanks(Model):
    """A DLRM whose tables are spread over ranks, and whose networks are on all of them."""

    def __init__(self, sizes: Sizes, rates: Rates, comm: Communicator) -> None:
        super().__init__(sizes, self.lookup)
        self.comm = comm
        if comm.size > 1:
            self.bottom = DistributedDataParallel(self.bottom)
            self.top = DistributedDataParallel(self.top)
        self.tables = []
        for number, rows in enumerate(sizes.rows):
            bound = sizes.bound(number)
            start = initializers.Uniform(-bound, bound, sizes.seed)
            shape, name = (rows, sizes.dim), f"table{number}"
            self.tables.append(ShardedTable(shape, name=name, comm=comm, initializer=start))
        self.of_networks: Any = st.Adam(self.networks, rates.networks, eps=rates.epsilon)
        self.of_tables: Any = optimizers.Adagrad(
            rates.tables,
            initial_accumulator_value=0.0,
            epsilon=rates.epsilon**2,  # as Keras adds it under the root
            sparse="lazy",
            comm=comm,
        )

    def lookup(self, batch: Batch) -> Any:
        """The sums of bags, each of which backward leaves a gradient of."""
        self.found = distributed.lookup_pooled(self.tables, batch.ids, batch.offsets)
        self.rows = [torch.from_numpy(found.rows).requires_grad_() for found in self.found]
        return torch.stack(self.rows, dim=1)

    def train(self, own: Batch, count: int) -> float:
        """Trains on this rank's part of a batch of `count`. Returns its part of the mean loss."""
        loss = binary_cross_entropy_with_logits(self(own), own.clicked, reduction="sum") / count
        (loss * self.comm.size).backward()  # DistributedDataParallel takes the mean over ranks
        gradients = [
            found.gradient(rows.grad / self.comm.size)  # slotwise takes the sum
            for found, rows in zip(self.found, self.rows, strict=True)
        ]
        self.of_tables.apply_gradients(zip(gradients, self.tables, strict=True))
        self.of_networks.step()
        self.of_networks.zero_grad()
        return float(loss.detach())


def part_of(comm: Communicator, count: int) -> slice:
    """Which impressions of a batch are this rank's."""
    return slice(count * comm.rank // comm.size, count * (comm.rank + 1) // comm.size)


def sum_of(comm: Communicator, values: Array) -> Array:
    """Over ranks."""
    every = np.empty((comm.size, *values.shape), values.dtype)
    comm.all_gather(values, every)
    total: Array = every.sum(axis=0)
    return total


@dataclass
class Result:
    """What all ranks know."""

    test: Batch
    share: float  # of the impressions that were clicked
    losses: Array  # of each batch
    logit: Array  # of the test
    step_ms: float

    def scores(self) -> dict[str, tuple[float, float]]:
        assert self.test.logit is not None
        clicked = self.test.clicked.numpy() > 0
        constant = best_constant(self.share, len(clicked))
        logits = {"a constant": constant, "the model": self.logit, "the truth": self.test.logit}
        return {name: (log_loss(x, clicked), auc(x, clicked)) for name, x in logits.items()}


def train(comm: Communicator, args: Namespace) -> Result:
    rng = np.random.default_rng(args.seed)
    sizes = Sizes.of(args)
    world = World(sizes.rows, args.most, rng)
    model = OnRanks(sizes, Rates(args.lr), comm)
    test = world.draw(args.held_out, rng)
    own = part_of(comm, args.batch)
    share, losses, seconds = 0.0, np.zeros(args.batches, np.float32), []
    for number in tqdm(range(args.batches), unit="step", dynamic_ncols=True, disable=comm.rank > 0):
        batch = world.draw(args.batch, rng)  # all of it; of a file, a rank would read its part
        share += float(batch.clicked.mean()) / args.batches
        start = time.perf_counter()
        losses[number] = model.train(batch.part(own), args.batch)
        seconds.append(time.perf_counter() - start)
    own = part_of(comm, args.held_out)
    logit = np.zeros(args.held_out, np.float32)
    logit[own] = model.predict(test.part(own))
    step_ms = 1e3 * float(np.median(seconds))
    return Result(test, share, sum_of(comm, losses), sum_of(comm, logit), step_ms)


def main() -> int:
    parser = options(__doc__)
    parser.set_defaults(rows=100_000)
    args = parser.parse_args()
    comm = distributed.torch()
    if comm.rank == 0:
        print(Sizes.of(args))
        print(f"ranks: {comm.size}, threads of each: {slotwise.get_num_threads()}")
    result = train(comm, args)
    scores = result.scores()
    is_better = scores["the model"][0] < scores["a constant"][0]
    if comm.rank == 0:
        print(f"\n{'held out':12} log loss      AUC")
        for name, (loss, area) in scores.items():
            print(f"{name:12} {loss:>8.6f} {area:>8.6f}")
        first, last = result.losses[[0, -1]]
        print(f"\n{args.batches:,} batches of {args.batch:,}, {result.step_ms:.1f} ms each")
        print(f"their losses: from {first:.6f} to {last:.6f}")
        if not is_better:
            print("the model predicts no better than a constant")
    return 0 if is_better else 1


if __name__ == "__main__":
    sys.exit(main())
