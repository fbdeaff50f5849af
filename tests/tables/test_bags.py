# SPDX-License-Identifier: Apache-2.0
"""Bags: pooling one table and several, gradients that are never expanded, weights' gradients."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import slotwise
from hypothesis import given
from hypothesis import strategies as st
from slotwise import optimizers, raw_ops
from support.bags import MODES, bounds, expanded, pooled
from support.cases import every_dtype, every_index, every_sparse_case, in_rows
from support.compare import assert_same
from support.memory import copies
from support.ops import DTYPES
from support.reference import Array, compute_dtype
from support.rows import SUM, SparseCase, summed

IDS = np.array([3, 0, 7, 3, 8, 3, 0, 5, 3, 8])
OFFSETS = np.array([0, 2, 2, 3, 9, 10])  # the second and the last are empty
WEIGHTS = np.array([0.5, 2, 0.8, -1.5, 0, 1.25, 3, 0.1, -0.7, 4], np.float32)
ROWS = 9

every_pooling = in_rows(mode=MODES, weighted=[False, True])


def drawn(tag: str, shape: tuple[int, ...], seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(DTYPES[tag])


def weights_of(weighted: bool) -> Array | None:
    return WEIGHTS if weighted else None


# ----- forward -----------------------------------------------------------------------------------


@every_dtype
@every_pooling
def test_pooled(tag: str, mode: str, weighted: bool, target: str) -> None:
    weights = weights_of(weighted)
    for width in (*range(1, 34), 64, 100):
        x = drawn(tag, (ROWS, width))
        got = slotwise.gather_pooled(x, IDS, OFFSETS, weights=weights, mode=mode)
        assert_same(got, pooled(x, IDS, OFFSETS, weights, mode), width)


@every_dtype
@in_rows(mode=["mean", "sqrtn"], weights=[(0, 0, 0), (1, -1, 0)])
def test_weights_without_a_sum(tag: str, mode: str, weights: tuple[float, ...]) -> None:
    """As TensorFlow's div_no_nan, and so is the gradient."""
    if mode == "sqrtn" and any(weights):
        return  # whose squares have one
    x, ids = drawn(tag, (ROWS, 5)), np.array([1, 2, 3])
    factors = np.array(weights, np.float32)
    assert not np.abs(slotwise.gather_pooled(x, ids, [0], factors, mode)).any()
    assert not np.abs(slotwise.PooledSlices(x[:1], ids, [0], factors, mode).values).any()


def test_zeros_of_bags_are_positive() -> None:
    x = np.full((2, 3), -0.0, np.float32)
    got = slotwise.gather_pooled(x, np.array([0, 1, 1]), [0, 1, 3])
    assert not np.signbit(got).any()


@every_dtype
@every_index
@in_rows(mode=MODES)
def test_bags_of_one_id_each(tag: str, index: type, mode: str, target: str) -> None:
    """The rows: of whole vectors and not, and so many that they are written past the caches."""
    for width, count in ((1, 700), (8, 700), (16, 700), (33, 700), (64, 700), (64, 33000)):
        x = drawn(tag, (ROWS, width))
        x[2] = -0.0
        ids = np.random.default_rng(width).integers(0, ROWS, count).astype(index)
        expected = x[ids] + np.zeros(1, x.dtype)  # -0 + 0 is 0
        got = slotwise.gather_pooled(x, ids, np.arange(count), mode=mode)
        assert_same(got, expected, width)
        assert not np.signbit(got[ids == 2].astype(np.float32)).any()
        for shift in (0, 1, 4):  # elements past an aligned place
            memory = slotwise.zeros(count * width + 8, x.dtype)
            out = memory[shift : shift + count * width].reshape(count, width)
            ends = np.arange(count + 1)
            slotwise.gather_pooled(x, ids, ends, mode=mode, include_last_offset=True, out=out)
            assert_same(out, expected, (width, shift))
            assert not memory[shift + count * width :].any()


