# SPDX-License-Identifier: Apache-2.0
"""The table of ops that every test iterates over: one row per op.

A new op is one new row here and one function in reference.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
from support import reference
from support.reference import Array

DTYPES: dict[str, np.dtype[Any]] = {
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f32": np.dtype(np.float32),
    "f64": np.dtype(np.float64),
}
ALL = frozenset(DTYPES)
NO_BF16 = ALL - {"bf16"}
FULL_PRECISION = frozenset({"f32", "f64"})

# How to draw an array. Second moments are positive; CenteredRMSProp's mean is small, because its
# variance must not be negative.
ANY, POSITIVE, SMALL = "any", "positive", "small"

Shape = tuple[int, ...]

# The shapes of slots that are not var's.
LAYOUTS: dict[str, Callable[[Shape], Shape]] = {
    "r": lambda shape: shape[:-1] if len(shape) > 1 else (0,),
    "c": lambda shape: (*shape[:-2], shape[-1]) if len(shape) > 1 else (0,),
    "v": lambda shape: (0,) if len(shape) > 1 else shape,
}

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.1)


@dataclass(frozen=True)
class Op:
    """One op. `arguments` are TensorFlow's, in TensorFlow's order."""

    name: str
    rule: Callable[..., reference.Outputs]
    arguments: str
    hyper: dict[str, float]
    slots: dict[str, str] = field(default_factory=dict)
    gradient: str = "grad"
    attrs: dict[str, bool] = field(default_factory=dict)  # with their defaults
    variants: tuple[dict[str, float], ...] = ({},)  # other hyperparameters worth testing
    tf_dtypes: frozenset[str] = ALL  # those TensorFlow has a CPU kernel for; none: our own op
    layouts: tuple[str, ...] = ()  # the slots that are in LAYOUTS
    elementwise: bool = True  # an element's update depends on that element alone
    measures_first: bool = False  # var before its weights decay
    out_of_range: dict[str, tuple[float, ...]] = field(default_factory=dict)  # what is refused
    tf_approximates: str = ""  # the function of which TensorFlow's result is not correctly rounded

    @property
    def function(self) -> Callable[..., Any]:
        from slotwise import raw_ops  # not above: the table serves TensorFlow alone, too

        return getattr(raw_ops, self.name)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The arrays that the op writes."""
        return ("var", *self.slots)

    @property
    def arrays(self) -> tuple[str, ...]:
        return (*self.outputs, self.gradient)

    def shape_of(self, name: str, shape: Shape) -> Shape:
        """That of an array, next to a var of this shape."""
        return LAYOUTS[name](shape) if name in self.layouts else shape

    def cases(self) -> Iterator[Case]:
        for variant in self.variants:
            for flags in itertools.product((False, True), repeat=len(self.attrs)):
                attrs = dict(zip(self.attrs, flags, strict=True))
                yield Case(self, self.hyper, attrs, {}).but(**variant)

    def may_deviate(self, arrays: Mapping[str, Array], theirs: Mapping[str, Array]) -> Array:
        """Where TensorFlow made NaN, though what a gradient's contribution is made of is finite.

        (To var and mom it is only added; RMSProp's ms may have overflowed.)
        """
        inputs = [x for name, x in arrays.items() if name not in ("var", "mom")]
        finite = np.all([np.isfinite(x) for x in inputs], axis=0)
        if "ms" in arrays:
            finite |= np.isposinf(arrays["ms"]) & np.isfinite(arrays[self.gradient])
        made_nan = np.any([np.isnan(x) for x in theirs.values()], axis=0)
        return np.asarray(finite & made_nan)

    def default(self) -> Case:
        return Case(self, self.hyper, self.attrs, {})


