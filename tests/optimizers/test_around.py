# SPDX-License-Identifier: Apache-2.0
"""What an UpdatePlan does around the rule: weight decay before it, moving averages after it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import _core
from support import reference
from support.cases import every_dtype
from support.compare import assert_same
from support.memory import copies, copies_of, read_only
from support.ops import BY_NAME, DTYPES, SPECIAL, Op
from support.plans import DENSE, SPARSE, Table, apply, numbers, plan, rule_of, scopes_of
from support.reference import Array
from support.rows import SPARSE_BY_NAME, summed

DECAY, RATE, MOMENTUM = 0.04, 0.3, 0.9
PAIR = (DECAY, RATE)
# decay, average, overwrite
STAGES = [
    (True, False, False),
    (False, True, False),
    (False, True, True),
    (True, True, False),
    (True, True, True),
]
SIZES = (*range(35), 1000, 512, 1537)

ADAM = BY_NAME["ApplyAdam"]
NADAM = BY_NAME["ApplyNadam"]
SGD = BY_NAME["ApplyGradientDescent"]  # var -= 0.3 * delta


def arguments(stages: tuple[bool, bool, bool]) -> dict[str, Any]:
    decay, average, overwrite = stages
    return {
        "decay": (PAIR, PAIR) if decay else None,
        "average": (MOMENTUM, overwrite) if average else None,
    }


def decayed(var: Array) -> Array:
    hyper = {"weight_decay": DECAY, "rate": RATE}
    return reference.evaluate(reference.decay, {"var": var}, hyper, {}, ("var",))["var"]


def averaged(mean: Array, var: Array) -> Array:
    arrays = {"var": var, "mean": mean}
    hyper = {"momentum": MOMENTUM}
    return reference.evaluate(reference.average, arrays, hyper, {}, ("mean",), exact=True)["mean"]


def expect(op: Op, table: Table, stages: tuple[bool, bool, bool], decays: bool = True) -> None:
    """Update a table that has a "mean", one operation after the other."""
    decay, average, overwrite = stages
    arrays = {name: table[name] for name in op.arrays}
    if decay and decays:
        before = table["var"].copy()
        table["var"][...] = decayed(before)
    if decay and decays and op.measures_first:
        arrays["measured"] = before
        after = reference.evaluate(op.rule, arrays, op.hyper, op.attrs, op.outputs)
        for name in op.outputs:
            table[name][...] = after[name]
    else:
        op.default().call(arrays)
    if average:
        table["mean"][...] = averaged(table["mean"], table["var"])
    if overwrite:
        table["var"][...] = table["mean"]


def draw(op: Op, tag: str, size: int | tuple[int, ...], seed: int) -> Table:
    table = op.default().draw(DTYPES[tag], size, seed)
    table["mean"] = np.random.default_rng(seed).standard_normal(size).astype(DTYPES[tag])
    specials = np.array([*SPECIAL, 1e-40, -3e-5], np.float64).astype(DTYPES[tag])
    if table["var"].size >= 1000:
        table["var"].flat[: specials.size] = specials
        table["mean"].flat[5 : 5 + specials.size] = specials
    return table


def update(op: Op, tables: list[Table], stages: tuple[bool, bool, bool], **more: Any) -> None:
    decays = [i % 3 != 1 for i in range(len(tables))]
    made = plan(op, tables, [table["mean"] for table in tables], decays)
    pairs = [(table[op.gradient], table["var"]) for table in tables]
    assert apply(op, made, pairs, **arguments(stages), **more)


def assert_tables(op: Op, got: list[Table], want: list[Table]) -> None:
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        for name in (*op.outputs, "mean"):
            assert_same(a[name], b[name], f"{name} of {i}")


@pytest.mark.parametrize(("op", "tag"), DENSE)
def test_dense(op: Op, tag: str, threads: None) -> None:
    tables = [draw(op, tag, size, size) for size in (*SIZES, 40_000)]
    for number, stages in enumerate(STAGES):
        slotwise.set_num_threads(1 + number % 3)
        got, want = copies_of(tables), copies_of(tables)
        update(op, got, stages)
        for i, table in enumerate(want):
            expect(op, table, stages, i % 3 != 1)
        assert_tables(op, got, want)


def moved(array: Array, offset: int) -> Array:
    """A copy at another place within a cache line."""
    room = np.empty(array.size + offset, array.dtype)
    copy = room[offset:].reshape(array.shape)
    copy[...] = array
    return copy


@every_dtype
@pytest.mark.parametrize("stages", STAGES, ids=str)
def test_every_target_and_alignment(
    tag: str, stages: tuple[bool, bool, bool], target: str, threads: None
) -> None:
    tables = [draw(ADAM, tag, size, size) for size in (*SIZES, 40_000)]
    want = copies_of(tables)
    for i, table in enumerate(want):
        expect(ADAM, table, stages, i % 3 != 1)
    for count in (1, 2, 5):
        slotwise.set_num_threads(count)
        got = [
            {name: moved(x, (i + k + count) % 7) for k, (name, x) in enumerate(table.items())}
            for i, table in enumerate(tables)
        ]
        update(ADAM, got, stages)
        assert_tables(ADAM, got, want)


@pytest.mark.parametrize("clips", [(None, None, None), (0.9, 1.5, 2.5)], ids=str)
def test_strided_and_clipped_gradients(clips: tuple[Any, Any, Any]) -> None:
    stages = (True, True, True)
    tables = [draw(ADAM, "f32", (60, 50), seed) for seed in range(3)]
    want = copies_of(tables)
    clipped = _core.clip([table["grad"] for table in want], *clips)
    for i, (table, grad) in enumerate(zip(want, clipped, strict=True)):
        table["grad"] = grad
        expect(ADAM, table, stages, i != 1)
    for table in tables:
        table["grad"] = np.asfortranarray(table["grad"])
    update(ADAM, tables, stages, clips=clips)
    assert_tables(ADAM, tables, want)


# ----- sparse gradients ------------------------------------------------------------------------

COMBINATIONS = list(itertools.product(("rows", "slots", "whole"), ("rows", "whole")))


def sparse_table(op: Op, tag: str, rows: int, width: int, ids: Array) -> Table:
    table = SPARSE_BY_NAME[f"Sparse{op.name}"].draw(DTYPES[tag], rows, width, ids.size, 1)
    table["mean"] = np.random.default_rng(2).standard_normal((rows, width)).astype(DTYPES[tag])
    return table


def expect_sparse(
    op: Op, table: Table, ids: Array, stages: tuple[bool, bool, bool], scope: str, around: str
) -> Table:
    """All of the table stage by stage; then the rows that each stage is to touch."""
    touched = np.isin(np.arange(table["var"].shape[0]), ids)[:, None]
    ruled = touched | (scope == "whole")
    slots = touched | (scope != "rows")
    surrounded = touched | (around == "whole")
    decay, average, overwrite = stages
    out = copies(table)
    if decay:
        out["var"] = np.where(surrounded, decayed(out["var"]), out["var"])
    distinct, sums = summed(ids, table["grad"])
    after = {name: out[name].copy() for name in op.outputs}
    after[op.gradient] = np.zeros_like(out["var"])
    after[op.gradient][distinct] = sums
    op.default().call(after)
    for name in op.outputs:
        out[name] = np.where(ruled if name == "var" else slots, after[name], out[name])
    if average:
        out["mean"] = np.where(surrounded, averaged(out["mean"], out["var"]), out["mean"])
    if overwrite:
        out["var"] = np.where(surrounded, out["mean"], out["var"])
    return out


def update_sparse(
    op: Op, table: Table, ids: Array, stages: tuple[bool, bool, bool], scope: str, around: str
) -> None:
    pairs = [(slotwise.IndexedSlices(table["grad"], ids), table["var"])]
    made = plan(op, [table], [table["mean"]], [True])
    assert apply(op, made, pairs, scope, around=around, **arguments(stages))


@pytest.mark.parametrize(("op", "tag"), SPARSE)
def test_sparse(op: Op, tag: str, threads: None) -> None:
    rng = np.random.default_rng(0)
    ids = np.concatenate([np.arange(40), rng.integers(0, 500, 150)])
    if tag in ("f16", "bf16"):
        ids = rng.permutation(np.unique(ids))  # sums of 16-bit gradients are never stored
    table = sparse_table(op, tag, 500, 9, ids)
    for number, ((scope, around), stages) in enumerate(itertools.product(COMBINATIONS, STAGES)):
        if scope not in scopes_of(op):
            continue
        slotwise.set_num_threads(1 + number % 3)
        got = copies(table)
        update_sparse(op, got, ids, stages, scope, around)
        want = expect_sparse(op, table, ids, stages, scope, around)
        assert_tables(op, [got], [want])


@pytest.mark.parametrize("scope", ["rows", "slots", "whole"])
@pytest.mark.parametrize("around", ["rows", "whole"])
def test_sparse_on_every_target(scope: str, around: str, target: str) -> None:
    for rows, width in ((1, 1), (63, 3), (64, 17), (130, 130)):
        for ids in ([], [0], [rows - 1, 0, rows - 1], [*range(rows)]):
            indices = np.array(ids, np.int64)
            table = sparse_table(NADAM, "f32", rows, width, indices)
            for stages in STAGES:
                got = copies(table)
                update_sparse(NADAM, got, indices, stages, scope, around)
                want = expect_sparse(NADAM, table, indices, stages, scope, around)
                assert_tables(NADAM, [got], [want])


def test_nothing_around_a_variable_is_no_sweep() -> None:
    table = sparse_table(SGD, "f64", 4, 2, np.array([1]))
    before = copies(table)
    pairs = [(slotwise.IndexedSlices(table["grad"], np.array([1])), table["var"])]
    made = plan(SGD, [table], None, [False])
    assert apply(SGD, made, pairs, around="whole", decay=(None, PAIR))
    assert_same(table["var"][[0, 2, 3]], before["var"][[0, 2, 3]])
    assert_same(table["var"][1], before["var"][1] - 0.3 * before["grad"][0])


# ----- memory ----------------------------------------------------------------------------------


def test_gradients_are_read_before_anything_is_written() -> None:
    """A variable is its own gradient; another one's is an average."""
    x = np.random.default_rng(0).standard_normal((4, 3000))
    a, b, mean_a, mean_b = x.copy()
    tables = [{"var": a}, {"var": b}]
    made = plan(SGD, tables, [mean_a, mean_b], [True, True])
    for pairs, grads in (
        ([(a, a), (mean_a, b)], (x[0], x[2])),
        ([(b[::-1], a), (b, b)], (x[1][::-1], x[1])),
    ):
        for array, values in zip((a, b, mean_a, mean_b), x, strict=True):
            array[:] = values
        assert apply(SGD, made, pairs, **arguments((True, True, False)))
        for var, mean, grad, old, old_mean in (
            (a, mean_a, grads[0], x[0], x[2]),
            (b, mean_b, grads[1], x[1], x[3]),
        ):
            assert_same(var, decayed(old) - grad * 0.3)
            assert_same(mean, averaged(old_mean, var))


