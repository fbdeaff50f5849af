# SPDX-License-Identifier: Apache-2.0
"""NaN, infinities, signed zeros, subnormals, and the updates that have no value."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from support.cases import every_case, every_dtype, every_op, in_rows
from support.compare import assert_same, error, is_nan
from support.memory import copies
from support.ops import BY_NAME, DTYPES, SPECIAL, Case, Op
from support.reference import Array


def check(case: Case, arrays: dict[str, Array]) -> None:
    expected = case.expected(arrays)
    case.call(arrays)
    for name in case.op.outputs:
        if case.exact:
            assert_same(arrays[name], expected[name], name)
        else:
            worst = error(arrays[name], expected[name]).max()
            assert worst <= 64, f"{name}: {worst:g} ulp"
            signs = np.signbit(arrays[name]) == np.signbit(expected[name])
            assert (signs | is_nan(expected[name])).all()


@every_case
@every_dtype
def test_special_values(case: Case, tag: str, target: str) -> None:
    check(case, case.grid(DTYPES[tag], SPECIAL))


@every_case
@every_dtype
def test_huge_and_tiny_values(case: Case, tag: str, target: str) -> None:
    """Squares that overflow or underflow, sums that absorb a term."""
    info = np.finfo(np.float16 if tag == "f16" else np.float64 if tag == "f64" else np.float32)
    root = float(info.max) ** 0.5
    tiny = float(info.smallest_normal)
    numbers = (float(DTYPES[tag].type(info.max / 4)), root, 1 / root, tiny, -tiny * 3, 1.5)
    arrays = case.grid(DTYPES[tag], numbers)
    if case.exact:
        check(case, arrays)
    else:
        case.call(arrays)  # of a difference of powers this far apart, only the bits agree
        again = case.grid(DTYPES[tag], numbers)
        case.call(again)
        for name in case.op.outputs:
            assert_same(arrays[name], again[name], name)


@every_op
@every_dtype
def test_finite_input_never_makes_nan(op: Op, tag: str, target: str) -> None:
    """Where TensorFlow writes NaN out of finite numbers, the gradient contributes nothing."""
    zeros = {n: 0.0 for n in op.hyper if n in ("epsilon", "l1", "l2", "l2_shrinkage")}
    for case in op.cases():
        for hyper in ({}, zeros):
            arrays = case.grid(DTYPES[tag], (0.0, -0.0, 1.0, -1.0, 0.1))
            case.call(arrays, **hyper)
            for name in op.outputs:
                assert not is_nan(arrays[name]).any(), (str(case), name)


@dataclass
class Deviation:
    """An update that has no value in TensorFlow: what it does here, to arrays of one element."""

    op: str
    why: str
    arrays: dict[str, float]
    hyper: dict[str, float]
    becomes: dict[str, float]
    attrs: dict[str, bool] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.op}-{self.why}"


_ZERO_V = {"var": 2.0, "m": 0.0, "v": 0.0, "grad": 0.0}
DEVIATIONS = (
    Deviation(
        "ApplyProximalGradientDescent",
        "l2 is -1/alpha, nothing is left of var",
        {"var": 0.0, "delta": 0.0},
        {"alpha": 0.5, "l1": 0.0, "l2": -2.0},
        {"var": 0.0},
    ),
    Deviation(
        "ApplyAdadelta",
        "no gradient ever, epsilon 0",
        {"var": 2.0, "accum": 0.0, "accum_update": 0.0, "grad": 0.0},
        {"epsilon": 0.0},
        {"var": 2.0, "accum": 0.0, "accum_update": 0.0},
    ),
    Deviation(
        "ApplyAdadelta",
        "no gradient now, epsilon 0",
        {"var": 2.0, "accum": 0.0, "accum_update": 1.0, "grad": 0.0},
        {"epsilon": 0.0, "rho": 0.5},
        {"var": 2.0, "accum": 0.0, "accum_update": 0.5},
    ),
    Deviation(
        "ApplyAdadelta",
        "rho 1 forgets the gradient, epsilon 0",
        {"var": 2.0, "accum": 0.0, "accum_update": 0.0, "grad": 1.0},
        {"epsilon": 0.0, "rho": 1.0},
        {"var": 2.0, "accum": 0.0, "accum_update": 0.0},
    ),
    Deviation(
        "ApplyAdagrad",
        "no gradient ever",
        {"var": 2.0, "accum": 0.0, "grad": 0.0},
        {},
        {"var": 2.0, "accum": 0.0},
    ),
    Deviation(
        "ApplyAdagrad",
        "lr 0, accum not updated",
        {"var": 2.0, "accum": 0.0, "grad": 1.0},
        {"lr": 0.0},
        {"var": 2.0, "accum": 0.0},
        {"update_slots": False},
    ),
    Deviation(
        "ApplyAdagradV2",
        "no gradient ever, epsilon 0",
        {"var": 2.0, "accum": 0.0, "grad": 0.0},
        {"epsilon": 0.0},
        {"var": 2.0, "accum": 0.0},
    ),
    Deviation(
        "ApplyKerasAdagrad",
        "no gradient ever, epsilon 0",
        {"var": 2.0, "accum": 0.0, "grad": 0.0},
        {"epsilon": 0.0},
        {"var": 2.0, "accum": 0.0},
    ),
    Deviation(
        "ApplyAdagradDA",
        "no gradient ever, l2 0",
        {
            "var": 2.0,
            "gradient_accumulator": 0.0,
            "gradient_squared_accumulator": 0.0,
            "grad": 0.0,
        },
        {"l1": 0.0, "l2": 0.0},
        {"var": 2.0, "gradient_accumulator": 0.0, "gradient_squared_accumulator": 0.0},
    ),
    Deviation(
        "ApplyAdagradDA",
        "no gradient ever, global_step 0",
        {
            "var": 2.0,
            "gradient_accumulator": 0.0,
            "gradient_squared_accumulator": 0.0,
            "grad": 0.0,
        },
        {"global_step": 0},
        {"var": 2.0, "gradient_accumulator": 0.0, "gradient_squared_accumulator": 0.0},
    ),
    Deviation(
        "ApplyProximalAdagrad",
        "no gradient ever",
        {"var": 2.0, "accum": 0.0, "grad": 0.0},
        {},
        {"var": 2.0, "accum": 0.0},
    ),
    *(
        Deviation(
            op,
            "lr 0",
            {"var": 2.0, "accum": 1.0, "linear": 3.0, "grad": 4.0},
            {"lr": 0.0},
            {"var": 2.0, "accum": 1.0, "linear": 3.0},
        )
        for op in ("ApplyFtrl", "ApplyFtrlV2")
    ),
    *(
        Deviation(
            op,
            "accum 0 and lr_power above 0",
            {"var": 2.0, "accum": 0.0, "linear": 3.0, "grad": 0.0},
            {"lr_power": 0.5, "l1": 0.0, "l2": 0.0, **more},
            {"var": -0.0, "accum": 0.0, "linear": 3.0},  # -3 / inf
        )
        for op, more in (("ApplyFtrl", {}), ("ApplyFtrlV2", {"l2_shrinkage": 0.0}))
    ),
    *(
        Deviation(
            op,
            "l1 below 0 and nothing to divide by",
            {"var": 2.0, "accum": 0.0, "linear": 0.0, "grad": 0.0},
            {"l1": -1.0, "l2": 0.0, **more},
            {"var": 0.0, "accum": 0.0, "linear": 0.0},
        )
        for op, more in (("ApplyFtrl", {}), ("ApplyFtrlV2", {"l2_shrinkage": 0.0}))
    ),
    Deviation(
        "ApplyAdam", "v 0, epsilon 0", _ZERO_V, {"epsilon": 0.0}, {"var": 2.0, "m": 0.0, "v": 0.0}
    ),
    Deviation(
        "ApplyAdam",
        "beta powers 1",
        {"var": 2.0, "m": 0.0, "v": 0.0, "grad": 2.0},
        {"beta1_power": 1.0, "beta2_power": 1.0, "beta1": 0.5, "beta2": 0.5},
        {"var": 2.0, "m": 1.0, "v": 2.0},
    ),
    Deviation(
        "ApplyAdamWithAmsgrad",
        "vhat 0, epsilon 0",
        {**_ZERO_V, "vhat": 0.0},
        {"epsilon": 0.0},
        {"var": 2.0, "m": 0.0, "v": 0.0, "vhat": 0.0},
    ),
    Deviation(
        "ApplyAdamWithAmsgrad",
        "beta powers 1",
        {"var": 2.0, "m": 0.0, "v": 0.0, "vhat": 0.0, "grad": 2.0},
        {"beta1_power": 1.0, "beta2_power": 1.0, "beta1": 0.5, "beta2": 0.5},
        {"var": 2.0, "m": 1.0, "v": 2.0, "vhat": 2.0},
    ),
    Deviation(
        "ApplyAdaMax", "v 0, epsilon 0", _ZERO_V, {"epsilon": 0.0}, {"var": 2.0, "m": 0.0, "v": 0.0}
    ),
    Deviation(
        "ApplyAdaMax",
        "beta power 1, lr 0",
        {"var": 2.0, "m": 0.0, "v": 0.0, "grad": 2.0},
        {"beta1_power": 1.0, "lr": 0.0, "beta1": 0.5},
        {"var": 2.0, "m": 1.0, "v": 2.0},
    ),
    Deviation(
        "ApplyTorchAdaMax",
        "v 0, epsilon 0",
        _ZERO_V,
        {"epsilon": 0.0},
        {"var": 2.0, "m": 0.0, "v": 0.0},
    ),
    Deviation(
        "ApplyTorchRMSProp",
        "ms 0, epsilon 0",
        {"var": 2.0, "ms": 0.0, "mom": 1.0, "grad": 0.0},
        {"epsilon": 0.0, "momentum": 0.5, "lr": 0.5},
        {"var": 1.75, "ms": 0.0, "mom": 0.5},
    ),
    Deviation(
        "ApplyTorchCenteredRMSProp",
        "ms 0, epsilon 0",
        {"var": 2.0, "mg": 0.0, "ms": 0.0, "mom": 1.0, "grad": 0.0},
        {"epsilon": 0.0, "momentum": 0.5, "lr": 0.5},
        {"var": 1.75, "mg": 0.0, "ms": 0.0, "mom": 0.5},
    ),
    Deviation(
        "ApplyTorchCenteredRMSProp",
        "negative variance",
        {"var": 2.0, "mg": 2.0, "ms": 1.0, "mom": 1.0, "grad": 0.0},
        {"momentum": 0.5, "lr": 0.5, "rho": 1.0},
        {"var": 1.75, "mg": 2.0, "ms": 1.0, "mom": 0.5},
    ),
    Deviation(
        "ApplyRMSProp",
        "ms 0, epsilon 0",
        {"var": 2.0, "ms": 0.0, "mom": 1.0, "grad": 0.0},
        {"epsilon": 0.0, "momentum": 0.5},
        {"var": 1.5, "ms": 0.0, "mom": 0.5},
    ),
    Deviation(
        "ApplyCenteredRMSProp",
        "ms 0, epsilon 0",
        {"var": 2.0, "mg": 0.0, "ms": 0.0, "mom": 1.0, "grad": 0.0},
        {"epsilon": 0.0, "momentum": 0.5},
        {"var": 1.5, "mg": 0.0, "ms": 0.0, "mom": 0.5},
    ),
    Deviation(
        "ApplyRMSProp",
        "ms overflowed",
        {"var": 2.0, "ms": np.inf, "mom": 1.0, "grad": 3.0},
        {"momentum": 0.5},
        {"var": 1.5, "ms": np.inf, "mom": 0.5},
    ),
    Deviation(
        "ApplyCenteredRMSProp",
        "ms overflowed",
        {"var": 2.0, "mg": 3.0, "ms": np.inf, "mom": 1.0, "grad": 3.0},
        {"momentum": 0.5},
        {"var": 1.5, "mg": 3.0, "ms": np.inf, "mom": 0.5},
    ),
    Deviation(
        "ApplyCenteredRMSProp",
        "negative variance",
        {"var": 2.0, "mg": 2.0, "ms": 1.0, "mom": 1.0, "grad": 0.0},
        {"epsilon": 0.0, "momentum": 0.5, "rho": 1.0},
        {"var": 1.5, "mg": 2.0, "ms": 1.0, "mom": 0.5},
    ),
)


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=str)
@every_dtype
def test_no_value_is_no_update(deviation: Deviation, tag: str, target: str) -> None:
    dtype = DTYPES[tag]
    case = BY_NAME[deviation.op].default()
    arrays = {name: np.full(19, value, dtype) for name, value in deviation.arrays.items()}
    case.call(arrays, **deviation.hyper, **deviation.attrs)
    for name, value in deviation.becomes.items():
        assert_same(arrays[name], np.full(19, value, dtype), name)


def test_something_by_zero_is_still_infinite() -> None:
    var, accum = np.zeros(3, np.float32), np.zeros(3, np.float32)
    grad = np.array([1, -1, 0], np.float32)
    case = BY_NAME["ApplyAdagrad"].default()
    case.call({"var": var, "accum": accum, "grad": grad}, update_slots=False)
    assert_same(var, np.array([-np.inf, np.inf, 0], np.float32))


@in_rows(tag=["bf16", "f32", "f64"])
def test_signs_of_tiny_gradients_agree_or_differ(tag: str, target: str) -> None:
    """Though their product underflows."""
    tiny = 1e-200 if tag == "f64" else 1e-30
    numbers = {"var": 2.0, "prev": tiny, "step_size": 1.0, "grad": tiny}
    arrays = {name: np.full(19, x, DTYPES[tag]) for name, x in numbers.items()}
    arrays["grad"][7:] *= -1
    hyper = {"etaminus": 0.5, "etaplus": 1.5, "step_size_min": 0.0, "step_size_max": 50.0}
    BY_NAME["ApplyRprop"].default().call(arrays, **hyper)
    steps = np.repeat([1.5, 0.5], [7, 12]).astype(DTYPES[tag])
    assert_same(arrays["step_size"], steps)
    assert_same(arrays["var"], np.repeat([0.5, 2.0], [7, 12]).astype(DTYPES[tag]))


# A subnormal of each dtype, in one type of array and hyperparameter.
SUBNORMAL = {"f16": 6e-8, "bf16": 1e-40, "f32": 1e-40, "f64": 1e-310}


@every_case
@every_dtype
def test_subnormals(case: Case, tag: str, target: str) -> None:
    """Operands and results count as zero; but float16's are normal numbers of float32."""
    numbers = (SUBNORMAL[tag], -SUBNORMAL[tag], 0.0, 1.0)
    check(case, case.grid(DTYPES[tag], numbers))