@dataclass(frozen=True)
class Case:
    """An op with its hyperparameters and attrs chosen."""

    op: Op
    hyper: Mapping[str, float]
    attrs: Mapping[str, bool]
    variant: Mapping[str, float]

    def __str__(self) -> str:
        flags = [name for name, on in self.attrs.items() if on]
        return "-".join([self.op.name, *flags, *(f"{k}={v:g}" for k, v in self.variant.items())])

    @cached_property
    def exact(self) -> bool:
        """Whether every bit of the result is known: not with pow, of which the error is bounded."""
        return self.hyper.get("lr_power", -0.5) == -0.5

    def but(self, **hyper: float) -> Case:
        """The same with other hyperparameters."""
        return Case(self.op, {**self.hyper, **hyper}, self.attrs, {**self.variant, **hyper})

    def draw(
        self, dtype: npt.DTypeLike, shape: int | tuple[int, ...], seed: int
    ) -> dict[str, Array]:
        """Random arrays for this op, the gradient included."""
        rng = np.random.default_rng(seed)
        shape = (shape,) if isinstance(shape, int) else shape
        kinds = {"var": ANY, **self.op.slots}
        arrays = {
            name: draw(rng, kind, dtype, self.op.shape_of(name, shape))
            for name, kind in kinds.items()
        }
        edges = rng.choice([0.0, -0.0, 1e-3, -1e-3, 40.0, -40.0], size=shape)
        plain = draw(rng, ANY, dtype, shape)
        gradient = np.where(rng.random(shape) < 0.1, edges.astype(dtype), plain)
        return {**arrays, self.op.gradient: gradient}

    def grid(self, dtype: npt.DTypeLike, numbers: Sequence[float]) -> dict[str, Array]:
        """Every combination of these numbers as var, slots (all the same) and gradient."""
        combinations = np.array([*itertools.product(numbers, repeat=3)])
        var, slot, grad = combinations.astype(dtype).T.copy()
        slots = {
            name: (np.abs(slot) if kind == POSITIVE else slot.copy())[
                : self.op.shape_of(name, slot.shape)[0]
            ]
            for name, kind in self.op.slots.items()
        }
        return {"var": var, **slots, self.op.gradient: grad}

    def expected(
        self, arrays: Mapping[str, Array], compute: npt.DTypeLike | None = None
    ) -> dict[str, Array]:
        op = self.op
        return reference.evaluate(op.rule, arrays, self.hyper, self.attrs, op.outputs, compute)

    def call(self, arrays: Mapping[str, Any], **changed: Any) -> Any:
        """Call the op on `arrays`, by keywords."""
        return self.op.function(**{**arrays, **self.hyper, **self.attrs, **changed})


def draw(
    rng: np.random.Generator, kind: str, dtype: npt.DTypeLike, shape: int | tuple[int, ...]
) -> Array:
    x = rng.standard_normal(shape)
    x = {ANY: x, POSITIVE: np.abs(x) + 0.5, SMALL: x * 0.1}[kind]
    return np.asarray(x).astype(dtype)


# What is out of range, for some only once rounded to float32.
NOT_POSITIVE = (0.0, -0.0, -1.0, -np.inf, 1e-60)
NEGATIVE = (-1.0, -np.inf, -1e-30)
_BEYOND_ONE = {"beta2_power": (1.0000002, 2.0, np.inf)}
_NOT_FINITE = {"lr_power": (np.inf, -np.inf, 1e300)}

_MOMENTUM = {"lr": 0.07, "momentum": 0.8}
_ADAM = {
    "beta1_power": 0.81,
    "beta2_power": 0.9801,
    "lr": 0.07,
    "beta1": 0.9,
    "beta2": 0.99,
    "epsilon": 1e-3,
}
_RMS = {"lr": 0.07, "rho": 0.9, "momentum": 0.8, "epsilon": 1e-3}
_KERAS_RMS = {name: value for name, value in _RMS.items() if name != "momentum"}
_FTRL = {"lr": 0.5, "l1": 0.2, "l2": 0.15, "lr_power": -0.5}
_FTRL_VARIANTS: tuple[dict[str, float], ...] = (
    {},
    {"l1": 0.0},
    {"lr_power": -0.7},
    {"lr_power": -1.0, "l1": 0.0},
)
_L1: tuple[dict[str, float], ...] = ({}, {"l1": 0.0})