@in_rows(at=[1, 16383, 16384, 16385, 32768, 39999])
def test_offsets_of_many_bags(at: int) -> None:
    """Those that descend are found wherever they do; those that nearly count up are taken."""
    x, ids = drawn("f32", (ROWS, 3)), np.arange(40000) % ROWS
    offsets = np.arange(40000)
    offsets[at] = offsets[at - 1]
    got = slotwise.gather_pooled(x, ids, offsets)
    assert_same(got, pooled(x, ids, offsets, None, "sum"))
    offsets[at] = at - 2
    with pytest.raises(ValueError, match="gather_pooled: offsets: expected them to ascend"):
        slotwise.gather_pooled(x, ids, offsets)


@every_index
@in_rows(threads=[1, 3], at=[0, 255, 256, 300, 70000])
def test_ids_outside_of_a_table(index: type, threads: int, at: int) -> None:
    slotwise.set_num_threads(threads)
    ids = np.full(70001, ROWS - 1, index)
    for wrong in (ROWS, -1, np.iinfo(index).max, np.iinfo(index).min):
        ids[at] = wrong
        with pytest.raises(ValueError, match=rf"ids\[{at}\] = {wrong} is not in \[0, {ROWS}\)"):
            slotwise.gather_pooled(drawn("f32", (ROWS, 2)), ids, np.arange(ids.size))


def test_int32_ids_of_a_table_of_more_rows() -> None:
    table = slotwise.zeros((2**31 + 5, 1), np.float16)
    ids = np.full(300, 2**31 - 1, np.int32)
    assert not slotwise.gather_pooled(table, ids, [0]).any()
    ids[7] = -1
    with pytest.raises(ValueError, match=r"ids\[7\] = -1"):
        slotwise.gather_pooled(table, ids, [0])


@every_dtype
@every_index
@every_pooling
def test_several_tables(tag: str, index: type, mode: str, weighted: bool) -> None:
    tables = [drawn(tag, (ROWS, width), width) for width in (4, 1, 33, 16)]
    tables[1] = tables[1].reshape(ROWS)
    ids = [IDS.astype(index), IDS[::-1].astype(index), IDS[:0].astype(index), (IDS + 1) % ROWS]
    offsets = [OFFSETS, [0, 0, 0, 0, 0, 0], np.zeros(6, np.int32), list(OFFSETS)]
    weights = [WEIGHTS, None, WEIGHTS[:0], WEIGHTS[::-1]] if weighted else None
    got = slotwise.gather_pooled(tables, ids, offsets, weights, mode)
    parts = [
        slotwise.gather_pooled(x, i, o, w, mode).reshape(6, -1)
        for x, i, o, w in zip(tables, ids, offsets, weights or [None] * 4, strict=True)
    ]
    assert_same(got, np.concatenate(parts, axis=1))
    out = np.empty_like(got)
    assert slotwise.gather_pooled(tables, ids, offsets, weights, mode, out=out) is out
    assert_same(out, got)


def test_tables_of_several_dtypes() -> None:
    tables = {tag: drawn(tag, (ROWS, 5), k) for k, tag in enumerate(DTYPES)}
    for wide, tags in ((np.float32, ["f16", "bf16", "f32"]), (np.float64, list(DTYPES))):
        chosen = [tables[tag] for tag in tags]
        got = slotwise.gather_pooled(chosen, [IDS] * len(tags), [OFFSETS] * len(tags))
        for k, x in enumerate(chosen):
            work = x.astype(compute_dtype(x.dtype))
            want = pooled(work, IDS, OFFSETS, None, "sum").astype(wide)
            assert_same(got[:, 5 * k : 5 * k + 5], want, tags[k])


@pytest.mark.usefixtures("threads")
def test_threads_do_not_change_bits() -> None:
    rng = np.random.default_rng(3)
    tables = [drawn("f32", (2_000, width), width) for width in (16, 3, 64, 1)]
    ids = [rng.integers(0, 2_000, size) for size in (40_000, 90_000, 100, 5_000)]
    offsets = [np.sort(rng.integers(0, x.size + 1, 3_000)) for x in ids]
    for own in offsets:
        own[0] = 0
    results = []
    for threads in (1, 2, 3, 8):
        slotwise.set_num_threads(threads)
        results.append(slotwise.gather_pooled(tables, ids, offsets, mode="mean"))
        assert_same(results[-1], results[0], threads)
    want = pooled(tables[1], ids[1], offsets[1], None, "mean")
    assert_same(results[0][:, 16:19], want)


