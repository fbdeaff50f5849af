# SPDX-License-Identifier: Apache-2.0
"""UpdatePlan: a list of variables in one call, sweeps of whole tables, and clipping."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import _core
from support.cases import every_dtype
from support.compare import assert_same
from support.memory import copies, copies_of
from support.ops import DTYPES, OPS, Op
from support.plans import DENSE, SPARSE, apply, plan, rule_of, scopes_of
from support.reference import Array
from support.rows import SPARSE_BY_NAME

SIZES = (1, 3, 64, 0, 1000, 7, 40_000, 129)


@pytest.mark.parametrize(("op", "tag"), DENSE)
def test_a_list_is_as_one_after_the_other(op: Op, tag: str, threads: None) -> None:
    case = op.default()
    tables = [case.draw(DTYPES[tag], size, size) for size in SIZES]
    expected = copies_of(tables)
    for table in expected:
        case.call(table)
    for count in (1, 2, 5):
        slotwise.set_num_threads(count)
        got = copies_of(tables)
        pairs = [(table[op.gradient], table["var"]) for table in got]
        assert apply(op, plan(op, got), pairs)
        for a, b in zip(got, expected, strict=True):
            for name in op.outputs:
                assert_same(a[name], b[name], name)


def test_every_target_gives_the_same_bits(target: str) -> None:
    op = next(op for op in OPS if op.name == "ApplyAdam")
    tables = [op.default().draw(np.float32, size, size) for size in SIZES]
    expected = copies_of(tables)
    clips = (0.9, 1.5, 2.5)
    slotwise.set_target(slotwise.targets()[-1])
    assert apply(op, plan(op, expected), [(x["grad"], x["var"]) for x in expected], clips=clips)
    slotwise.set_target(target)
    assert apply(op, plan(op, tables), [(x["grad"], x["var"]) for x in tables], clips=clips)
    for a, b in zip(tables, expected, strict=True):
        for name in op.outputs:
            assert_same(a[name], b[name], name)


ADAM = next(op for op in OPS if op.name == "ApplyAdam")


def test_dtypes_may_be_mixed() -> None:
    tables = [ADAM.default().draw(dtype, 100, 3) for dtype in DTYPES.values()]
    expected = copies_of(tables)
    for table in expected:
        ADAM.default().call(table)
    assert apply(ADAM, plan(ADAM, tables), [(x["grad"], x["var"]) for x in tables])
    for a, b in zip(tables, expected, strict=True):
        assert_same(a["var"], b["var"])


def test_strided_gradients() -> None:
    tables = [ADAM.default().draw(np.float32, (30, 50), seed) for seed in range(3)]
    for table in tables:
        table["grad"] = np.asfortranarray(table["grad"])
    expected = [{name: x.copy(order="C") for name, x in table.items()} for table in tables]
    for table in expected:
        ADAM.default().call(table)
    assert apply(ADAM, plan(ADAM, tables), [(x["grad"], x["var"]) for x in tables])
    for a, b in zip(tables, expected, strict=True):
        assert_same(a["var"], b["var"])


SGD = next(op for op in OPS if op.name == "ApplyGradientDescent")  # var -= 0.3 * delta


def test_gradients_are_read_before_variables_are_written() -> None:
    a, b = np.array([1.0]), np.array([10.0])
    assert apply(SGD, plan(SGD, [{"var": a}, {"var": b}]), [(b, a), (a, b)])
    assert a.tolist() == [1 - 0.3 * 10]
    assert b.tolist() == [10 - 0.3 * 1]


class Tensor:
    """As a dense torch tensor, which has methods of these names."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def indices(self) -> Any:
        raise AssertionError("not sparse")

    values = indices


def test_gradients_of_other_libraries() -> None:
    a, g = np.zeros(2), np.ones(2)
    one = plan(SGD, [{"var": a}])
    for gradient in (memoryview(g), Tensor(g)):
        a[:] = 0
        assert apply(SGD, one, [(gradient, a)])
        assert a.tolist() == [-0.3, -0.3]


def test_a_variable_that_is_its_own_gradient() -> None:
    a = np.array([1.0, 2.0])
    assert apply(SGD, plan(SGD, [{"var": a}]), [(a, a)])
    assert a.tolist() == [0.7, 1.4]


def test_a_repeated_variable_is_updated_repeatedly() -> None:
    a = np.zeros(3)
    tables = [{"var": a}, {"var": a}]
    pairs = [(np.ones(3), a), (np.full(3, 10.0), a)]
    assert apply(SGD, plan(SGD, tables), pairs)
    assert np.allclose(a, -0.3 * 11)


def test_views_of_one_array_are_updated_in_turn(threads: None) -> None:
    whole = np.zeros(100_000)
    views = [{"var": whole[:60_000]}, {"var": whole[40_000:]}]
    slotwise.set_num_threads(2)
    pairs = [(np.ones(60_000), views[0]["var"]), (np.ones(60_000), views[1]["var"])]
    assert apply(SGD, plan(SGD, views), pairs)
    expected = np.full(100_000, -0.3)
    expected[40_000:60_000] *= 2
    assert np.array_equal(whole, expected)


