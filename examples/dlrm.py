# SPDX-License-Identifier: Apache-2.0
"""What ``dlrm_torch.py`` and ``dlrm_ranks.py`` train: a DLRM, on clicks drawn or Criteo's."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import slotwise
import torch
from torch import nn

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

INTEGERS = 13

# Distinct values of Criteo's 26 features (the Kaggle data set). Tables have as many rows, --rows at
# most. A feature of fewer than 1000 has one category; the others have a bag.
CATEGORIES = (
    *(1460, 583, 10_131_227, 2_202_608, 305, 24, 12_517, 633, 3, 93_145, 5683, 8_351_593, 3194),
    *(27, 14_992, 5_461_306, 10, 5652, 2173, 4, 7_046_547, 18, 15, 286_181, 105, 142_572),
)
BAGS_FROM = 1000
SPREAD = 2_654_435_761  # a prime: its multiples modulo the rows of a table spread over all of them


# --- What is asked for ----------------------------------------------------------------------------


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


def options(doc: str) -> argparse.ArgumentParser:
    """What all ways to train have."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--batches", type=positive, default=100, help="batches to train on")
    parser.add_argument("--batch", type=positive, default=2048, help="impressions in a batch")
    parser.add_argument("--held-out", type=positive, default=20_000, help="impressions to test on")
    parser.add_argument("--rows", type=positive, default=1_000_000, help="of a table, at most")
    parser.add_argument("--dim", type=positive, default=32, help="elements in a row of a table")
    parser.add_argument("--most", type=positive, default=20, help="categories in a bag, at most")
    parser.add_argument("--lr", type=float, default=0.02, help="of the tables")
    parser.add_argument("--seed", type=int, default=0)
    return parser


# --- The data -------------------------------------------------------------------------------------


@dataclass
class Batch:
    """What a model sees. ``ids`` and ``offsets``, of each table: bag i begins at offsets[i]."""

    numbers: Any  # tensors, as all below
    ids: list[Any]
    offsets: list[Any]
    clicked: Any
    logit: Array | None = None  # the true one, if it is known

    def part(self, own: slice) -> Batch:
        """Some of the impressions, one after the other."""
        ids, offsets = [], []
        for every, starts in zip(self.ids, self.offsets, strict=True):
            ends = torch.cat([starts, torch.tensor([len(every)])])
            ids.append(every[ends[own.start] : ends[own.stop]])
            offsets.append(starts[own] - ends[own.start])
        logit = None if self.logit is None else self.logit[own]
        return Batch(self.numbers[own], ids, offsets, self.clicked[own], logit)

    @classmethod
    def of(
        cls,
        numbers: Array,
        ids: list[Ids],
        offsets: list[Ids],
        clicked: Array,
        logit: Array | None = None,
    ) -> Batch:
        """What is given in NumPy arrays."""
        tensors = [torch.from_numpy(x) for x in (*ids, *offsets)]
        tables = len(ids)
        each = torch.from_numpy(numbers), tensors[:tables], tensors[tables:]
        return cls(*each, torch.from_numpy(clicked), logit)


class World:
    """A logistic model of clicks, of the kind that a DLRM is.

    Category c has a number b[c] and a vector z[c], both normally distributed. The 13 numbers n are
    counts, of which x = log(1 + n) is normally distributed before it is rounded. With sums over
    bags, divided by the root of their mean length,

        logit = bias + dot(w, x) + sum(b) + dot(sum(z of the first 13), sum(z of the other 13))

    Bags have 0 to `most` categories, each length being as likely. Categories come by Zipf's law:
    the k-th with a probability of log((k + 1) / k) / log(n + 1).
    """

    bias, w_scale, b_scale, z_scale, factors = -1.5, 0.2, 0.2, 0.15, 2

    def __init__(self, rows: list[int], most: int, rng: np.random.Generator) -> None:
        self.rows = rows
        self.most = [1 if n < BAGS_FROM else most for n in CATEGORIES]
        self.w = np.float32(self.w_scale) * rng.standard_normal(INTEGERS, np.float32)
        self.latent = []
        for n, longest in zip(rows, self.most, strict=True):
            latent = rng.standard_normal((n, 1 + self.factors), np.float32)
            latent *= np.array([self.b_scale] + [self.z_scale] * self.factors, np.float32)
            self.latent.append(latent / np.float32(max(1, longest / 2) ** 0.5))

    def draw(self, count: int, rng: np.random.Generator) -> Batch:
        ids, offsets = [], []
        for rows, most in zip(self.rows, self.most, strict=True):
            ends = np.arange(count + 1)
            if most > 1:
                ends[1:] = np.cumsum(rng.integers(0, most, count, endpoint=True))
            log = rng.random(ends[-1], np.float32) * np.float32(np.log(rows + 1))
            rank = np.minimum(np.exp(log).astype(np.int64), rows) - 1
            ids.append(rank * SPREAD % rows)
            offsets.append(ends[:-1].astype(np.int64))
        counts = np.floor(np.exp(rng.normal(2, 1, (count, INTEGERS))))
        numbers = np.log1p(counts).astype(np.float32)
        logit = self.logit(numbers, ids, offsets)
        clicked = rng.random(count) < 1 / (1 + np.exp(-logit))
        return Batch.of(numbers, ids, offsets, clicked.astype(np.float32), logit=logit)

    def logit(self, numbers: Array, ids: list[Ids], offsets: list[Ids]) -> Array:
        pooled = slotwise.gather_pooled(self.latent, ids, offsets)
        pooled = pooled.reshape(len(numbers), len(self.rows), 1 + self.factors)
        b, z = pooled[:, :, 0], pooled[:, :, 1:]
        first, others = (part.sum(axis=1) for part in np.split(z, 2, axis=1))
        products = (first * others).sum(axis=1)
        logit: Array = np.float32(self.bias) + (numbers - 2) @ self.w + b.sum(axis=1) + products
        return logit