@every_dtype
@every_pooling
def test_plans(tag: str, mode: str, weighted: bool) -> None:
    """What a plan skipped is in no bag."""
    x, weights = drawn(tag, (ROWS, 5)), weights_of(weighted)
    got = slotwise.gather_pooled(x, slotwise.RowPlan(IDS, ROWS), OFFSETS, weights, mode)
    assert_same(got, pooled(x, IDS, OFFSETS, weights, mode))

    ids = np.insert(IDS, [2, 9, 10], [-1, ROWS, 77])
    longer = None if weights is None else np.insert(weights, [2, 9, 10], 9.0)
    offsets = np.array([0, 3, 3, 4, 10, 12])  # bags of the same and of those
    plan = slotwise.RowPlan(ids, ROWS, bounds="skip")
    assert_same(slotwise.gather_pooled(x, plan, offsets, longer, mode), got)


def test_bad_input() -> None:
    x = drawn("f32", (ROWS, 3))
    for offsets in (OFFSETS[::-1].copy(), OFFSETS - 1, OFFSETS + 20):
        with pytest.raises(ValueError, match="gather_pooled: offsets: expected"):
            slotwise.gather_pooled(x, IDS, offsets)
    with pytest.raises(ValueError, match="gather_pooled: weights"):
        slotwise.gather_pooled(x, IDS, OFFSETS, weights=np.ones(3, np.float32))
    with pytest.raises(ValueError, match="gather_pooled: mode"):
        slotwise.gather_pooled(x, IDS, OFFSETS, mode="max")
    with pytest.raises(ValueError, match=r"gather_pooled: ids\[4\] = 8 is not in \[0, 8\)"):
        slotwise.gather_pooled(x[:8], IDS, OFFSETS)
    both = [x, x[:8]]
    with pytest.raises(ValueError, match=r"gather_pooled: ids\[1\]\[4\] = 8 is not in \[0, 8\)"):
        slotwise.gather_pooled(both, [IDS, IDS], [OFFSETS, OFFSETS])
    with pytest.raises(ValueError, match=r"ids\[1\]: expected as many bags as ids\[0\] has, 6"):
        slotwise.gather_pooled([x, x], [IDS, IDS], [OFFSETS, [0]])
    with pytest.raises(ValueError, match="offsets: expected 2, one for each table, got 1"):
        slotwise.gather_pooled([x, x], [IDS, IDS], [OFFSETS])
    with pytest.raises(ValueError, match="table: expected at least one"):
        slotwise.gather_pooled([], [], [])
    for out in (
        np.empty((6, 3)),
        np.empty((5, 3), np.float32),
        np.empty((6, 6), np.float32)[:, ::2],
    ):
        with pytest.raises((TypeError, ValueError), match="gather_pooled: out: expected"):
            slotwise.gather_pooled(x, IDS, OFFSETS, out=out)
    with pytest.raises(ValueError, match=r"out: expected .* overlaps table"):
        slotwise.gather_pooled(x, IDS, OFFSETS, out=x[:6])
    with pytest.raises(ValueError, match="a RowPlan for 9 rows"):
        slotwise.gather_pooled(x, slotwise.RowPlan(IDS, 10), OFFSETS)


# ----- jagged ids --------------------------------------------------------------------------------


@given(st.data())
def test_jagged(data: st.DataObject) -> None:
    tables, bags = data.draw(st.integers(1, 4)), data.draw(st.integers(0, 5))
    size = tables * bags
    lengths = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size)), int)
    values, weights = np.arange(lengths.sum()), np.linspace(0, 1, lengths.sum())
    jagged = slotwise.split_jagged(values, lengths, tables, weights)
    assert jagged.weights is not None
    seen = []
    for ids, offsets, own in zip(*jagged, strict=True):
        assert len(offsets) == bags
        assert (own == weights[ids]).all()
        seen += [ids[start:stop] for start, stop in bounds(offsets, ids.size)]
    assert [x.size for x in seen] == lengths.tolist()
    assert np.concatenate([np.zeros(0, int), *seen]).tolist() == values.tolist()


