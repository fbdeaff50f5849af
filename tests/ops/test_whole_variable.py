# SPDX-License-Identifier: Apache-2.0
"""LAMB and Adafactor, whose steps depend on sums over the whole variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import _core
from support.cases import every_dtype
from support.compare import assert_same, is_nan
from support.memory import copies, copies_of
from support.ops import BY_NAME, DTYPES, OPS, Case
from support.plans import numbers, rule_of
from support.reference import Array

LAMB = BY_NAME["ApplyLamb"].default()
ADAFACTOR = BY_NAME["ApplyAdafactor"].default()
TORCH_ADAFACTOR = BY_NAME["ApplyTorchAdafactor"].default()
WHOLE = [op.default() for op in OPS if not op.elementwise]

# Matrices that are one tile, several of them down or across or both, narrow ones, and stacks.
SHAPES: tuple[tuple[int, ...], ...] = (
    (),
    (1,),
    (5000,),
    (1, 1),
    (1, 40),
    (40, 1),
    (66_000, 1),
    (33_000, 2),
    (70, 33),
    (3, 2050),
    (130, 1030),
    (200, 16, 3),
    (3, 65, 1025),
    (2, 3, 70, 18),
    (1, 2, 1, 5, 7),
)

every_whole = pytest.mark.parametrize("case", WHOLE, ids=str)


def check(case: Case, got: Mapping[str, Array], want: Mapping[str, Array], what: Any = "") -> None:
    for name in case.op.outputs:
        assert_same(got[name], want[name], f"{name} {what}")


@every_whole
@every_dtype
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(case: Case, tag: str, shape: tuple[int, ...], threads: None) -> None:
    """Bit for bit the reference, on whatever target, with any number of threads and any strides."""
    arrays = case.draw(DTYPES[tag], shape, seed=1)
    want = case.expected(arrays)
    strided = {**arrays, "grad": np.asarray(arrays["grad"], order="F")}
    for target in (*slotwise.targets(), None):
        slotwise.set_target(target)
        for count in (1, 3) if target else (2, 5):
            slotwise.set_num_threads(count)
            got = copies(arrays)
            case.call(got)
            check(case, got, want, (target, count))
    got = {**copies(arrays), "grad": strided["grad"]}
    case.call(got)
    check(case, got, want, "strided")


def plain_lamb(x: dict[str, Array], h: Mapping[str, float]) -> dict[str, Array]:
    """Algorithm 2 of the paper, as it is written."""
    m = h["beta1"] * x["m"] + (1 - h["beta1"]) * x["grad"]
    v = h["beta2"] * x["v"] + (1 - h["beta2"]) * x["grad"] ** 2
    r = m / (1 - h["beta1_power"]) / (np.sqrt(v / (1 - h["beta2_power"])) + h["epsilon"])
    u = r + h["weight_decay"] * x["var"]
    ratio = np.linalg.norm(x["var"].reshape(-1)) / np.linalg.norm(u.reshape(-1))
    return {"var": x["var"] - h["lr"] * ratio * u, "m": m, "v": v}


def plain_adafactor(x: dict[str, Array], h: Mapping[str, float]) -> dict[str, Array]:
    """The code of Keras, in NumPy."""

    def rms(a: Array) -> Any:
        return np.sqrt(np.mean(np.square(a)))

    b, r, c = h["beta2"], x["r"], x["c"]
    square = x["grad"] ** 2 + h["epsilon_1"]
    if x["var"].ndim < 2:
        v = b * x["v"] + (1 - b) * square
    else:
        r = b * r + (1 - b) * square.mean(-1)
        c = b * c + (1 - b) * square.mean(-2)
        v = (r / r.mean(-1, keepdims=True))[..., None] * c[..., None, :]
    u = x["grad"] / np.sqrt(v)
    u = u / max(1, rms(u) / h["clip_threshold"])
    step = max(h["epsilon_2"], rms(x["var"])) * h["lr"]
    return {"var": x["var"] - step * u, "r": r, "c": c, "v": v}


def plain_torch_adafactor(x: dict[str, Array], h: Mapping[str, float]) -> dict[str, Array]:
    """The code of PyTorch, in NumPy."""

    def rms(a: Array) -> Any:
        return np.linalg.norm(a.reshape(-1)) / a.size**0.5

    w, r, c, v = h["one_minus_beta2"], x["r"], x["c"], x["v"]
    square = x["grad"] ** 2
    if x["var"].ndim < 2:
        moments = v = v + w * (square - v)
    else:
        r = r + w * (square.mean(-1) - r)
        c = c + w * (square.mean(-2) - c)
        mean = np.maximum(r.mean(-1), h["epsilon_1"])
        moments = r[..., None] * c[..., None, :] / mean[..., None, None]
    u = x["grad"] / np.sqrt(np.maximum(moments, h["epsilon_1"] ** 2))
    alpha = max(h["epsilon_2"], rms(x["var"])) * h["lr"]
    step = alpha / max(1.0, rms(u) / h["clip_threshold"])
    return {"var": x["var"] - step * u, "r": r, "c": c, "v": v}


PLAIN = {
    "ApplyLamb": plain_lamb,
    "ApplyAdafactor": plain_adafactor,
    "ApplyTorchAdafactor": plain_torch_adafactor,
}


@every_whole
@pytest.mark.parametrize(("tag", "limit"), [("f32", 2e-6), ("f64", 1e-13)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_the_formula(case: Case, tag: str, limit: float, shape: tuple[int, ...]) -> None:
    variants = ({}, {"clip_threshold": 100.0, "epsilon_2": 10.0}, {"epsilon_1": 3.0})
    for variant in variants:
        hyper = {**case.hyper, **{k: v for k, v in variant.items() if k in case.hyper}}
        arrays = case.draw(DTYPES[tag], shape, seed=2)
        exact = {name: x.astype(np.float64) for name, x in arrays.items()}
        want = PLAIN[case.op.name](exact, hyper)
        case.call(arrays, **hyper)
        for name in case.op.outputs:
            np.testing.assert_allclose(arrays[name], want[name], limit, limit, err_msg=name)


@every_whole
@every_dtype
def test_many_variables_are_measured_apart(case: Case, tag: str, threads: None) -> None:
    """Also with clipping, strided gradients, and variables that are empty."""
    tables = [case.draw(DTYPES[tag], shape, i) for i, shape in enumerate((*SHAPES, (0, 3), (3, 0)))]
    rule = rule_of(case.op)
    hypers = numbers(case.op, case.hyper)
    for clips in ((None,) * 3, (0.9, None, None), (0.9, 1.5, 2.5)):
        want = copies_of(tables)
        clipped = _core.clip([x["grad"] for x in want], *clips)
        for table, gradient in zip(want, clipped, strict=True):
            case.call({**table, "grad": gradient})
        for count in (1, 2, 5):
            slotwise.set_num_threads(count)
            got = copies_of(tables)
            entries = [(i, f"'{i}'", *(x[n] for n in case.op.outputs)) for i, x in enumerate(got)]
            pairs = [(np.asarray(x["grad"], order="F"), i) for i, x in enumerate(got)]
            plan = _core.UpdatePlan("step", rule["name"], entries)
            plan.apply(pairs, hypers, (), *clips, "whole")
            for a, b in zip(got, want, strict=True):
                check(case, a, b, count)


@every_whole
@every_dtype
@pytest.mark.parametrize("clips", [(None,) * 3, (0.5, 2.0, 3.0)], ids=str)
def test_sparse_gradients_are_made_dense(
    case: Case, tag: str, clips: tuple[Any, ...], threads: None
) -> None:
    """Equal ids summed in order, other rows 0."""
    rng = np.random.default_rng(3)
    tables = case.draw(DTYPES[tag], (500, 9), seed=4)
    ids = rng.integers(0, 500, 200)
    values = rng.integers(-8, 8, (200, 9)).astype(DTYPES[tag])  # whose sums are exact
    dense = np.zeros((500, 9), np.float64)
    np.add.at(dense, ids, _core.clip([values], *clips)[0].astype(np.float64))
    want = copies(tables)
    want["grad"] = dense.astype(DTYPES[tag])
    case.call(want)
    rule = rule_of(case.op)
    hypers = numbers(case.op, case.hyper)
    for count in (1, 3):
        slotwise.set_num_threads(count)
        got = copies(tables)
        plan = _core.UpdatePlan("step", rule["name"], [(0, "'w'", *map(got.get, case.op.outputs))])
        pairs = [(slotwise.IndexedSlices(values, ids), 0)]
        for scope in ("rows", "slots"):
            with pytest.raises(ValueError, match=r"step: scope: expected 'whole', since an update"):
                plan.apply(pairs, hypers, (), *clips, scope)
        check(case, got, tables, "an error")
        plan.apply(pairs, hypers, (), *clips, "whole")
        if clips[0] is None:
            check(case, got, want)
        else:
            limit = {"f16": 2e-3, "bf16": 2e-2, "f32": 1e-5, "f64": 1e-13}[tag]
            for name in case.op.outputs:
                a, b = got[name].astype(np.float64), want[name].astype(np.float64)
                np.testing.assert_allclose(a, b, limit, limit)


@every_whole
def test_no_rows_of_a_sparse_gradient(case: Case) -> None:
    tables = case.draw(np.float32, (5, 3), seed=5)
    want = {**copies(tables), "grad": np.zeros((5, 3), np.float32)}
    case.call(want)
    rule = rule_of(case.op)
    hypers = numbers(case.op, case.hyper)
    plan = _core.UpdatePlan("step", rule["name"], [(0, "'w'", *map(tables.get, case.op.outputs))])
    none = slotwise.IndexedSlices(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    plan.apply([(none, 0)], hypers, (), None, None, None, "whole")
    check(case, tables, want)


@every_dtype
def test_lamb_without_a_norm(tag: str, target: str) -> None:
    """A variable of zeros moves by the rate; one without a direction stays."""
    dtype = DTYPES[tag]
    zeros = {name: np.zeros(33, dtype) for name in LAMB.op.arrays}
    got = {**copies(zeros), "grad": np.ones(33, dtype)}
    powers = {"beta1_power": 0.9, "beta2_power": 0.99, "lr": 0.5, "epsilon": 0.0}
    LAMB.call(got, **powers)
    np.testing.assert_allclose(got["var"].astype(float), -0.5, 1e-2)
    still = {**copies(zeros), "var": np.ones(33, dtype)}
    LAMB.call(still, **powers, weight_decay=0.0)
    assert (still["var"] == 1).all()


@every_dtype
@pytest.mark.parametrize("shape", [(40,), (5, 8)], ids=str)
def test_adafactor_without_a_gradient(tag: str, shape: tuple[int, ...], target: str) -> None:
    """In float16, too, where Keras's epsilon_1 is 0 and a zero makes NaN of the variable."""
    for epsilon in (1e-30, 0.0):
        arrays = ADAFACTOR.draw(DTYPES[tag], shape, seed=6)
        for name in ("r", "c", "v", "grad"):
            arrays[name][...] = 0
        before = arrays["var"].copy()
        ADAFACTOR.call(arrays, epsilon_1=epsilon, beta2=0.0)
        assert_same(arrays["var"], before)
        arrays["grad"].reshape(-1)[3] = 1
        ADAFACTOR.call(arrays, epsilon_1=epsilon, beta2=0.0)
        assert not is_nan(arrays["var"]).any()
        assert (arrays["var"] != before).sum() == 1