class Criteo:
    """A file of Criteo's: label, 13 integers and 26 categories (hexadecimal) by tabs, or nothing.

    An integer n becomes log(1 + n), where a missing or negative one counts as 0. A category is a
    bag of one, of the row that is its value modulo the rows; a missing one is an empty bag.
    """

    def __init__(self, path: Path, rows: list[int]) -> None:
        self.path, self.rows = path, rows

    def batches(self, sizes: Iterator[int]) -> Iterator[Batch]:
        with open(self.path, encoding="ascii") as file:
            lines = enumerate(file, start=1)
            for size in sizes:
                parsed = [self.parse(number, line) for number, line in islice(lines, size)]
                if parsed:
                    yield self.batch(parsed)
                if len(parsed) < size:
                    return

    def parse(self, number: int, line: str) -> tuple[int, list[int], list[int | None]]:
        """The label, the integers and the categories of a line."""
        label, *fields = line.rstrip("\r\n").split("\t")
        try:
            if label not in ("0", "1"):
                raise ValueError(f"label: expected 0 or 1, got {label!r}")
            if len(fields) != INTEGERS + len(self.rows):
                raise ValueError(
                    f"expected {1 + INTEGERS + len(self.rows)} fields, got {1 + len(fields)}"
                )
            integers = [max(0, int(field or 0)) for field in fields[:INTEGERS]]
            categories = [int(field, 16) if field else None for field in fields[INTEGERS:]]
        except ValueError as error:
            raise ValueError(f"{self.path}, line {number}: {error}") from None
        return int(label), integers, categories

    def batch(self, parsed: list[tuple[int, list[int], list[int | None]]]) -> Batch:
        labels, integers, categories = zip(*parsed, strict=True)
        ids, offsets = [], []
        for rows, column in zip(self.rows, zip(*categories, strict=True), strict=True):
            there = np.array([category is not None for category in column])
            found = [category % rows for category in column if category is not None]
            ids.append(np.array(found, np.int64))
            offsets.append(np.cumsum(there) - there)
        numbers = np.log1p(np.array(integers, np.float32))
        return Batch.of(numbers, ids, offsets, np.array(labels, np.float32))


# --- The model ------------------------------------------------------------------------------------


class Times(NamedTuple):
    """Seconds of a step."""

    forward: float
    backward: float
    update: float


def network(*widths: int) -> Any:
    """Dense layers, with a ReLU between any two."""
    layers: list[Any] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass
class Sizes:
    """Of a model."""

    rows: list[int]  # of each table
    dim: int = 32  # elements of a row
    bottom: tuple[int, ...] = (256, 128)  # hidden units of the network that takes the numbers
    top: tuple[int, ...] = (256, 128)  # ... and of the one that takes the dot products
    seed: int = 0

    @classmethod
    def of(cls, args: argparse.Namespace) -> Sizes:
        """What was asked for."""
        return cls([min(n, args.rows) for n in CATEGORIES], args.dim, seed=args.seed)

    def __str__(self) -> str:
        low, high, total = min(self.rows), max(self.rows), sum(self.rows)
        return f"26 tables of {low:,} to {high:,} rows x {self.dim}, {total:,} in all"

    def bound(self, number: int) -> float:
        """Of the start values of a table: smaller with the root of the rows."""
        return float(self.rows[number] ** -0.5)

    def table(self, number: int) -> Any:
        """Start values: uniform numbers."""
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        table = torch.empty(self.rows[number], self.dim)
        return table.uniform_(-self.bound(number), self.bound(number), generator=generator)