def test_jagged_bad_input() -> None:
    for lengths, tables in (([1, 2], 2), ([4, -1], 2), ([3], 2), ([3], 0)):
        with pytest.raises(ValueError, match=r"split_jagged: (lengths|tables): expected"):
            slotwise.split_jagged(np.arange(3 if lengths != [1, 2] else 4), lengths, tables)
    with pytest.raises(TypeError, match="split_jagged: lengths"):
        slotwise.split_jagged(np.arange(3), [1.5, 1.5], 1)
    with pytest.raises(ValueError, match="split_jagged: weights"):
        slotwise.split_jagged(np.arange(3), [3], 1, np.ones(2))


# ----- gradients ---------------------------------------------------------------------------------


@every_sparse_case
@every_dtype
@every_pooling
def test_every_op(case: SparseCase, tag: str, mode: str, weighted: bool) -> None:
    """Bit for bit the op on expanded gradients, in the compute type, and summed."""
    weights = weights_of(weighted)
    arrays = case.draw(DTYPES[tag], ROWS, 19, OFFSETS.size, seed=1)
    got = copies(arrays)
    case.call(got, IDS, duplicates=SUM, offsets=OFFSETS, weights=weights, mode=mode)
    grads = expanded(arrays["grad"], OFFSETS, IDS.size, weights, mode)
    if case.case.exact:
        unique, sums = summed(IDS, grads)
        want = case.expected({**arrays, "grad": sums}, unique)
    elif tag in ("f16", "bf16"):
        return  # of gradients in float32 there is no op to compare with
    else:
        want = copies({**arrays, "grad": grads})
        case.call(want, IDS, duplicates=SUM)
    for name in case.op.outputs:
        assert_same(got[name], want[name], name)


@every_dtype
@every_pooling
@in_rows(duplicates=["sequential", "sum", "exact"])
def test_every_width(tag: str, mode: str, weighted: bool, duplicates: str, target: str) -> None:
    weights = weights_of(weighted)
    for width in (*range(1, 20), 31, 32, 33, 64, 100, 2000):
        var, grads = drawn(tag, (ROWS, width)), drawn(tag, (OFFSETS.size, width), 2)
        got, want = var.copy(), var.copy()
        how: Any = {"offsets": OFFSETS, "weights": weights, "mode": mode}
        raw_ops.SparseApplyGradientDescent(got, 0.5, grads, IDS, duplicates=duplicates, **how)
        each = expanded(grads, OFFSETS, IDS.size, weights, mode)
        if tag in ("f32", "f64"):
            raw_ops.SparseApplyGradientDescent(want, 0.5, each, IDS, duplicates=duplicates)
            assert_same(got, want, width)
        elif duplicates != "exact":
            ids, sums = (IDS, each) if duplicates == "sequential" else summed(IDS, each)
            for row, grad in zip(ids, sums, strict=True):
                step = grad * np.float32(0.5)
                want[row] = (want[row].astype(np.float32) - step).astype(want.dtype)
            assert_same(got, want, width)


@every_dtype
@every_pooling
def test_skipped_ids(tag: str, mode: str, weighted: bool) -> None:
    """Ids that are skipped are in no bag: the mean is that of the others."""
    weights = weights_of(weighted)
    var, grads = drawn(tag, (ROWS, 5)), drawn(tag, (OFFSETS.size, 5), 2)
    want, got, planned = var.copy(), var.copy(), var.copy()
    how: Any = {"duplicates": "sum", "mode": mode}
    raw_ops.SparseApplyGradientDescent(
        want, 0.5, grads, IDS, offsets=OFFSETS, weights=weights, **how
    )
    ids = np.insert(IDS, [2, 9, 10], [-1, ROWS, 77])
    longer = None if weights is None else np.insert(weights, [2, 9, 10], 9.0)
    how |= {"bounds": "skip", "offsets": np.array([0, 3, 3, 4, 10, 12]), "weights": longer}
    assert raw_ops.SparseApplyGradientDescent(got, 0.5, grads, ids, **how) == 3
    assert_same(got, want)
    plan = slotwise.RowPlan(ids, ROWS, bounds="skip")
    assert raw_ops.SparseApplyGradientDescent(planned, 0.5, grads, plan, **how) == 3
    assert_same(planned, want)