@every_dtype
def test_gradient_descent_on_subnormals(tag: str, target: str) -> None:
    dtype, tiny = DTYPES[tag], SUBNORMAL[tag]
    case = BY_NAME["ApplyGradientDescent"].default()
    var, delta = np.zeros(19, dtype), np.full(19, tiny, dtype)
    case.call({"var": var, "delta": delta}, alpha=1.0)
    assert_same(var, -delta if tag == "f16" else np.zeros(19, dtype))


@every_op
@in_rows(tag=["f32", "f64"])
def test_subnormal_hyperparameters_count_as_zero(op: Op, tag: str) -> None:
    case = op.default()
    for name in op.hyper:
        if name in ("global_step", "lr_power") or 0.0 in op.out_of_range.get(name, ()):
            continue
        arrays = case.draw(DTYPES[tag], 50, seed=1)
        got = copies(arrays)
        case.call(arrays, **{name: SUBNORMAL[tag]})
        case.call(got, **{name: 0.0})
        for output in op.outputs:
            assert_same(arrays[output], got[output], name)


@pytest.mark.parametrize("size", [10, 300_000])
def test_subnormals_of_the_caller_survive(size: int) -> None:
    """The processor's mode is that of the caller again after a call, and after one that raises."""
    case = BY_NAME["ApplyGradientDescent"].default()
    tiny = np.full(8, 1e-40, np.float32)
    case.call({"var": np.zeros(size, np.float32), "delta": np.ones(size, np.float32)})
    assert (tiny + tiny != 0).all()
    with pytest.raises(ValueError, match="delta"):
        case.call({"var": np.zeros(size, np.float32), "delta": np.ones(3, np.float32)})
    assert (tiny + tiny != 0).all()
    assert 5e-324 * 2 != 0