@every_dtype
@pytest.mark.parametrize("shape", [(40,), (5, 8)], ids=str)
def test_adafactor_of_torch_without_a_gradient(
    tag: str, shape: tuple[int, ...], target: str
) -> None:
    for epsilon in (1e-3, 0.0):
        arrays = TORCH_ADAFACTOR.draw(DTYPES[tag], shape, seed=6)
        for name in ("r", "c", "v", "grad"):
            arrays[name][...] = 0
        before = arrays["var"].copy()
        TORCH_ADAFACTOR.call(arrays, epsilon_1=epsilon)
        assert_same(arrays["var"], before)
        arrays["grad"].reshape(-1)[3] = 1
        TORCH_ADAFACTOR.call(arrays, epsilon_1=epsilon)
        assert (arrays["var"] != before).sum() == 1


def test_adafactor_of_torch_keeps_nan_where_it_is() -> None:
    arrays = TORCH_ADAFACTOR.draw(np.float32, 5000, seed=7)
    arrays["grad"][4321] = np.nan
    TORCH_ADAFACTOR.call(arrays)
    assert np.flatnonzero(is_nan(arrays["var"])).tolist() == [4321]
    before = arrays["var"].copy()
    arrays["grad"][4321] = 1
    TORCH_ADAFACTOR.call(arrays)
    assert (arrays["var"] != before).mean() > 0.9  # some gradients are 0
    assert np.flatnonzero(is_nan(arrays["var"])).tolist() == [4321]


