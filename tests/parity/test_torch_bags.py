# SPDX-License-Identifier: Apache-2.0
"""Bags against torch's EmbeddingBag: pooled rows, gradients of tables and weights, a few steps.

Both are compared with exact sums. What a sum may be off is derived, not tuned: n terms that are
rounded k times each and added up in any order, with a unit u of rounding, have an error of at most
``(n + k) u / (1 - (n + k) u)`` times the sum of their absolute values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import slotwise
from ml_dtypes import finfo
from slotwise import PooledSlices, Variable, optimizers, raw_ops
from support.cases import every_dtype, every_index, in_rows
from support.ops import DTYPES
from support.reference import Array, compute_dtype

torch = pytest.importorskip("torch")

ROWS, BAGS, WIDTHS = 20, 12, (1, 3, 8, 33)
TORCH = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
Exact = np.longdouble

every_pooling = in_rows(pooling=[("sum", False), ("sum", True), ("mean", False)])  # torch's


def unit(dtype: Any) -> float:
    """The largest relative error of one rounding."""
    return float(finfo(dtype).eps) / 2


def tensor(array: Array) -> Any:
    tag = next(tag for tag, dtype in DTYPES.items() if dtype == array.dtype)
    return torch.tensor(array.astype(np.float64)).to(TORCH[tag])


def array_of(tensor: Any) -> Array:
    return tensor.detach().double().numpy()


@dataclass
class Batch:
    """Ids by bags, of which the first, the last and others are empty, and gradients of bags."""

    ids: Array
    offsets: Array
    weights: Array | None
    grads: Array  # of the bags

    @classmethod
    def draw(
        cls, tag: str, width: int, weighted: bool, rng: np.random.Generator, index: type = np.int64
    ) -> Batch:
        dtype = DTYPES[tag]
        lengths = rng.integers(0, 7, BAGS)
        lengths[[0, 5, -1]] = 0
        ids = rng.integers(0, ROWS - 2, lengths.sum()).astype(index)
        weights = rng.uniform(-1, 2, ids.size).astype(dtype) if weighted else None
        offsets = (np.cumsum(lengths) - lengths).astype(index)
        return cls(ids, offsets, weights, rng.standard_normal((BAGS, width)).astype(dtype))

    @property
    def bag_of(self) -> Array:
        """The bag of each id."""
        return np.repeat(np.arange(BAGS), self.lengths)

    @property
    def lengths(self) -> Array:
        return np.diff(self.offsets, append=self.ids.size)

    @property
    def ends(self) -> Array:
        """The offsets, with that of the end."""
        return np.append(self.offsets, self.ids.dtype.type(self.ids.size))

    def factors(self, mode: str) -> Array:
        """w / d, by which rows are multiplied in the forward, and gradients on the way back."""
        w = np.ones(self.ids.size, Exact) if self.weights is None else self.weights.astype(Exact)
        if mode != "sum":
            total = np.zeros(BAGS, Exact)
            np.add.at(total, self.bag_of, w if mode == "mean" else w * w)
            w = w / (total if mode == "mean" else np.sqrt(total))[self.bag_of]
        return w[:, None]

    def pooled(self, table: Any, mode: str, weights: Any = None, **options: Any) -> Any:
        """By torch."""
        return torch.nn.functional.embedding_bag(
            torch.tensor(self.ids),
            table,
            torch.tensor(self.offsets),
            mode=mode,
            per_sample_weights=weights,
            **options,
        )


class Sums:
    """Sums of terms, exactly, and what another sum of them may be off.

    Args:
        terms: shape ``(n, ...)``.
        owner: the sum that each of them belongs to, shape ``(n,)``.
        number: of sums.
        dtype: what they are stored in.
        roundings: of each term.
    """

    def __init__(
        self, terms: Array, owner: Array, number: int, dtype: np.dtype, roundings: int
    ) -> None:
        self.exact, self.size = (np.zeros((number, *terms.shape[1:]), Exact) for _ in range(2))
        np.add.at(self.exact, owner, terms.astype(Exact))
        np.add.at(self.size, owner, np.abs(terms).astype(Exact))
        self.dtype = dtype
        count = np.bincount(owner, minlength=number)
        self.touched = np.nonzero(count)[0]
        self.count = (count + roundings).reshape(-1, *[1] * (terms.ndim - 1))

    def bound(self, dtype: Any) -> Array:
        """Of a sum that is computed in this dtype."""
        u = self.count * unit(dtype)
        return u / (1 - u) * self.size + self.count * float(finfo(dtype).smallest_subnormal)

    def check(self, ours: Array, theirs: Any, stored: Any = None) -> None:
        """Ours is computed in the compute type and stored once; torch may store all it computes."""
        kept, work = np.dtype(stored or self.dtype), compute_dtype(self.dtype)
        bound = self.bound(work)
        if kept != work:
            bound = bound + unit(kept) * self.size + float(finfo(kept).smallest_subnormal)
        assert (np.abs(ours.astype(Exact) - self.exact) <= bound).all()
        assert (np.abs(array_of(theirs) - self.exact) <= self.bound(self.dtype)).all()
        assert self.size.max() > 0


# ----- forward -----------------------------------------------------------------------------------


@every_dtype
@every_index
@every_pooling
@in_rows(width=WIDTHS)
def test_pooled_rows(tag: str, index: type, pooling: tuple[str, bool], width: int) -> None:
    rng, (mode, weighted) = np.random.default_rng(width), pooling
    table = rng.standard_normal((ROWS, width)).astype(DTYPES[tag])
    batch = Batch.draw(tag, width, weighted, rng, index)
    terms = batch.factors(mode) * table[batch.ids].astype(Exact)
    sums = Sums(terms, batch.bag_of, BAGS, table.dtype, roundings=2)
    weights = None if batch.weights is None else tensor(batch.weights)
    theirs = batch.pooled(tensor(table), mode, weights)
    ours = slotwise.gather_pooled(table, batch.ids, batch.offsets, batch.weights, mode)
    sums.check(ours, theirs)
    assert not ours[[0, 5, -1]].any()  # the empty ones
    assert not array_of(theirs)[[0, 5, -1]].any()
    again = slotwise.gather_pooled(
        table, batch.ids, batch.ends, batch.weights, mode, include_last_offset=True
    )
    assert (again == ours).all()
    with_end = torch.nn.functional.embedding_bag(
        torch.tensor(batch.ids),
        tensor(table),
        torch.tensor(batch.ends),
        mode=mode,
        per_sample_weights=weights,
        include_last_offset=True,
    )
    assert torch.equal(with_end, theirs)


def test_no_bags_and_no_ids() -> None:
    table, none = np.ones((3, 4), np.float32), np.zeros(0, np.int64)
    for offsets in (none, np.zeros(5, np.int64)):
        ours = slotwise.gather_pooled(table, none, offsets, mode="mean")
        theirs = torch.nn.functional.embedding_bag(
            torch.tensor(none), torch.tensor(table), torch.tensor(offsets), mode="mean"
        )
        assert ours.shape == tuple(theirs.shape)
        assert not ours.any()
        assert not theirs.any()


# ----- gradients ---------------------------------------------------------------------------------


def scattered(slices: PooledSlices, width: int) -> Array:
    """The gradient of the whole table, of those of ids."""
    dense = np.zeros((ROWS, width), Exact)
    np.add.at(dense, np.asarray(slices.indices), slices.values.astype(Exact))
    return dense


def stepped(slices: PooledSlices, width: int) -> Array:
    """The same, by a step that subtracts it from zeros."""
    table = Variable(np.zeros((ROWS, width), slices.grads.dtype))
    optimizers.SGD(1.0).apply_gradients([(slices, table)])
    return -table.numpy()


@every_dtype
@every_index
@every_pooling
@in_rows(width=WIDTHS)
def test_gradient_of_the_table(
    tag: str, index: type, pooling: tuple[str, bool], width: int
) -> None:
    rng, (mode, weighted) = np.random.default_rng(width), pooling
    table = tensor(rng.standard_normal((ROWS, width)).astype(DTYPES[tag])).requires_grad_()
    batch = Batch.draw(tag, width, weighted, rng, index)
    terms = batch.factors(mode) * batch.grads[batch.bag_of].astype(Exact)
    sums = Sums(terms, batch.ids, ROWS, DTYPES[tag], roundings=2)
    weights = None if batch.weights is None else tensor(batch.weights)
    batch.pooled(table, mode, weights).backward(tensor(batch.grads))
    slices = PooledSlices(batch.grads, batch.ids, batch.offsets, batch.weights, mode)
    for gradient in (scattered, stepped):
        sums.check(gradient(slices, width), table.grad)
    with_end = PooledSlices(
        *(batch.grads, batch.ids, batch.ends, batch.weights, mode), include_last_offset=True
    )
    assert (with_end.values == slices.values).all()


@every_dtype
@every_index
@in_rows(width=WIDTHS)
def test_gradient_of_the_weights(tag: str, index: type, width: int) -> None:
    rng = np.random.default_rng(width)
    table = rng.standard_normal((ROWS, width)).astype(DTYPES[tag])
    batch = Batch.draw(tag, width, True, rng, index)
    weights = tensor(batch.weights).requires_grad_()
    # torch has the gradient of weights only together with that of a table.
    batch.pooled(tensor(table).requires_grad_(), "sum", weights).backward(tensor(batch.grads))
    terms = table[batch.ids].astype(Exact) * batch.grads[batch.bag_of].astype(Exact)
    owner = np.repeat(np.arange(batch.ids.size), width)
    sums = Sums(terms.reshape(-1), owner, batch.ids.size, DTYPES[tag], roundings=1)
    ours = slotwise.pooled_weight_gradient(batch.grads, table, batch.ids, batch.offsets)
    sums.check(ours, weights.grad, stored=ours.dtype)


@in_rows(tag=["f32", "f64"], mode=["mean", "sqrtn"], width=WIDTHS)
def test_what_torch_has_no_bags_for(tag: str, mode: str, width: int) -> None:
    """Weighted means and roots, written out; the gradient is autograd's."""
    rng = np.random.default_rng(width)
    x = rng.standard_normal((ROWS, width)).astype(DTYPES[tag])
    table = tensor(x).requires_grad_()
    batch = Batch.draw(tag, width, True, rng)
    batch.weights = np.abs(batch.weights) + DTYPES[tag].type(0.25)  # d is as exact as its terms
    w, bag_of = tensor(batch.weights), torch.tensor(batch.bag_of)
    total = torch.zeros(BAGS, dtype=w.dtype).index_add_(0, bag_of, w if mode == "mean" else w * w)
    d = (total if mode == "mean" else total.sqrt()).clamp(min=1e-3)[:, None]
    zeros = torch.zeros(BAGS, width, dtype=w.dtype)
    theirs = zeros.index_add(0, bag_of, w[:, None] * table[torch.tensor(batch.ids)]) / d
    theirs.backward(tensor(batch.grads))
    roundings = int(batch.lengths.max()) + 4  # those of d, too
    sums = Sums(
        batch.factors(mode) * x[batch.ids].astype(Exact), batch.bag_of, BAGS, x.dtype, roundings
    )
    arguments = batch.ids, batch.offsets, batch.weights, mode
    sums.check(slotwise.gather_pooled(x, *arguments), theirs)
    terms = batch.factors(mode) * batch.grads[batch.bag_of].astype(Exact)
    sums = Sums(terms, batch.ids, ROWS, x.dtype, roundings)
    for gradient in (scattered, stepped):
        sums.check(gradient(PooledSlices(batch.grads, *arguments), width), table.grad)