@dataclass
class Rates:
    """Learning rates, and the epsilon of Adagrad and Adam.

    With a small epsilon, the first gradient of a row moves it by the whole rate, however small it
    is. So does what only rounding has left of a sum, and whoever adds in another order drifts
    apart: torch's fused Adam and its loop do, too.
    """

    tables: float = 0.02
    networks: float = 2e-3
    epsilon: float = 1e-6


class Model:
    """A DLRM around tables that are kept in some way, with the optimizers that train it.

    ``pool`` gives the sums of the bags of all tables, (batch, tables, dim).
    """

    def __init__(self, sizes: Sizes, pool: Callable[[Batch], Any]) -> None:
        self.pool = pool
        torch.manual_seed(sizes.seed)
        self.bottom = network(INTEGERS, *sizes.bottom, sizes.dim)
        count = 1 + len(sizes.rows)
        below = torch.ones(count, count, dtype=torch.bool).tril(-1)
        self.pairs = below.flatten().nonzero()[:, 0]
        self.top = network(sizes.dim + len(self.pairs), *sizes.top, 1)
        self.networks = [*self.bottom.parameters(), *self.top.parameters()]
        self.optimizers: list[Any] = []

    def __call__(self, batch: Batch) -> Any:
        """The logits."""
        x = self.bottom(batch.numbers)
        vectors = torch.cat([x[:, None], self.pool(batch)], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2)).flatten(1)
        return self.top(torch.cat([x, products.index_select(1, self.pairs)], dim=1))[:, 0]

    def step(self, batch: Batch) -> tuple[float, Times]:
        """Trains on a batch; the loss is that from before."""
        t0 = time.perf_counter()
        loss = nn.functional.binary_cross_entropy_with_logits(self(batch), batch.clicked)
        t1 = time.perf_counter()
        loss.backward()
        t2 = time.perf_counter()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        t3 = time.perf_counter()
        return loss.item(), Times(t1 - t0, t2 - t1, t3 - t2)

    def predict(self, batch: Batch) -> Array:
        with torch.no_grad():
            logit: Array = self(batch).numpy()
        return logit


# A dense gradient is faster than a sparse one in tables of up to this many rows for each id.
DENSE_ROWS = 4


def torch_alone(sizes: Sizes, rates: Rates, ids: list[int]) -> Model:
    """Each table by itself, with the kind of gradient that is faster for so many ids of a batch."""
    torch.sparse.check_sparse_tensor_invariants.disable()  # torch would warn that it does not
    tables = []
    for number, rows in enumerate(sizes.rows):
        sparse = rows > DENSE_ROWS * ids[number]
        table = nn.EmbeddingBag.from_pretrained(
            sizes.table(number), freeze=False, mode="sum", sparse=sparse
        )
        tables.append(table)

    def pool(batch: Batch) -> Any:
        own = zip(tables, batch.ids, batch.offsets, strict=True)
        return torch.stack([table(ids, offsets) for table, ids, offsets in own], dim=1)

    model = Model(sizes, pool)
    large = [table.weight for table in tables if table.sparse]
    small = [table.weight for table in tables if not table.sparse]
    optim = torch.optim
    model.optimizers.append(
        optim.Adam(model.networks, rates.networks, eps=rates.epsilon, fused=True)
    )
    if large:
        model.optimizers.append(optim.Adagrad(large, rates.tables, eps=rates.epsilon))
    if small:
        model.optimizers.append(optim.Adagrad(small, rates.tables, eps=rates.epsilon, fused=True))
    return model


def with_slotwise(sizes: Sizes, rates: Rates, fuse: bool) -> Model:
    """All tables in one call; their gradients stay gradients of bags."""
    import slotwise.torch as st

    names = [f"table{number}" for number in range(len(sizes.rows))]
    bags = st.EmbeddingBagCollection(
        {name: (rows, sizes.dim) for name, rows in zip(names, sizes.rows, strict=True)}, mode="sum"
    )
    with torch.no_grad():
        for number, weight in enumerate(bags.parameters()):
            weight.copy_(sizes.table(number))

    def pool(batch: Batch) -> Any:
        return bags(slotwise.Jagged(batch.ids, batch.offsets)).view(-1, len(names), sizes.dim)

    model = Model(sizes, pool)
    tables = st.Adagrad(bags.parameters(), rates.tables, eps=rates.epsilon)
    model.optimizers.append(st.Adam(model.networks, rates.networks, eps=rates.epsilon))
    if fuse:
        st.fuse(tables, bags)
    else:
        model.optimizers.append(tables)
    return model