@every_dtype
@every_pooling
def test_values(tag: str, mode: str, weighted: bool) -> None:
    weights, grads = weights_of(weighted), drawn(tag, (OFFSETS.size, 2, 3))
    slices = slotwise.PooledSlices(grads, IDS, OFFSETS, weights, mode, (ROWS, 2, 3))
    want = expanded(grads, OFFSETS, IDS.size, weights, mode).astype(DTYPES[tag])
    assert_same(slices.values, want)
    assert_same((-slices).values, -want)
    assert_same(copy.deepcopy(slices).values, want)
    assert isinstance(slices, slotwise.IndexedSlices)
    assert slices.dense_shape == (ROWS, 2, 3)
    assert "6 bags of 10 ids" in repr(slices)


@every_dtype
@every_pooling
def test_values_by_a_plan_that_skips(tag: str, mode: str, weighted: bool) -> None:
    weights, grads = weights_of(weighted), drawn(tag, (OFFSETS.size, 3))
    want = slotwise.PooledSlices(grads, IDS, OFFSETS, weights, mode).values
    places = [2, 9, 10]
    plan = slotwise.RowPlan(np.insert(IDS, places, [-1, ROWS, 77]), ROWS, bounds="skip")
    longer = None if weights is None else np.insert(weights, places, 9.0)
    got = slotwise.PooledSlices(grads, plan, [0, 3, 3, 4, 10, 12], longer, mode).values
    assert_same(got[plan.inverse >= 0], want)


KINDS: dict[str, Any] = {
    "SGD": lambda: optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: optimizers.Adam(0.01),
    "Adagrad": lambda: optimizers.Adagrad(0.1),
    "RMSprop": lambda: optimizers.RMSprop(0.01, centered=True),
    "Ftrl": lambda: optimizers.Ftrl(0.1, l1_regularization_strength=0.01),
    "Nadam": lambda: optimizers.Nadam(0.01),
    "Adamax": lambda: optimizers.Adamax(0.01),
    "Adadelta": lambda: optimizers.Adadelta(0.1),
    "Lion": lambda: optimizers.Lion(0.01),
    "Adafactor": lambda: optimizers.Adafactor(0.01),
    "Lamb": lambda: optimizers.Lamb(0.01),
    "AdamW": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "EMA": lambda: optimizers.Adam(0.01, use_ema=True),
    "clipvalue": lambda: optimizers.Adam(0.01, clipvalue=0.3),
    "clipnorm": lambda: optimizers.Adam(0.01, clipnorm=0.5),
    "global_clipnorm": lambda: optimizers.Adagrad(0.1, global_clipnorm=0.5),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "loss scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=4.0),
}


@pytest.mark.parametrize("kind", KINDS)
@in_rows(tag=["f32", "f64"])
@every_pooling
def test_optimizers(kind: str, tag: str, mode: str, weighted: bool) -> None:
    """A step by gradients of bags has the bits of one by expanded ones."""
    weights = weights_of(weighted)
    grads = [drawn(tag, (OFFSETS.size, 7), seed) for seed in (2, 3)]
    results = []
    for expands in (False, True):
        tables = [slotwise.Variable(drawn(tag, (ROWS, 7), k), name=f"t{k}") for k in range(2)]
        dense = slotwise.Variable(np.ones(3, DTYPES[tag]), name="dense")
        optimizer = KINDS[kind]()
        for _ in range(3):
            slices: list[Any] = [
                slotwise.PooledSlices(own, IDS, OFFSETS, weights, mode, (ROWS, 7)) for own in grads
            ]
            if expands:
                slices = [
                    slotwise.IndexedSlices(x.values, x.indices, x.dense_shape) for x in slices
                ]
            pairs = [*zip(slices, tables, strict=True), (np.ones(3, DTYPES[tag]), dense)]
            optimizer.apply_gradients(pairs)
        results.append([x.numpy() for x in (*tables, dense)])
    for got, want in zip(*results, strict=True):
        assert_same(got, want)