def test_other_pairs_are_refused() -> None:
    a, b = np.zeros(2), np.zeros(2)
    one = plan(SGD, [{"var": a}])
    g = np.ones(2)
    for pairs in ([], [(g, b)], [(None, a)], [(g, a), (g, a)], [[g, a]], [(g,)], ["ab"]):
        assert not apply(SGD, one, pairs)
        with pytest.raises(TypeError, match="step: pairs: expected"):
            one.apply(pairs, ((0.3,), (0.3,)), (), None, None, None, "rows")
    assert not a.any()


def test_bad_gradients_change_nothing() -> None:
    a, b = np.zeros((2, 3)), np.zeros((2, 3))
    both = plan(SGD, [{"var": a}, {"var": b}])
    good = np.ones((2, 3))
    slices = slotwise.IndexedSlices
    bad = {
        "expected shape (2, 3) like 'v1', got (3, 2)": np.ones((3, 2)),
        "expected dtype float64 like 'v1', got float32": np.ones((2, 3), np.float32),
        "= 2 is not in [0, 2)": slices(np.ones((1, 3)), np.array([2])),
        "= -1 is not in [0, 2)": slices(np.ones((1, 3)), np.array([-1])),
        "expected shape (1, 3)": slices(np.ones((1, 2)), np.array([0])),
        "expected dtype int32 or int64": slices(np.ones((1, 3)), np.array([0.0])),
    }
    for text, gradient in bad.items():
        with pytest.raises((TypeError, ValueError)) as caught:
            apply(SGD, both, [(good, a), (gradient, b)])
        assert str(caught.value).startswith("step: gradient of 'v1'")
        assert text in str(caught.value)
        assert not a.any()
        assert not b.any()
    b.setflags(write=False)
    with pytest.raises(ValueError, match="step: 'v1': expected a writable array"):
        apply(SGD, both, [(good, a), (good, b)])
    assert not a.any()


def test_slots_must_fit() -> None:
    with pytest.raises(ValueError, match="step: m: expected shape"):
        _core.UpdatePlan("step", "Adam", [(0, "'w'", np.ones(3), np.ones(2), np.ones(3))])
    with pytest.raises(ValueError, match="rule: expected"):
        _core.UpdatePlan("step", "NoRule", [])


# ----- sparse gradients ------------------------------------------------------------------------

SWEPT_OPS = [op for op in OPS if op.slots and op.elementwise]
SWEPT = [pytest.param(op, tag, id=f"{op.name}-{tag}") for op in SWEPT_OPS for tag in DTYPES]


def sparse_tables(op: Op, tag: str, ids: Array) -> dict[str, Array]:
    return SPARSE_BY_NAME[f"Sparse{op.name}"].draw(DTYPES[tag], 1000, 9, ids.size, 1)


@pytest.mark.parametrize(("op", "tag"), SWEPT)
def test_a_sweep_is_the_dense_update_with_zeros(op: Op, tag: str, threads: None) -> None:
    ids = np.random.default_rng(0).permutation(1000)[:300]
    ids[:40] = np.arange(40)  # a run of rows; distinct ids, since 16-bit sums are never stored
    ids = np.unique(ids)
    tables = sparse_tables(op, tag, ids)
    dense = copies(tables)
    dense[op.gradient] = np.zeros_like(tables["var"])
    dense[op.gradient][ids] = tables["grad"]
    op.default().call({name: dense[name] for name in op.arrays})
    for count in (1, 2, 3):
        slotwise.set_num_threads(count)
        for scope in scopes_of(op):
            got = copies(tables)
            pairs = [(slotwise.IndexedSlices(got["grad"], ids), got["var"])]
            assert apply(op, plan(op, [got]), pairs, scope)
            for name in op.outputs:
                whole = scope == "whole" or (scope == "slots" and name != "var")
                expected = dense[name] if whole else tables[name].copy()
                expected[ids] = dense[name][ids]
                assert_same(got[name], expected, f"{name} {scope}")