def test_a_repeated_variable_is_updated_repeatedly() -> None:
    table = draw(SGD, "f64", 3000, 0)
    want = copies(table)
    grads = [table["delta"], table["delta"] * 2]
    made = plan(SGD, [table, table], [table["mean"]] * 2, [True, True])
    pairs = [(grad, table["var"]) for grad in grads]
    assert apply(SGD, made, pairs, **arguments((True, True, False)))
    for grad in grads:
        want["delta"] = grad
        expect(SGD, want, (True, True, False))
    assert_tables(SGD, [table], [want])


def test_overlapping_views_are_updated_in_turn(threads: None) -> None:
    slotwise.set_num_threads(2)
    whole, means = np.random.default_rng(0).standard_normal((2, 100_000))
    want, want_means = whole.copy(), means.copy()
    grad = np.ones(60_000)
    parts = slice(None, 60_000), slice(40_000, None)
    tables = [{"var": whole[part], "mean": means[part], "delta": grad} for part in parts]
    pairs = [(grad, table["var"]) for table in tables]
    made = plan(SGD, tables, [table["mean"] for table in tables], [True, True])
    assert apply(SGD, made, pairs, **arguments((True, True, True)))
    for part in parts:
        table = {"var": want[part], "mean": want_means[part], "delta": grad}
        expect(SGD, table, (True, True, True))
    assert_same(whole, want)
    assert_same(means, want_means)