@every_dtype
@every_pooling
def test_padding(tag: str, pooling: tuple[str, bool]) -> None:
    """What torch calls padding is out of range here, and skipped: it is in no bag."""
    width, (mode, weighted) = 8, pooling
    rng = np.random.default_rng(2)
    x = rng.standard_normal((ROWS, width)).astype(DTYPES[tag])
    table = tensor(x).requires_grad_()
    batch = Batch.draw(tag, width, weighted, rng)
    padding = rng.random(batch.ids.size) < 0.3
    batch.ids[padding] = ROWS - 1
    weights = None if batch.weights is None else tensor(batch.weights)
    theirs = batch.pooled(table, mode, weights, padding_idx=ROWS - 1)
    theirs.backward(tensor(batch.grads))

    kept = ~padding
    ends = np.cumsum(np.bincount(batch.bag_of[kept], minlength=BAGS))
    own = Batch(
        batch.ids[kept],
        np.append(0, ends[:-1]),
        None if batch.weights is None else batch.weights[kept],
        batch.grads,
    )
    ids = np.where(padding, -1, batch.ids)
    plan = slotwise.RowPlan(ids, ROWS, bounds="skip")
    ours = slotwise.gather_pooled(x, plan, batch.offsets, batch.weights, mode)
    terms = own.factors(mode) * x[own.ids].astype(Exact)
    Sums(terms, own.bag_of, BAGS, x.dtype, 2).check(ours, theirs)

    terms = own.factors(mode) * own.grads[own.bag_of].astype(Exact)
    sums = Sums(terms, own.ids, ROWS, x.dtype, 2)
    for duplicates in ("sum", "exact"):
        var = np.zeros_like(x)
        skipped = raw_ops.SparseApplyGradientDescent(
            *(var, 1.0, batch.grads, ids),
            duplicates=duplicates,
            bounds="skip",
            offsets=batch.offsets,
            weights=batch.weights,
            mode=mode,
        )
        assert skipped == padding.sum()
        sums.check(-var, table.grad)


