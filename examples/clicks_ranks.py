# SPDX-License-Identifier: Apache-2.0
"""Trains the model of ``clicks.py`` on many ranks, to the same bits for any number of them.

Started by ``mpiexec -n 2 python examples/clicks_ranks.py``, each process is a rank; so it is with
``torchrun --nproc-per-node 2``. Started by ``python`` alone, this process is the only rank.

Rows of the six tables are spread over the ranks (`slotwise.distributed.ShardedTable`); the layers
are on all of them. A batch has `SHARES` shares, and a rank takes an equal part of these. Each
share is drawn by a random generator of its own, goes through the layers by itself, and gives a
gradient of the layers of its own. So nothing depends on which rank has which share.

Rank 0 prints log loss and AUC on held-out data, and what each rank had to do, and draws
``out/clicks_ranks.png``. All exit with an error if the model comes less than
`clicks.REQUIRED_SHARE` of the way from a constant to the truth.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import slotwise
from clicks import (
    BLUE,
    FAINT,
    FEATURES,
    GREEN,
    GREY,
    Impressions,
    Layers,
    Result,
    World,
    introduction,
    measured_after,
    parser,
    plot,
    rising_and_falling,
    scores,
    shortfalls,
)
from matplotlib.ticker import MaxNLocator, PercentFormatter
from metrics import Array, best_constant, log_loss
from slotwise import Jagged, distributed, initializers
from slotwise.distributed import Communicator, Found, ShardedTable, Shares
from threadpoolctl import threadpool_limits
from tqdm import tqdm

SHARES = 8  # of a batch: at most as many ranks


def started() -> Communicator:
    """The ranks that this process was started with."""
    if {"PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"} & {*os.environ}:
        return distributed.mpi()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return distributed.torch()
    return distributed.local()


class Shared:
    """Impressions that are drawn in shares, of which this rank has some.

    Args:
        world: that they are of.
        seed: of the numbers that a share is drawn by, with its own.
        comm: the ranks.
    """

    def __init__(self, world: World, seed: int, comm: Communicator) -> None:
        self.world, self.seed = world, seed
        self.own = range(SHARES * comm.rank // comm.size, SHARES * (comm.rank + 1) // comm.size)

    def draw(self, number: int, count: int, shares: Sequence[int]) -> list[Impressions]:
        """Shares of a batch of about so many impressions."""
        rngs = [np.random.default_rng([self.seed, number, share]) for share in shares]
        return [self.world.draw(count // SHARES, rng) for rng in rngs]


def joined(shares: Sequence[Impressions]) -> Impressions:
    ids, offsets = [], []
    for k in range(len(FEATURES)):
        each = [share.bags.ids[k] for share in shares]
        begins = np.cumsum([0, *map(len, each)])[:-1]
        ids.append(np.concatenate(each))
        offsets.append(
            np.concatenate([s.bags.offsets[k] + at for s, at in zip(shares, begins, strict=True)])
        )
    clicked = np.concatenate([share.clicked for share in shares])
    return Impressions(Jagged(ids, offsets), clicked, np.concatenate([s.logit for s in shares]))


class Model(Layers):
    """The layers, and tables whose rows are spread over ranks."""

    def __init__(
        self, args: argparse.Namespace, rng: np.random.Generator, comm: Communicator
    ) -> None:
        super().__init__(args, rng)
        start = initializers.Uniform(-0.05, 0.05, args.seed)
        self.tables = [
            ShardedTable((f.rows, args.dim), name=f.name, comm=comm, initializer=start)
            for f in FEATURES
        ]

    def lookup(self, shares: Sequence[Impressions]) -> tuple[list[Found], list[Array]]:
        """What the tables found for all shares of this rank, and the pooled rows of each."""
        bags = joined(shares).bags
        found = [
            table.lookup_pooled(ids, offsets, mode="mean")
            for table, ids, offsets in zip(self.tables, bags.ids, bags.offsets, strict=True)
        ]
        pooled = np.concatenate([each.rows for each in found], axis=1)
        return found, np.split(pooled, np.cumsum([len(s.clicked) for s in shares])[:-1])

    def gradients(
        self, found: Sequence[Found], pooled: Sequence[Array], shares: Sequence[Impressions]
    ) -> list[tuple[Any, Any]]:
        """Pairs for an optimizer: of tables, and of each layer a gradient of every share."""
        back, dense = [], []
        for x, share in zip(pooled, shares, strict=True):
            h, logit = self.forward(x)
            grad, layers = self.backward(x, h, logit, share.clicked)
            back.append(grad)
            dense.append(layers)
        grads = np.split(np.concatenate(back), len(found), axis=1)
        sums = [Shares(np.stack(of_shares)) for of_shares in zip(*dense, strict=True)]
        slices = [each.gradient(grad) for each, grad in zip(found, grads, strict=True)]
        return [
            *zip(slices, self.tables, strict=True),
            *zip(sums, self.dense, strict=True),
        ]

    def predict(self, shares: Sequence[Impressions]) -> list[Array]:
        return [self.forward(x)[1] for x in self.lookup(shares)[1]]


def of_all(comm: Communicator, own: range, values: Any) -> Any:
    """What ranks have of each share, together: all have 0 where another has a value."""
    send = np.zeros((SHARES, *np.shape(values[0])), np.asarray(values[0]).dtype)
    send[own.start : own.stop] = values
    found = np.empty((comm.size, *send.shape), send.dtype)
    comm.all_gather(send, found)
    return found.sum(axis=0)


@dataclass
class Spread(Result):
    balance: dict[str, list[int]]  # rows, and ids and bytes asked for, by rank, of all tables
    digests: list[str]  # of the tables


def train(comm: Communicator, args: argparse.Namespace) -> Spread:
    """Train on this rank's shares of the data; the result is the same on all ranks."""
    if comm.size > SHARES:
        raise ValueError(f"expected at most {SHARES} ranks, got {comm.size}")
    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    world, model = World(rng), Model(args, rng, comm)
    data = Shared(world, args.seed, comm)
    test = data.draw(0, args.held_out, range(SHARES))
    own_test = test[data.own.start : data.own.stop]
    whole = joined(test)
    batches = max(2, args.examples // args.batch)
    optimizer = slotwise.optimizers.Adagrad(rising_and_falling(args.lr, batches), comm=comm)
    measured = measured_after(batches)
    clicks = np.zeros(len(data.own), np.int64)
    seen: list[int] = []
    held_out: list[float] = []

    def predicted() -> Array:
        logits: Array = of_all(comm, data.own, model.predict(own_test)).reshape(-1)
        return logits

    numbers = range(1, batches + 1)
    for number in tqdm(numbers, unit="batch", dynamic_ncols=True, disable=comm.rank > 0):
        batch = data.draw(number, args.batch, data.own)
        clicks += [share.clicked.sum() for share in batch]
        found, pooled = model.lookup(batch)
        optimizer.apply_gradients(model.gradients(found, pooled, batch))
        if number in measured:
            seen.append(number * (args.batch // SHARES) * SHARES)
            held_out.append(log_loss(predicted(), whole.clicked))

    share = float(of_all(comm, data.own, clicks).sum()) / seen[-1]
    of_tables = [table.balance() for table in model.tables]
    return Spread(
        whole,
        predicted(),
        best_constant(share, len(whole.clicked)),
        seen,
        held_out,
        time.perf_counter() - start,
        {
            what: np.sum([each[what] for each in of_tables], axis=0).tolist()
            for what in of_tables[0]
        },
        [table.digest() for table in model.tables],
    )


# --- Report ---------------------------------------------------------------------------------------


def summary(result: Spread) -> str:
    speed = result.seen[-1] / result.seconds
    lines = [
        scores(result),
        "",
        f"trained on {result.seen[-1]:,} impressions in {result.seconds:.1f} s, with drawing them: "
        f"{speed:,.0f} a second",
        f"{'rank':4} {'rows':>8} {'asked for':>12} {'MB':>8}",
    ]
    for rank, (rows, ids, size) in enumerate(zip(*result.balance.values(), strict=True)):
        lines.append(f"{rank:4} {rows:>8,} {ids:>12,} {size / 1e6:>8.1f}")
    whole = hashlib.blake2b("".join(result.digests).encode(), digest_size=8).hexdigest()
    lines.append(f"any number of ranks: log loss {result.held_out[-1]!r}, tables of digest {whole}")
    return "\n".join(lines)


def draw_balance(axes: Any, result: Spread) -> None:
    """What each rank has, and what it was asked for, as shares of the whole."""
    ranks = np.arange(len(result.balance["rows"]))
    for place, (what, color) in enumerate((("rows", BLUE), ("ids", GREEN))):
        counts = np.array(result.balance[what])
        label = {"rows": "rows that it has", "ids": "rows that it was asked for"}[what]
        axes.bar(ranks + 0.4 * place - 0.2, counts / counts.sum(), 0.36, color=color, label=label)
    axes.axhline(1 / len(ranks), color=GREY, lw=1, ls="--")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set(xlabel="rank", ylabel="share of all ranks'")
    axes.margins(y=0.25)
    axes.set_title("What ranks have to do", loc="left", weight="bold")
    axes.legend(frameon=False, loc="upper left")
    axes.grid(axis="y", color=FAINT, lw=0.6)


def main() -> int:
    options = parser(__doc__)
    options.set_defaults(examples=1_000_000)
    args = options.parse_args()
    comm = started()
    if comm.rank == 0:
        print(
            introduction(args),
            f"ranks: {comm.size}, threads of each: {slotwise.get_num_threads()}",
            sep="\n",
        )
    with threadpool_limits(1, user_api="blas"):  # the layers are small
        result = train(comm, args)
    faults = shortfalls(result)
    if comm.rank == 0:
        print("\n" + summary(result))
        plt.switch_backend("Agg")  # draws to a file: no display needed
        path = args.out / "clicks_ranks.png"
        plot(result, path, lambda axes: draw_balance(axes, result))
        print(f"\nloss, predictions and balance: {path}")
        for fault in faults:
            print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