@pytest.mark.parametrize(
    "op", [p.values[0] for p in SPARSE if p.values[1] == "f32"], ids=lambda op: op.name
)
def test_slots_are_swept_alone_only_where_that_was_asked_for(op: Op) -> None:
    """Elsewhere they may depend on var, which such a sweep does not read."""
    tables = sparse_tables(op, "f32", np.array([1]))
    pairs = [(slotwise.IndexedSlices(tables["grad"], np.array([1])), tables["var"])]
    if rule_of(op)["sweeps_slots"]:
        assert apply(op, plan(op, [tables]), pairs, "slots")
    else:
        with pytest.raises(ValueError, match="are not swept alone, got 'slots'"):
            apply(op, plan(op, [tables]), pairs, "slots")


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
def test_sweeps_of_few_rows(rows: int) -> None:
    for ids in ([], [0], [rows - 1], [*range(rows)], [rows // 2, 0, rows // 2]):
        indices = np.array(ids, np.int64)
        values = np.ones((len(ids), 2))
        table = {"var": np.ones((rows, 2)), "m": np.ones((rows, 2)), "v": np.ones((rows, 2))}
        dense = {**copies(table), "grad": np.zeros((rows, 2))}
        np.add.at(dense["grad"], indices, values)
        ADAM.default().call(dense)
        pairs = [(slotwise.IndexedSlices(values, indices), table["var"])]
        assert apply(ADAM, plan(ADAM, [table]), pairs, "whole")
        for name in ADAM.outputs:
            assert_same(table[name], dense[name], name)


def test_empty_tables() -> None:
    for shape in ((0, 3), (3, 0)):
        table = {"var": np.ones(shape), "m": np.ones(shape), "v": np.ones(shape)}
        slices = slotwise.IndexedSlices(np.ones((0, shape[1])), np.zeros(0, np.int64))
        assert apply(ADAM, plan(ADAM, [table]), [(slices, table["var"])], "whole")


# ----- clipping --------------------------------------------------------------------------------


def clipped(gradients: list[Array], value: Any, norm: Any, global_norm: Any) -> list[Array]:
    with np.errstate(all="ignore"):
        if value is not None:
            gradients = [np.where(np.isnan(g), g, np.clip(g, -value, value)) for g in gradients]
        if norm is not None:
            norms = [np.sqrt((g * g).sum()) for g in gradients]
            gradients = [
                g * norm / np.maximum(n, norm) for g, n in zip(gradients, norms, strict=True)
            ]
        if global_norm is not None:
            n = np.sqrt(sum((g * g).sum() for g in gradients))
            scale = global_norm * np.minimum(1 / n, 1 / np.float64(global_norm)) + (n - n)
            gradients = [g * scale for g in gradients]
    return gradients


CLIPS = [
    (0.5, None, None),
    (None, 2.0, None),
    (None, None, 3.0),
    (0.5, 2.0, 3.0),
    (0.0, None, None),
    (None, 0.0, None),
    (None, None, 0.0),
    (None, 1e9, 1e9),
]


@pytest.mark.parametrize("clips", CLIPS, ids=str)
@pytest.mark.parametrize("special", [0.0, np.inf, np.nan])
def test_clipping(clips: tuple[Any, Any, Any], special: float) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(size) for size in (5, 10_000, 1)] + [np.zeros(3)]
    gradients[0][2] = special
    expected = clipped(gradients, *clips)
    for got, want in zip(_core.clip(gradients, *clips), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)
    variables = [np.zeros_like(g) for g in gradients]
    pairs = list(zip(gradients, variables, strict=True))
    assert apply(SGD, plan(SGD, [{"var": v} for v in variables]), pairs, clips=clips)
    for var, want in zip(variables, expected, strict=True):
        np.testing.assert_allclose(var, -0.3 * want, rtol=1e-13)


def test_clipping_of_slices_is_of_their_values() -> None:
    ids = np.array([4, 1, 4])
    values = np.array([[3.0], [0.0], [4.0]])
    table = np.zeros((6, 1))
    pairs = [(slotwise.IndexedSlices(values, ids), table)]
    assert apply(SGD, plan(SGD, [{"var": table}]), pairs, clips=(None, 1.0, None))
    np.testing.assert_allclose(table[4], -0.3 * 7 / 5)
    assert values.ravel().tolist() == [3, 0, 4]


@every_dtype
def test_norms_do_not_depend_on_threads_or_target(tag: str, target: str, threads: None) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.standard_normal(size).astype(DTYPES[tag]) for size in (3, 100_003, 4096)]
    results = []
    for count in (1, 2, 3):
        slotwise.set_num_threads(count)
        results.append(_core.clip(gradients, None, 1.0, 1.0))
    slotwise.set_target(slotwise.targets()[-1])
    results.append(_core.clip(gradients, None, 1.0, 1.0))
    for result in results[1:]:
        for a, b in zip(result, results[0], strict=True):
            assert_same(a, b)


def test_bad_limits() -> None:
    for clips in ((np.nan, None, None), (None, "1", None), (None, None, [1.0])):
        with pytest.raises((TypeError, ValueError), match="clip: "):
            _core.clip([np.ones(2)], *clips)


def test_a_plan_that_skipped_ids() -> None:
    """Its rows of the gradient would be lost without a word."""
    var = slotwise.Variable(np.zeros((4, 2), np.float32))
    ids = slotwise.RowPlan(np.array([0, -1]), 4, bounds="skip")
    slices = slotwise.IndexedSlices(np.ones((2, 2), np.float32), ids, (4, 2))
    with pytest.raises(ValueError, match="expected a RowPlan that skipped no ids"):
        slotwise.optimizers.legacy.SGD(1.0).apply_gradients([(slices, var)])
    assert not var.numpy().any()