def test_empty_variables() -> None:
    for shape in ((0,), (0, 3), (3, 0)):
        table = {"var": np.ones(shape), "mean": np.ones(shape), "delta": np.ones(shape)}
        update(SGD, [table], (True, True, True))
        if len(shape) > 1:
            table["grad"] = np.ones((0, shape[1]))
            ids = np.zeros(0, np.int64)
            update_sparse(SGD, table, ids, (True, True, True), "whole", "whole")


# ----- numbers ---------------------------------------------------------------------------------


def test_decay_has_numbers_by_type() -> None:
    tables = [draw(SGD, tag, 100, 1) for tag in DTYPES]
    want = copies_of(tables)
    for table in tables:
        table["var"][:] = 1
    made = plan(SGD, tables, None, [True] * len(tables))
    pairs = [(np.zeros_like(table["var"]), table["var"]) for table in tables]
    assert apply(SGD, made, pairs, decay=((0.5, 1.0), (0.25, 1.0)))
    for table, tag in zip(tables, DTYPES, strict=True):
        assert (table["var"].astype(np.float64) == (0.75 if tag == "f64" else 0.5)).all()
    made = plan(SGD, want, None, [False, False, True, False])
    pairs = [(np.zeros_like(table["var"]), table["var"]) for table in want]
    assert apply(SGD, made, pairs, decay=((0.5, 1.0), None))  # of none of float64
    with pytest.raises(ValueError, match="step: decay: expected numbers for every dtype"):
        apply(SGD, made, pairs, decay=(None, (0.5, 1.0)))