OPS = (
    Op(
        "ApplyGradientDescent",
        reference.gradient_descent,
        "var alpha delta",
        {"alpha": 0.3},
        gradient="delta",
    ),
    Op(
        "ApplyProximalGradientDescent",
        reference.proximal_gradient_descent,
        "var alpha l1 l2 delta",
        {"alpha": 0.3, "l1": 0.2, "l2": 0.15},
        gradient="delta",
        variants=_L1,
        tf_dtypes=FULL_PRECISION,
    ),
    Op(
        "ApplyAdadelta",
        reference.adadelta,
        "var accum accum_update lr rho epsilon grad",
        {"lr": 0.07, "rho": 0.9, "epsilon": 1e-3},
        slots={"accum": POSITIVE, "accum_update": POSITIVE},
        tf_approximates="rsqrt",
    ),
    Op(
        "ApplyAdagrad",
        reference.adagrad,
        "var accum lr grad",
        {"lr": 0.07},
        slots={"accum": POSITIVE},
        attrs={"update_slots": True},
        tf_approximates="rsqrt",
    ),
    Op(
        "ApplyAdagradV2",
        reference.adagrad_v2,
        "var accum lr epsilon grad",
        {"lr": 0.07, "epsilon": 1e-3},
        slots={"accum": POSITIVE},
        attrs={"update_slots": True},
    ),
    Op(
        "ApplyKerasAdagrad",
        reference.keras_adagrad,
        "var accum lr epsilon grad",
        {"lr": 0.07, "epsilon": 1e-3},
        slots={"accum": POSITIVE},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyAdagradDA",
        reference.adagrad_da,
        "var gradient_accumulator gradient_squared_accumulator grad lr l1 l2 global_step",
        {"lr": 0.07, "l1": 0.2, "l2": 0.15, "global_step": 3},
        slots={"gradient_accumulator": ANY, "gradient_squared_accumulator": POSITIVE},
        variants=_L1,
        tf_dtypes=FULL_PRECISION,
    ),
    Op(
        "ApplyProximalAdagrad",
        reference.proximal_adagrad,
        "var accum lr l1 l2 grad",
        {"lr": 0.07, "l1": 0.2, "l2": 0.15},
        slots={"accum": POSITIVE},
        variants=_L1,
        tf_dtypes=FULL_PRECISION,
        tf_approximates="rsqrt",
        out_of_range={"lr": NOT_POSITIVE, "l1": NEGATIVE, "l2": NEGATIVE},
    ),
    Op(
        "ApplyFtrl",
        reference.ftrl,
        "var accum linear grad lr l1 l2 lr_power",
        _FTRL,
        slots={"accum": POSITIVE, "linear": ANY},
        attrs={"multiply_linear_by_lr": False},
        variants=_FTRL_VARIANTS,
        out_of_range=_NOT_FINITE,
    ),
    Op(
        "ApplyFtrlV2",
        reference.ftrl,
        "var accum linear grad lr l1 l2 l2_shrinkage lr_power",
        {**_FTRL, "l2_shrinkage": 0.05},
        slots={"accum": POSITIVE, "linear": ANY},
        attrs={"multiply_linear_by_lr": False},
        variants=_FTRL_VARIANTS,
        out_of_range=_NOT_FINITE,
    ),
    Op(
        "ApplyMomentum",
        reference.momentum,
        "var accum lr grad momentum",
        _MOMENTUM,
        slots={"accum": ANY},
        attrs={"use_nesterov": False},
    ),
    Op(
        "ApplyKerasMomentum",
        reference.keras_momentum,
        "var accum lr grad momentum",
        _MOMENTUM,
        slots={"accum": ANY},
        attrs={"use_nesterov": False},
    ),
    Op(
        "ApplyAdam",
        reference.adam,
        "var m v beta1_power beta2_power lr beta1 beta2 epsilon grad",
        _ADAM,
        slots={"m": ANY, "v": POSITIVE},
        attrs={"use_nesterov": False},
        out_of_range=_BEYOND_ONE,
    ),
    Op(
        "ApplyAdamWithAmsgrad",
        reference.adam_with_amsgrad,
        "var m v vhat beta1_power beta2_power lr beta1 beta2 epsilon grad",
        _ADAM,
        slots={"m": ANY, "v": POSITIVE, "vhat": POSITIVE},
        out_of_range=_BEYOND_ONE,
    ),
    Op(
        "ApplyAdaMax",
        reference.ada_max,
        "var m v beta1_power lr beta1 beta2 epsilon grad",
        {name: value for name, value in _ADAM.items() if name != "beta2_power"},
        slots={"m": ANY, "v": POSITIVE},
        tf_dtypes=NO_BF16,
    ),
    Op(
        "ApplyTorchAdaMax",
        reference.torch_ada_max,
        "var m v beta1_power lr beta1 beta2 epsilon grad",
        {name: value for name, value in _ADAM.items() if name != "beta2_power"},
        slots={"m": ANY, "v": POSITIVE},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyRMSProp",
        reference.rms_prop,
        "var ms mom lr rho momentum epsilon grad",
        _RMS,
        slots={"ms": POSITIVE, "mom": ANY},
    ),
    Op(
        "ApplyCenteredRMSProp",
        reference.centered_rms_prop,
        "var mg ms mom lr rho momentum epsilon grad",
        _RMS,
        slots={"mg": SMALL, "ms": POSITIVE, "mom": ANY},
    ),
    Op(
        "ApplyKerasRMSProp",
        reference.keras_rms_prop,
        "var rms lr rho epsilon grad",
        _KERAS_RMS,
        slots={"rms": POSITIVE},
        attrs={"epsilon_in_root": False},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyKerasCenteredRMSProp",
        reference.keras_centered_rms_prop,
        "var rms mg lr rho epsilon grad",
        _KERAS_RMS,
        slots={"rms": POSITIVE, "mg": SMALL},
        attrs={"epsilon_in_root": False},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyTorchRMSProp",
        reference.torch_rms_prop,
        "var ms mom lr rho momentum epsilon grad",
        _RMS,
        slots={"ms": POSITIVE, "mom": ANY},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyTorchCenteredRMSProp",
        reference.torch_centered_rms_prop,
        "var mg ms mom lr rho momentum epsilon grad",
        _RMS,
        slots={"mg": SMALL, "ms": POSITIVE, "mom": ANY},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyAddSign",
        reference.add_sign,
        "var m lr alpha sign_decay beta grad",
        {"lr": 0.07, "alpha": 0.3, "sign_decay": 0.7, "beta": 0.9},
        slots={"m": ANY},
    ),
    Op(
        "ApplyPowerSign",
        reference.power_sign,
        "var m lr logbase sign_decay beta grad",
        {"lr": 0.07, "logbase": 0.6, "sign_decay": 0.7, "beta": 0.9},
        slots={"m": ANY},
        tf_approximates="exp",
    ),
    Op(
        "ApplyRprop",
        reference.rprop,
        "var prev step_size etaminus etaplus step_size_min step_size_max grad",
        {"etaminus": 0.5, "etaplus": 1.2, "step_size_min": 0.7, "step_size_max": 1.6},
        slots={"prev": ANY, "step_size": POSITIVE},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyNadam",
        reference.nadam,
        "var m v beta2_power lr beta1 beta2 epsilon momentum momentum_next momentum_product grad",
        {
            **{name: value for name, value in _ADAM.items() if name != "beta1_power"},
            "momentum": 0.8,
            "momentum_next": 0.85,
            "momentum_product": 0.5,
        },
        slots={"m": ANY, "v": POSITIVE},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyLion",
        reference.lion,
        "var m lr beta1 beta2 grad",
        {"lr": 0.07, "beta1": 0.9, "beta2": 0.99},
        slots={"m": ANY},
        tf_dtypes=frozenset(),
    ),
    Op(
        "ApplyAdaBelief",
        reference.ada_belief,
        "var m s beta1_power beta2_power lr beta1 beta2 epsilon grad",
        _ADAM,
        slots={"m": ANY, "s": POSITIVE},
        tf_dtypes=frozenset(),
        out_of_range=_BEYOND_ONE,
    ),
    Op(
        "ApplyRAdam",
        reference.r_adam,
        "var m v beta1_power beta2_power lr beta1 beta2 epsilon sma sma_threshold grad",
        {**_ADAM, "sma": 7.5, "sma_threshold": 5.0},
        slots={"m": ANY, "v": POSITIVE},
        variants=({}, {"sma": 4.5}, {"sma": 3.5, "sma_threshold": 3.0}, {"beta2": 0.6}),
        tf_dtypes=frozenset(),
        out_of_range={**_BEYOND_ONE, "sma_threshold": NOT_POSITIVE},
    ),
    Op(
        "ApplyLamb",
        reference.lamb,
        "var m v beta1_power beta2_power lr beta1 beta2 epsilon weight_decay grad",
        {**_ADAM, "weight_decay": 0.05},
        slots={"m": ANY, "v": POSITIVE},
        tf_dtypes=frozenset(),
        elementwise=False,
        out_of_range=_BEYOND_ONE,
    ),
    Op(
        "ApplyAdafactor",
        reference.adafactor,
        "var r c v lr beta2 epsilon_1 epsilon_2 clip_threshold grad",
        {"lr": 0.07, "beta2": 0.9, "epsilon_1": 1e-3, "epsilon_2": 1e-2, "clip_threshold": 0.7},
        slots={"r": POSITIVE, "c": POSITIVE, "v": POSITIVE},
        layouts=("r", "c"),
        tf_dtypes=frozenset(),
        elementwise=False,
    ),
    Op(
        "ApplyTorchAdafactor",
        reference.torch_adafactor,
        "var r c v lr one_minus_beta2 epsilon_1 epsilon_2 clip_threshold grad",
        {
            **{"lr": 0.07, "one_minus_beta2": 0.1, "epsilon_1": 1e-3, "epsilon_2": 1e-2},
            "clip_threshold": 0.7,
        },
        slots={"r": POSITIVE, "c": POSITIVE, "v": POSITIVE},
        layouts=("r", "c", "v"),
        tf_dtypes=frozenset(),
        elementwise=False,
        measures_first=True,
    ),
)

CASES = tuple(case for op in OPS for case in op.cases())
BY_NAME = {op.name: op for op in OPS}
