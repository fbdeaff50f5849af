# SPDX-License-Identifier: Apache-2.0
"""Random cases through the real TensorFlow and through slotwise, live: `make parity`.

PARITY_SEED and PARITY_CASES (per op and dtype) in the environment explore further.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from support import tensorflow_ops
from support.compare import assert_same, error
from support.ops import DTYPES, OPS, SPECIAL, Case, Op
from support.reference import Array, ftrl_terms

SEED = int(os.environ.get("PARITY_SEED", "0"))
CASES_EACH = int(os.environ.get("PARITY_CASES", "200"))

# Sizes with and without a remainder beside TensorFlow's vectors of eight, and ours.
SHAPES = ((), (1,), (2,), (7,), (8,), (9,), (16,), (31,), (33,), (64,), (3, 5), (2, 3, 4), (501,))

CHOICES: dict[str, tuple[float, ...]] = {
    "lr": (0.001, 0.01, 0.1, 0.5, 1.0, 3.0),
    "alpha": (0.001, 0.01, 0.1, 0.5, 1.0),
    "l1": (0.0, 0.0, 0.001, 0.1, 1.0),
    "l2": (0.0, 0.001, 0.1, 1.0),
    "l2_shrinkage": (0.0, 0.001, 0.1),
    "rho": (0.0, 0.5, 0.9, 0.95, 0.99, 1.0),
    "momentum": (0.0, 0.5, 0.9, 0.99),
    "epsilon": (1e-7, 1e-5, 1e-3, 1.0),
    "beta": (0.0, 0.5, 0.9, 0.99),
    "beta1": (0.0, 0.5, 0.9, 0.99),
    "beta2": (0.0, 0.9, 0.99, 0.999),
    "beta1_power": (0.9, 0.81, 0.5, 1e-3, 0.0),
    "beta2_power": (0.999, 0.99, 0.9, 0.5, 0.0),
    "sign_decay": (0.0, 0.1, 0.9, 1.0),
    "logbase": (0.5, 1.0, 2.0),
    "global_step": (1, 2, 10, 1000, 10**6),
}
POWERS = (-0.1, -0.4, -0.6, -0.75, -1.0, -1.5, -2.0)

COMPARED = [
    pytest.param(op, tag, id=f"{op.name}-{tag}")
    for op in OPS
    for tag in DTYPES
    if tag in op.tf_dtypes
]


def random_cases(op: Op, seed: int, pow_too: bool) -> Iterator[tuple[Case, np.random.Generator]]:
    """The op with random hyperparameters and attrs, and where to draw the rest from."""
    rng = np.random.default_rng([SEED, seed, OPS.index(op)])
    for _ in range(CASES_EACH):
        hyper: dict[str, float] = {}
        for name in op.hyper:
            if name == "lr_power":
                hyper[name] = rng.choice(POWERS) if pow_too and rng.random() < 0.7 else -0.5
            elif name == "global_step" or rng.random() < 0.5:
                hyper[name] = rng.choice(CHOICES[name])
            elif name in ("lr", "alpha", "epsilon", "l1", "l2", "l2_shrinkage", "logbase"):
                hyper[name] = 10 ** rng.uniform(-4, 0)
            else:
                hyper[name] = rng.uniform(0, 1)
        hyper = {n: int(v) if n == "global_step" else float(v) for n, v in hyper.items()}
        attrs = {name: bool(rng.integers(2)) for name in op.attrs}
        yield Case(op, hyper, attrs, {}), rng


def random_arrays(case: Case, tag: str, rng: np.random.Generator) -> dict[str, Array]:
    shape = SHAPES[rng.integers(len(SHAPES))]
    arrays = case.draw(DTYPES[tag], shape, int(rng.integers(2**32)))
    arrays[case.op.gradient] *= DTYPES[tag].type(2.0 ** rng.integers(-8, 3))  # often small
    return arrays


def sprinkle(case: Case, arrays: dict[str, Array], rng: np.random.Generator) -> None:
    """Special values, huge, tiny and subnormal ones, in a tenth of the places."""
    info = np.finfo(arrays["var"].dtype)
    edges = (float(info.max), float(info.tiny), float(info.tiny) / 8, 1e15, 1e-15, 1e-25)
    for name, x in arrays.items():
        values = rng.choice([*SPECIAL, *edges, *(-e for e in edges)], size=x.shape)
        if name in case.op.slots and case.op.slots[name] == "positive":
            values = np.abs(values)
        x[...] = np.where(rng.random(x.shape) < 0.1, values.astype(x.dtype), x)


@pytest.mark.parametrize(
    ("op", "tag"),
    [p for p in COMPARED if p.values[1] in ("f32", "f64") and not p.values[0].tf_approximates],
)
def test_bits(op: Op, tag: str) -> None:
    """0 ulp apart, special values included, for the ops that use neither rsqrt, pow nor exp.

    Where TensorFlow makes NaN of finite numbers, it is the reference that counts.
    """
    ran = 0
    for case, rng in random_cases(op, seed=1, pow_too=False):
        arrays = random_arrays(case, tag, rng)
        if rng.random() < 0.5:
            sprinkle(case, arrays, rng)
        theirs = tensorflow_ops.run(case, arrays)
        reference = case.expected(arrays)
        deviates = op.may_deviate(arrays, theirs)
        case.call(arrays)
        for name in op.outputs:
            expected = np.where(deviates, reference[name], theirs[name])
            assert_same(arrays[name], expected, f"{name} of {case.hyper} {case.attrs}")
        ran += 1
    assert ran == CASES_EACH


def representable(hyper: Mapping[str, float], dtype: np.dtype[Any]) -> dict[str, float]:
    """Hyperparameters that are numbers of the dtype, and averages that remember.

    Less than 1/2 of an average kept, and v + (g*g - v)*(1-beta2) or ms - mg*mg cancel: then it is
    luck whose rounding error, multiplied a thousandfold, is the smaller one.
    """
    numbers = {name: float(dtype.type(x)) for name, x in hyper.items() if name != "global_step"}
    return {
        name: max(x, 0.5) if name in ("rho", "beta1", "beta2", "beta") else x
        for name, x in numbers.items()
    }


@pytest.mark.parametrize(("op", "tag"), COMPARED)
def test_error_is_at_most_that_of_tensorflow(op: Op, tag: str) -> None:
    """Against a run in a wider type, ours is off by at most 2 ulp more than TensorFlow's.

    The type is float64 (for float64: extended precision); an ulp is that of the larger of old and
    new value. That holds for every element, but where both sides approximate (rsqrt, exp, pow in
    float32 and float64): there one or the other is lucky, and it is the worst of all elements that
    count.
    All sides are given the same hyperparameters: numbers of the op's dtype.
    """
    dtype = DTYPES[tag]
    wide = np.longdouble if tag == "f64" else np.float64
    worst = {name: [0.0, 0.0] for name in op.outputs}  # of ours, of theirs
    ran = 0
    for drawn, rng in random_cases(op, seed=2, pow_too=True):
        case = drawn.but(**representable(drawn.hyper, dtype))
        arrays = random_arrays(case, tag, rng)
        before = {name: x.copy() for name, x in arrays.items()}
        exact = case.expected(arrays, compute=wide)
        theirs = tensorflow_ops.run(case, arrays)
        case.call(arrays)
        approximate = tag in ("f32", "f64") and (op.tf_approximates or not case.exact)
        terms = {} if case.exact else ftrl_terms(before, exact, case.hyper, case.attrs)
        for name in op.outputs:
            scales = (before[name], terms.get(name, before[name]))
            our_error, their_error = (
                error(x[name], exact[name], *scales) for x in (arrays, theirs)
            )
            if approximate:
                worst[name][0] = max(worst[name][0], our_error.max())
                worst[name][1] = max(worst[name][1], their_error.max())
            else:
                worse = our_error > their_error
                excess = np.max(our_error[worse] - their_error[worse], initial=0)
                assert excess <= 2, f"{name}: {excess:g} ulp more, of {case.hyper} {case.attrs}"
        ran += 1
    assert ran == CASES_EACH
    for name, (of_ours, of_theirs) in worst.items():
        assert of_ours <= of_theirs + 2, name