def test_the_complement_of_momentum_is_not_that_of_a_rounded_number() -> None:
    var, mean = np.ones(3, np.float32), np.zeros(3, np.float32)
    made = plan(SGD, [{"var": var}], [mean])
    assert apply(SGD, made, [(np.zeros_like(var), var)], average=(0.999, False))
    assert_same(mean, np.full(3, 0.001, np.float32))  # not 1 - float32(0.999)


DECAYS = {"beta", "beta1", "rho", "one_minus_beta2"}
EXACT = [case for case in DENSE if DECAYS & case.values[0].hyper.keys()]


@pytest.mark.parametrize(("op", "tag"), EXACT)
def test_complements_of_hyperparameters_are_not_those_of_rounded_ones(op: Op, tag: str) -> None:
    decays = ("beta", "beta2", "rho", "one_minus_beta2")
    hyper = {**op.hyper, **{k: 0.999 for k in op.hyper if k in decays}}
    table = op.default().draw(DTYPES[tag], 1000, 1)
    want = reference.evaluate(op.rule, table, hyper, op.attrs, op.outputs, exact=True)
    rounded = reference.evaluate(op.rule, table, hyper, op.attrs, op.outputs)
    values = tuple(hyper[name] for name in rule_of(op)["hypers"])
    pairs = [(table[op.gradient], table["var"])]
    assert apply(op, plan(op, [table]), pairs, hypers=(values, values))
    for name in op.outputs:
        assert_same(table[name], want[name], name)
    if tag == "f32":
        assert any((rounded[name] != want[name]).any() for name in op.outputs)


@pytest.mark.parametrize("tag", ["f32", "f64"])
def test_a_power_that_is_at_most_1_once_rounded(tag: str) -> None:
    """Its complement is 0, not below it."""
    op = BY_NAME["ApplyAdam"]
    table = op.default().draw(DTYPES[tag], 100, 1)
    want = copies(table)
    values = [{**op.hyper, "beta2_power": x} for x in (1 + 1e-9, 1.0)]
    above, one = (tuple(x[name] for name in rule_of(op)["hypers"]) for x in values)
    pairs = [(table["grad"], table["var"])]
    if tag == "f64":
        with pytest.raises(ValueError, match=r"beta2_power: expected a number <= 1, got 1\.0"):
            apply(op, plan(op, [table]), pairs, hypers=(None, above))
        return
    assert apply(op, plan(op, [table]), pairs, hypers=(above, None))
    assert apply(op, plan(op, [want]), [(want["grad"], want["var"])], hypers=(one, None))
    for name in op.outputs:
        assert_same(table[name], want[name], name)


# ----- errors ----------------------------------------------------------------------------------