# ----- steps -------------------------------------------------------------------------------------
# Each is done exactly, too, and the error of the gradient's sum is carried through it to first
# order, with what the step itself rounds. Numbers are powers of two, or nearly: the same in all.

RATE, EPSILON, BETA_1, BETA_2, INITIAL = 2.0**-7, 2.0**-20, 1 - 2.0**-3, 1 - 2.0**-10, 0.125


class Slots:
    """A table, its slots, and how far off each may be."""

    def __init__(self, table: Array) -> None:
        self.u = unit(table.dtype)
        self.var, self.var_off = table.astype(Exact), np.zeros(table.shape, Exact)
        self.steps = 0

    def step(self, sums: Sums) -> None:
        self.steps += 1
        rows = sums.touched
        update, off = self.update(rows, sums.exact[rows], sums.bound(sums.dtype)[rows])
        self.var[rows] -= update
        self.var_off[rows] += off + self.u * np.abs(self.var[rows])

    def update(self, rows: Array, g: Array, e: Array) -> tuple[Array, Array]:
        raise NotImplementedError


class Adagrad(Slots):
    def __init__(self, table: Array, epsilon: float) -> None:
        super().__init__(table)
        self.epsilon = epsilon
        self.accum, self.accum_off = np.full(table.shape, INITIAL, Exact), np.zeros_like(self.var)

    def update(self, rows: Array, g: Array, e: Array) -> tuple[Array, Array]:
        self.accum[rows] += g * g
        accum = self.accum[rows]
        self.accum_off[rows] += 2 * np.abs(g) * e + e * e + 2 * self.u * accum
        root = np.sqrt(accum)
        update = RATE * g / (root + self.epsilon)
        relative = self.accum_off[rows] / (2 * accum) + 5 * self.u
        return update, RATE * e / root + np.abs(update) * relative