@pytest.mark.parametrize("case", [ADAFACTOR, TORCH_ADAFACTOR], ids=str)
@pytest.mark.parametrize("shape", [(5000,), (130, 1030)], ids=str)
def test_adafactor_measures_a_variable_that_decays(case: Case, shape: tuple[int, ...]) -> None:
    """PyTorch's before it does, Keras's after."""
    arrays = case.draw(np.float64, shape, seed=8)
    decayed = arrays["var"] * (1 - 0.5 * 0.25)
    want = PLAIN[case.op.name](copies(arrays), case.hyper)["var"] - arrays["var"] + decayed
    if case is ADAFACTOR:
        want = PLAIN[case.op.name]({**copies(arrays), "var": decayed}, case.hyper)["var"]
    entry = (0, "'w'", *map(arrays.get, case.op.outputs))
    plan = _core.UpdatePlan("step", rule_of(case.op)["name"], [entry], None, [True])
    hypers, decay = numbers(case.op, case.hyper), ((0.5, 0.25),) * 2
    plan.apply([(arrays["grad"], 0)], hypers, (), *(None,) * 3, "whole", decay, None, "rows")
    np.testing.assert_allclose(arrays["var"], want, 1e-12, 1e-12)


@every_whole
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_special_gradients(case: Case, special: float, target: str) -> None:
    for shape in ((5000,), (130, 1030)):
        arrays = case.draw(np.float32, shape, seed=7)
        arrays["grad"].reshape(-1)[4321] = special
        want = case.expected(arrays)
        case.call(arrays)
        check(case, arrays, want)
        assert is_nan(arrays["var"]).any()