def test_bad_averages_and_decays() -> None:
    var, m, v = np.ones((3, 4, 2))
    entries = [(0, "'w'", var, m, v)]
    strided = np.ones((4, 4))[:, ::2]
    for averages, error, text in (
        (np.ones((4, 2)), TypeError, "averages: expected a list or None, got numpy.ndarray"),
        ([], ValueError, "averages: expected one for each of 1 entries, got 0"),
        ([np.ones(8)], ValueError, "average of 'w': expected shape (4, 2) like 'w', got (8,)"),
        ([np.ones((4, 2), "f4")], TypeError, "average of 'w': expected dtype float64 like 'w'"),
        ([read_only(np.ones((4, 2)))], ValueError, "expected a writable array"),
        ([strided], ValueError, "expected a C-contiguous array"),
        ([var], ValueError, "expected memory of its own, got an array that overlaps 'w'"),
        ([v], ValueError, "expected memory of its own, got an array that overlaps v"),
        ([None], TypeError, "average of 'w': expected an array"),
    ):
        with pytest.raises(error) as caught:
            _core.UpdatePlan("step", "Adam", entries, averages)
        assert str(caught.value).startswith("step: av")
        assert text in str(caught.value)
    for decays, error in (([], ValueError), ((True,), TypeError), ([1], TypeError)):
        with pytest.raises(error, match="step: decays: expected"):
            _core.UpdatePlan("step", "Adam", entries, None, decays)


def test_bad_arguments_change_nothing() -> None:
    table = draw(ADAM, "f64", (4, 2), 0)
    before = copies(table)
    grad, var, mean = table["grad"], table["var"], table["mean"]
    full = plan(ADAM, [table], [mean], [True])
    bare = plan(ADAM, [table])
    nan = float("nan")
    good = {"decay": (None, PAIR), "average": (0.9, False), "around": "rows"}
    for made, changed, text in (
        (full, {"decay": PAIR[0]}, "decay: expected a tuple of 2, got float"),
        (full, {"decay": (PAIR,)}, "decay: expected a tuple of 2, got one of 1"),
        (full, {"decay": (None, (0.1,))}, "decay: expected a tuple of 2, got one of 1"),
        (full, {"decay": (None, None)}, "decay: expected numbers for every dtype"),
        (full, {"decay": (None, (nan, 0.1))}, "weight_decay: expected a number, got nan"),
        (full, {"decay": (None, (0.1, "x"))}, "learning_rate: expected a real number"),
        (full, {"average": 0.9}, "average: expected a tuple of 2, got float"),
        (full, {"average": (0.9,)}, "average: expected a tuple of 2, got one of 1"),
        (full, {"average": (nan, False)}, "momentum of the average: expected a number"),
        (full, {"average": (0.9, 1)}, "overwrite: expected a bool, got int"),
        (full, {"around": "slots"}, "around: expected 'rows' or 'whole', got 'slots'"),
        (bare, {"average": None}, "decay: expected None, as the plan has no decays"),
        (bare, {"decay": None}, "average: expected None, as the plan has no averages"),
    ):
        for gradient in (grad, slotwise.IndexedSlices(grad, np.arange(4))):
            with pytest.raises((TypeError, ValueError)) as caught:
                apply(ADAM, made, [(gradient, var)], **{**good, **changed})
            assert str(caught.value).startswith(f"step: {text}")
            assert_tables(ADAM, [table], [before])
    values = numbers(ADAM, ADAM.hyper)
    for hypers, attrs in (
        (values[:1], (False,)),
        (values[1], (False,)),
        ((values[0], values[1][1:]), (False,)),
        (values, ()),
        (values, (False, False)),
        (values, [False]),
    ):
        with pytest.raises(
            (TypeError, ValueError), match=r"step: (hypers|attrs): expected a tuple"
        ):
            full.apply([(grad, var)], hypers, attrs, None, None, None, "rows", **good)
        assert_tables(ADAM, [table], [before])
    mean.setflags(write=False)
    with pytest.raises(ValueError, match="step: average of 'v0': expected a writable array"):
        apply(ADAM, full, [(grad, var)], **good)
    assert_tables(ADAM, [table], [before])
    assert apply(ADAM, full, [(grad, var)], decay=(None, PAIR))  # averages are left alone