class Adam(Slots):
    def __init__(self, table: Array) -> None:
        super().__init__(table)
        self.m, self.v, self.m_off, self.v_off = (np.zeros_like(self.var) for _ in range(4))

    def update(self, rows: Array, g: Array, e: Array) -> tuple[Array, Array]:
        u, b1, b2 = self.u, BETA_1, BETA_2
        before, size = self.m[rows], np.abs(g) + np.abs(self.m[rows])
        m = self.m[rows] = before + (g - before) * (1 - b1)
        v = self.v[rows] = self.v[rows] + (g * g - self.v[rows]) * (1 - b2)
        m_off = self.m_off[rows] * b1 + (1 - b1) * e + u * (np.abs(m) + 3 * (1 - b1) * size)
        squares = 2 * np.abs(g) * e + e * e
        v_off = self.v_off[rows] * b2 + (1 - b2) * squares + 8 * u * v
        self.m_off[rows], self.v_off[rows] = m_off, v_off
        c1, c2 = 1 - b1**self.steps, 1 - b2**self.steps
        root = np.sqrt(v)
        update = RATE * np.sqrt(Exact(c2)) / c1 * m / (root + EPSILON)
        # Powers of betas are rounded in the type that is computed in, before 1 - power.
        powers = 2 * self.steps * u * (1 / c1 + 1 / (2 * c2))
        relative = v_off / (2 * v) + powers + 8 * u
        return update, RATE * np.sqrt(c2) / c1 * m_off / root + np.abs(update) * relative