def test_many_tables_in_one_step() -> None:
    """Tables of several dtypes and widths, some with a plan, some empty."""
    tags, widths = ["f32", "f16", "f32", "f64", "bf16", "f32"], [4, 4, 33, 2, 16, 1]
    results = []
    for apart in (False, True):
        tables = [
            slotwise.Variable(drawn(tag, (ROWS, width), width), name=f"t{k}")
            for k, (tag, width) in enumerate(zip(tags, widths, strict=True))
        ]
        optimizer = optimizers.Adagrad(0.1)
        optimizer.build(tables)
        for step in range(3):
            pairs: list[Any] = []
            for k, table in enumerate(tables):
                ids: Any = np.roll(IDS, k)[: 0 if k == step else None]
                offsets = OFFSETS if ids.size else np.zeros(6, np.int64)
                grads = drawn(tags[k], (6, widths[k]), 10 * step + k)
                if k % 2:
                    ids = slotwise.RowPlan(ids, ROWS)
                pairs.append((slotwise.PooledSlices(grads, ids, offsets, mode="mean"), table))
            if apart:
                for pair in pairs:
                    optimizer.apply_gradients([pair])
            else:
                optimizer.apply_gradients(pairs)
        results.append([table.numpy() for table in tables])
    for k, (got, want) in enumerate(zip(*results, strict=True)):
        assert_same(got, want, k)


def test_of_tables() -> None:
    tables = [drawn("f32", (ROWS, 4)), drawn("f64", (ROWS, 2, 3))]
    grads = drawn("f32", (OFFSETS.size, 10))
    ids, offsets = [IDS, IDS[::-1].copy()], [OFFSETS, OFFSETS]
    first, second = slotwise.PooledSlices.of_tables(
        grads, tables, ids, offsets, [None, WEIGHTS], "mean"
    )
    assert np.shares_memory(first.grads, grads)
    assert_same(first.values, expanded(grads[:, :4], OFFSETS, IDS.size, None, "mean"))
    wide = grads[:, 4:].astype(np.float64).reshape(-1, 2, 3)
    assert_same(second.values, expanded(wide, OFFSETS, IDS.size, WEIGHTS, "mean"))
    assert second.dense_shape == (ROWS, 2, 3)
    with pytest.raises(ValueError, match=r"bag_grads: expected shape \(bags, 10\)"):
        slotwise.PooledSlices.of_tables(grads[:, 1:], tables, ids, offsets)


def test_gradients_in_the_table() -> None:
    """A gradient that lies in what is updated is read before it is written."""
    results = []
    for copied in (True, False):
        memory = drawn("f32", (ROWS + 6, 3))
        grads = memory[3:9].copy() if copied else memory[3:9]
        table = slotwise.Variable(memory, name="t")
        slices = slotwise.PooledSlices(grads, IDS, OFFSETS)
        optimizers.SGD(0.5).apply_gradients([(slices, table)])
        results.append(table.numpy())
    assert_same(results[1], results[0])
    with pytest.raises(ValueError, match="overlaps var"):
        raw_ops.SparseApplyGradientDescent(memory, 0.5, memory[3:9], IDS, offsets=OFFSETS)


def test_loss_scale_skips_what_is_not_finite() -> None:
    """An infinite gradient of a bag, unless it has no ids; an infinite weight."""
    offsets, ids = np.array([0, 2, 2]), np.array([1, 2, 3, 4])
    for place, weights, mode, skips in (
        (0, None, "mean", True),
        (1, None, "mean", False),
        (None, np.array([np.inf, 1, 2, 2], np.float32), "sum", True),
        (None, np.array([1, -1, 2, 2], np.float32), "mean", False),
    ):
        grads = np.ones((3, 2), np.float32)
        if place is not None:
            grads[place] = np.inf
        table = slotwise.Variable(np.zeros((9, 2), np.float32), name="t")
        optimizer = optimizers.LossScaleOptimizer(optimizers.SGD(0.5), initial_scale=2.0)
        optimizer.apply_gradients(
            [(slotwise.PooledSlices(grads, ids, offsets, weights, mode), table)]
        )
        assert table.numpy().any() != skips, (place, mode)


def test_tracked_rows() -> None:
    table = slotwise.Variable(np.zeros((100, 2), np.float32), name="t")
    touched = slotwise.track(table)
    slices = slotwise.PooledSlices(np.ones((6, 2), np.float32), IDS, OFFSETS, dense_shape=(100, 2))
    optimizers.Adagrad(0.5).apply_gradients([(slices, table)])
    assert touched.rows.tolist() == sorted({*IDS.tolist()})


def test_bad_gradients() -> None:
    grads = drawn("f32", (6, 3))
    with pytest.raises(
        ValueError, match=r"PooledSlices: bag_grads: expected shape .* a row for each bag"
    ):
        slotwise.PooledSlices(grads[:5], IDS, OFFSETS)
    with pytest.raises(ValueError, match="PooledSlices: offsets: expected them to ascend"):
        slotwise.PooledSlices(grads, IDS, OFFSETS + 1)
    with pytest.raises(ValueError, match="PooledSlices: weights: expected shape"):
        slotwise.PooledSlices(grads, IDS, OFFSETS, WEIGHTS[1:])
    with pytest.raises(ValueError, match="PooledSlices: mode"):
        slotwise.PooledSlices(grads, IDS, OFFSETS, mode="max")
    var = drawn("f32", (ROWS, 3))
    before = var.copy()
    with pytest.raises(ValueError, match="grad: expected shape"):
        raw_ops.SparseApplyGradientDescent(var, 0.5, grads[:5], IDS, offsets=OFFSETS)
    with pytest.raises(TypeError, match="offsets: expected where bags begin, got None"):
        raw_ops.SparseApplyGradientDescent(var, 0.5, grads, IDS, weights=WEIGHTS)
    with pytest.raises(TypeError, match="offsets: expected where bags begin, got None"):
        raw_ops.SparseApplyGradientDescent(var, 0.5, grads, IDS, mode="mean")
    slices = slotwise.PooledSlices(grads, IDS + 1, OFFSETS)
    table = slotwise.Variable(var, name="t")
    with pytest.raises(ValueError, match=r"\[4\] = 9 is not in \[0, 9\)"):
        optimizers.SGD(0.5).apply_gradients([(slices, table)])
    with pytest.raises((TypeError, ValueError), match="expected"):
        optimizers.SGD(0.5).apply_gradients([(slices, slotwise.Variable(np.ones((ROWS, 2))))])
    assert_same(table.numpy(), before)


# ----- weights -----------------------------------------------------------------------------------


@every_dtype
@every_index
def test_gradient_of_weights(tag: str, index: type, target: str) -> None:
    for width in (*range(1, 34), 64, 100):
        x, grads = drawn(tag, (ROWS, width)), drawn(tag, (OFFSETS.size, width), 2)
        got = slotwise.pooled_weight_gradient(grads, x, IDS.astype(index), OFFSETS)
        assert got.dtype == compute_dtype(x.dtype)
        bags = np.repeat(np.arange(6), np.diff([*OFFSETS, IDS.size]))
        products = x[IDS].astype(np.longdouble) * grads[bags].astype(np.longdouble)
        error = np.abs(got - products.sum(axis=1))
        assert (error <= np.finfo(got.dtype).eps * 8 * np.abs(products).sum(axis=1)).all()


def test_gradient_of_weights_is_the_derivative() -> None:
    x, grads = drawn("f64", (ROWS, 5)), drawn("f64", (OFFSETS.size, 5), 2)
    weights = WEIGHTS.astype(np.float64)
    got = slotwise.pooled_weight_gradient(grads, x, IDS, OFFSETS)
    for i in range(IDS.size):
        step = np.zeros_like(weights)
        step[i] = 0.5
        up, down = (
            slotwise.gather_pooled(x, IDS, OFFSETS, w) for w in (weights + step, weights - step)
        )
        np.testing.assert_allclose(got[i], ((up - down) * grads).sum(), rtol=1e-10, atol=1e-12)
    plan = slotwise.RowPlan(np.insert(IDS, 1, -1), ROWS, bounds="skip")
    offsets = OFFSETS + (OFFSETS > 0)
    assert_same(slotwise.pooled_weight_gradient(grads, x, plan, offsets), np.insert(got, 1, 0))
    with pytest.raises(ValueError, match=r"pooled_weight_gradient: ids\[4\] = 8"):
        slotwise.pooled_weight_gradient(grads, x[:8], IDS, OFFSETS)
    with pytest.raises(TypeError, match="pooled_weight_gradient: bag_grads"):
        slotwise.pooled_weight_gradient(grads.astype(np.float32), x, IDS, OFFSETS)