@dataclass
class Kind:
    ours: Callable[[], Any]
    theirs: Callable[[Any], Any]
    exact: Callable[[Array], Slots]


def kinds() -> dict[str, Kind]:
    def adagrad(parameters: Any, epsilon: float) -> Any:
        return torch.optim.Adagrad(
            parameters, lr=RATE, eps=epsilon, initial_accumulator_value=INITIAL
        )

    return {
        "Adagrad": Kind(  # whose epsilon is under the root, unlike torch's
            lambda: optimizers.Adagrad(RATE, INITIAL, epsilon=0.0),
            lambda parameters: adagrad(parameters, 0.0),
            lambda table: Adagrad(table, 0.0),
        ),
        "legacy Adagrad": Kind(
            lambda: optimizers.legacy.Adagrad(RATE, INITIAL, EPSILON),
            lambda parameters: adagrad(parameters, EPSILON),
            lambda table: Adagrad(table, EPSILON),
        ),
        "lazy Adam": Kind(
            lambda: optimizers.Adam(RATE, BETA_1, BETA_2, EPSILON, sparse="lazy"),
            lambda parameters: torch.optim.SparseAdam(
                parameters, lr=RATE, betas=(BETA_1, BETA_2), eps=EPSILON
            ),
            Adam,
        ),
    }


@in_rows(kind=kinds(), tag=["f32", "f64"])
@every_pooling
def test_steps(kind: str, tag: str, pooling: tuple[str, bool]) -> None:
    """Three tables in one forward and one step, against a module of torch for each."""
    (mode, weighted), rng, widths = pooling, np.random.default_rng(3), (4, 1, 9)
    starts = [rng.standard_normal((ROWS, width)).astype(DTYPES[tag]) for width in widths]
    tables = [Variable(start.copy(), name=f"t{k}") for k, start in enumerate(starts)]
    modules = [
        torch.nn.EmbeddingBag(ROWS, width, mode=mode, sparse=True, _weight=tensor(start))
        for width, start in zip(widths, starts, strict=True)
    ]
    made = kinds()[kind]
    ours, theirs = made.ours(), made.theirs([module.weight for module in modules])
    exact = [made.exact(start) for start in starts]
    for _ in range(5):
        batches = [Batch.draw(tag, width, weighted, rng) for width in widths]
        for slots, batch in zip(exact, batches, strict=True):
            terms = batch.factors(mode) * batch.grads[batch.bag_of].astype(Exact)
            slots.step(Sums(terms, batch.ids, ROWS, DTYPES[tag], roundings=2))

        theirs.zero_grad()
        outputs = []
        for module, batch in zip(modules, batches, strict=True):
            weights = None if batch.weights is None else tensor(batch.weights)
            outputs.append(module(torch.tensor(batch.ids), torch.tensor(batch.offsets), weights))
        torch.cat(outputs, 1).backward(tensor(np.hstack([b.grads for b in batches])))
        with torch.sparse.check_sparse_tensor_invariants():  # it warns if nobody has said
            theirs.step()

        slices = PooledSlices.of_tables(
            np.hstack([batch.grads for batch in batches]),
            tables,
            [batch.ids for batch in batches],
            [batch.offsets for batch in batches],
            [batch.weights for batch in batches],
            mode,
        )
        ours.apply_gradients(zip(slices, tables, strict=True))

    for table, module, slots, start in zip(tables, modules, exact, starts, strict=True):
        for got in (table.numpy(), array_of(module.weight)):
            assert (np.abs(got - slots.var) <= slots.var_off).all()
        moved = np.abs(slots.var - start)
        assert np.median(slots.var_off) < 1e-3 * np.median(moved[moved > 0])  # that says something
        assert (table.numpy()[-2:] == start[-2:]).all()  # rows of no id
