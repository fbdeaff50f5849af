# SPDX-License-Identifier: Apache-2.0
"""Gradient tapes: every gradient is right, or there is an error."""

from __future__ import annotations

import gc
import math
import operator
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import autograd
import autograd.numpy as anp
import ml_dtypes
import numpy as np
import pytest
import slotwise
from autograd.extend import defvjp, primitive
from hypothesis import given, settings
from hypothesis import strategies as st
from slotwise import GradientTape, IndexedSlices, Variable, stop_gradient
from slotwise.optimizers import SGD, Adam, LossScaleOptimizer, legacy

Array = np.ndarray[Any, Any]
LOST = "GradientTape"  # what every error begins with that keeps a gradient from being lost


def weighted(value: Any) -> Any:
    """A loss that depends on each element in its own way."""
    shape = np.shape(stop_gradient(value))
    return anp.sum(value * np.cos(1.0 + np.arange(math.prod(shape))).reshape(shape))


def by_tape(function: Callable[..., Any], arrays: list[Array]) -> tuple[float, list[Array]]:
    variables = [Variable(x.copy()) for x in arrays]
    with GradientTape() as tape:
        loss = weighted(function(*variables))
    return float(loss), [
        np.zeros(v.shape) if g is None else g
        for v, g in zip(variables, tape.gradient(loss, variables), strict=True)
    ]


def by_boxes(function: Callable[..., Any], arrays: list[Array]) -> list[Array]:
    """The gradients of autograd alone, all of whose arguments are boxes."""
    places = tuple(range(len(arrays)))
    return list(autograd.grad(lambda *x: weighted(function(*x)), places)(*arrays))


def by_differences(
    function: Callable[..., Any], arrays: list[Array], size: float = 1e-6
) -> list[Array]:
    gradients = []
    for i, x in enumerate(arrays):
        gradient = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            ends = []
            for step in (size, -size):
                moved = [a.copy() for a in arrays]
                moved[i][place] += step
                ends.append(float(weighted(function(*moved))))
            gradient[place] = (ends[0] - ends[1]) / (2 * size)
        gradients.append(gradient)
    return gradients


def values(*shapes: tuple[int, ...], seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(0.4, 1.6, shape)) for shape in shapes]


# ----- random expressions -------------------------------------------------------------------------

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": lambda a, b: abs(a) ** (b * 0.25),
    "%": operator.mod,
    "@": operator.matmul,
    "+=": lambda a, b: operator.iadd(a * 1.0, b),
    "<": lambda a, b: a * (a < b),
    "sum": lambda a, b: sum([a, b]),
    "maximum": lambda a, b: anp.maximum(a, b),
    "minimum": lambda a, b: anp.minimum(a, b),
    # of one shape: autograd alone is wrong where it has to broadcast (below)
    "where": lambda a, b: anp.where(a > b, a + 0.0 * b, b + 0.0 * a),
    "logaddexp": lambda a, b: anp.logaddexp(a, b),
    "hypot": lambda a, b: anp.hypot(a, b),
    "arctan2": lambda a, b: anp.arctan2(a, b),
    "dot": lambda a, b: anp.dot(a, b),
    "inner": lambda a, b: anp.inner(a, b),
    "tensordot": lambda a, b: anp.tensordot(a, b, 1),
    "outer": lambda a, b: anp.outer(anp.ravel(a), anp.ravel(b))[:3, :3],
    "einsum": lambda a, b: anp.einsum("i...,i...->i...", a, b),
    "concatenate": lambda a, b: anp.concatenate([anp.ravel(a), anp.ravel(b)])[-3:],
    "stack": lambda a, b: anp.stack([anp.sum(a), anp.mean(b), anp.sum(b)]),
    "array": lambda a, b: anp.array([anp.sum(a), anp.sum(b), 1.0]),
    "append": lambda a, b: anp.append(anp.ravel(a), anp.ravel(b))[:3],
    "vstack": lambda a, b: anp.vstack([anp.ravel(a)[:3], anp.ravel(b)[:3]])[0],
    "[]": lambda a, b: a[anp.argsort(anp.ravel(b))[:1]],
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "-": operator.neg,
    "abs": abs,
    "exp": lambda a: anp.exp(-abs(a)),
    "tanh": lambda a: anp.tanh(a),
    "log": lambda a: anp.log(1.0 + a * a),
    "sqrt": lambda a: anp.sqrt(1.0 + a * a),
    "square": lambda a: anp.square(a),
    "sum": lambda a: a.sum(),
    "mean": lambda a: anp.mean(a, axis=0),
    "max": lambda a: anp.max(a, axis=0),
    "std": lambda a: anp.std(anp.ravel(a)),
    "T": lambda a: a.T,
    "reshape": lambda a: a.reshape(-1),
    "cumsum": lambda a: anp.cumsum(anp.ravel(a)),
    "clip": lambda a: anp.clip(a, -0.9, 1.1),
    "[]": lambda a: a[..., 0],
    "[::-1]": lambda a: a[::-1],
    "iter": lambda a: sum(a),
    "rscalar": lambda a: np.float64(2.0) - a,
    "rarray": lambda a: np.array([0.5, 1.0, 1.5]) * a,
    "norm": lambda a: anp.linalg.norm(anp.ravel(a)),
}
SHAPES: list[tuple[int, ...]] = [(3,), (3, 3), (), (3,), (1, 3)]


def expressions() -> st.SearchStrategy[Any]:
    leaves = st.one_of(
        st.integers(0, len(SHAPES) - 1), st.sampled_from([0.5, np.array([1.0, 0.2, 0.7])])
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(sorted(UNARY)), inner),
            st.tuples(st.sampled_from(sorted(BINARY)), inner, inner),
        ),
        max_leaves=8,
    )


def evaluate(tree: Any, leaves: tuple[Any, ...]) -> Any:
    """An expression of the leaves; an operation that does not fit the shapes is left out."""
    if isinstance(tree, int):
        return leaves[tree]
    if not isinstance(tree, tuple):
        return tree
    name, *operands = tree
    args = [evaluate(operand, leaves) for operand in operands]
    function = (UNARY if len(args) == 1 else BINARY)[name]
    numbers = [np.array(x.value if isinstance(x, Variable) else stop_gradient(x)) for x in args]
    try:
        with np.errstate(all="ignore"):
            plain = np.asarray(function(*numbers))
    except (ValueError, TypeError, IndexError, AttributeError):
        return args[0]
    if plain.dtype != np.float64 or plain.ndim > 2 or not (abs(plain) < 30).all():
        return args[0]
    return function(*args)


# What autograd and NumPy raise where they cannot differentiate.
REFUSALS = (NotImplementedError, AssertionError, TypeError, ValueError, AttributeError, IndexError)


@settings(max_examples=300, deadline=None)
@given(tree=expressions(), seed=st.integers(0, 5))
def test_random_expressions(tree: Any, seed: int) -> None:
    """As autograd's boxes have it, to the last digits; and as differences have it."""
    arrays = values(*SHAPES, seed=seed)

    def function(*leaves: Any) -> Any:
        return evaluate(tree, leaves) + 0.0 * leaves[2]  # depends on one at least

    with np.errstate(all="ignore"):
        try:
            want = by_boxes(function, arrays)
        except REFUSALS:
            want = None
        try:
            value, got = by_tape(function, arrays)
        except REFUSALS:
            assert want is None
            return
        assert value == float(weighted(function(*arrays)))
        for a, b in zip(got, want or got, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        if not all(np.isfinite(x).all() for x in got):
            return
        tolerance = 1e-5 * (1 + abs(value))
        for ours, *differences in zip(
            got,
            by_differences(function, arrays),
            by_differences(function, arrays, 3e-6),
            strict=True,
        ):
            is_smooth = np.isclose(*differences, rtol=1e-3, atol=tolerance)
            a, b = (np.where(is_smooth, x, 0.0) for x in (ours, differences[0]))
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=tolerance)


# ----- operators and functions, one by one --------------------------------------------------------

OPERATORS = ["add", "sub", "mul", "truediv", "pow", "mod", "matmul"]
COMPARISONS = ["lt", "le", "gt", "ge", "eq", "ne"]
OPERANDS: dict[str, Callable[[Any], Any]] = {
    "recorded": lambda v: v * 1.25,
    "variable": lambda v: v,
    "array": lambda v: np.array([1.5, 0.5, 0.75]),
    "scalar": lambda v: np.float32(1.5),
    "number": lambda v: 1.5,
}


@pytest.mark.parametrize("right", OPERANDS)
@pytest.mark.parametrize("left", OPERANDS)
@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str, left: str, right: str) -> None:
    """Whatever stands on which side."""
    if name == "matmul" and {left, right} & {"scalar", "number"}:
        return

    def function(v: Any, w: Any) -> Any:
        both = getattr(operator, name)(OPERANDS[left](v), OPERANDS[right](w))
        return both + 0.0 * (anp.sum(v) + anp.sum(w))

    arrays = values((3,), (3,))
    _, got = by_tape(function, arrays)
    for a, b, c in zip(
        got, by_boxes(function, arrays), by_differences(function, arrays), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("right", OPERANDS)
@pytest.mark.parametrize("left", OPERANDS)
@pytest.mark.parametrize("name", [*COMPARISONS, "floordiv"])
def test_steps_are_constants(name: str, left: str, right: str) -> None:
    if name == "floordiv" and "variable" not in (left, right):
        return  # autograd has none
    v, w = (Variable(x) for x in values((3,), (3,)))
    function = getattr(operator, name)
    want = function(*(OPERANDS[side](x.value) for side, x in ((left, v), (right, w))))
    with GradientTape():
        got = function(OPERANDS[left](v), OPERANDS[right](w))
    assert np.array_equal(got, want)


@pytest.mark.parametrize(
    "function",
    [
        lambda v, w: 5 * v * v,
        lambda v, w: (v * 1.0) * v * v,
        lambda v, w: ((np.ones((2, 3)) @ v + w[:2]) ** 2).sum(),
        lambda v, w: sum([v, w]),
        lambda v, w: anp.stack([v, w]),
        lambda v, w: np.stack([v * 1.0, w], axis=1),
        lambda v, w: anp.concatenate([v, w]),
        lambda v, w: np.concatenate((v, w * 2.0)),
        lambda v, w: np.vstack([v, w]),
        lambda v, w: anp.hstack([v, w]),
        lambda v, w: anp.column_stack([v, w]),
        lambda v, w: anp.array([v, w]),
        lambda v, w: np.append(v, w),
        lambda v, w: anp.maximum(v * 1.0, w),
        lambda v, w: np.maximum(v * 1.0, w),
        lambda v, w: np.where(v > 1.0, v * 2.0, w),
        lambda v, w: anp.where(np.array([True, False, True]), anp.sin(v[0]), w),
        lambda v, w: anp.where(np.array([[True], [False]]), v, anp.linalg.norm(w)),
        lambda v, w: np.select([v.value > 1.0], [v * 2.0], w[0]),
        lambda v, w: anp.dot(v * 1.0, w),
        lambda v, w: np.dot(v * 1.0, w),
        lambda v, w: v.dot(w),
        lambda v, w: v.dot(w * 1.0),
        lambda v, w: v.clip(0.5, 1.2) * w,
        lambda v, w: v.cumsum() + w.swapaxes(0, 0),
        lambda v, w: anp.einsum("i,j->ij", v * 1.0, w),
        lambda v, w: np.einsum("i,i", v, w),
        lambda v, w: anp.outer(v, w),
        lambda v, w: anp.tensordot(v * 1.0, w, 1),
        lambda v, w: anp.linalg.norm(v) + np.linalg.norm(w),
        lambda v, w: anp.linalg.solve(np.eye(3) + anp.outer(v, v), w),
        lambda v, w: np.linalg.solve(np.eye(3) + np.outer(v, v), w),
        lambda v, w: anp.real(anp.fft.fft(v * 1.0) * w),
        lambda v, w: anp.real(np.fft.fft(v)) * w,
        lambda v, w: (v * 2.0)[Variable(np.array([2, 2, 0]))] * w,
        lambda v, w: v[1:] * w[Variable(np.array([True, False, True]))],
        lambda v, w: (v * 1.0)[w > 1.0].sum(),
        lambda v, w: np.float64(2.0) * v + np.float32(3.0) ** w,
        lambda v, w: np.arange(6.0).reshape(2, 3) @ v + w.T[:2],
        lambda v, w: np.full((2, 3), 2.0) * v * w,
        lambda v, w: anp.full((2,), w[0]) * v[0],
        lambda v, w: abs(-v) ** w,
        lambda v, w: anp.power(v, w),
        lambda v, w: v.astype(np.float64).reshape((3, 1)) * w,
        lambda v, w: anp.tile(v, 2) * anp.tile(w, 2),
        lambda v, w: anp.kron(v, w),
        lambda v, w: anp.sort(v) * w,
        lambda v, w: v.read_value() * w.read(),
        lambda v, w: anp.concatenate([v * w, np.zeros(0)]) + np.zeros((0, 3)).sum() * v,
    ],
)
def test_expressions(function: Callable[..., Any]) -> None:
    arrays = values((3,), (3,))
    _, got = by_tape(function, arrays)
    expected = by_differences(lambda *x: function(*map(Plain, x)), arrays)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def Plain(x: Array) -> Any:
    """A variable outside of a tape: the same expression, of arrays."""
    return Variable(np.asarray(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda v, w: np.asarray(v),
        lambda v, w: np.array(v, np.float32),
        lambda v, w: np.array([v, w]),
        lambda v, w: np.float64(v[0]),
        lambda v, w: np.ones(3).dot(v),
        lambda v, w: np.ones(3).__iadd__(v),
        lambda v, w: np.zeros(3).__setitem__(..., v),
        lambda v, w: np.zeros(3).__setitem__(0, (v * 1.0)[0]),
        lambda v, w: math.exp(v[0]),
        lambda v, w: float(v[0]),
        lambda v, w: float(Variable(1.0)),
        lambda v, w: operator.iadd(v, 1.0),
        lambda v, w: operator.imul(Variable(np.ones(3), trainable=False), v),
        lambda v, w: np.multiply(v, w, out=np.zeros(3)),
        lambda v, w: np.multiply(v, w, np.zeros(3)),
        lambda v, w: np.multiply(1.0, 2.0, out=v),
        lambda v, w: np.sum(v, out=np.zeros(())),
        lambda v, w: np.add.at(v, [0], 1.0),
        lambda v, w: np.add.outer(v, w),
        lambda v, w: np.add.reduce(v),
        lambda v, w: np.multiply.accumulate(v),
        lambda v, w: np.sum(a=v),
        lambda v, w: np.clip(v, a_min=w, a_max=2.0),
        lambda v, w: anp.clip(v * 1.0, a_min=w, a_max=2.0),
        lambda v, w: anp.clip(v * 1.0, w, 2.0),
        lambda v, w: np.average(np.ones(3), weights=v),
        lambda v, w: anp.average(v * 1.0, weights=w),
        lambda v, w: np.sum(v * 1.0, where=np.array([True, False, True])),
        lambda v, w: anp.sum(v, where=np.array([True, False, True])),
        lambda v, w: anp.max(v, initial=9.0),
        lambda v, w: anp.prod(v, initial=2.0),
        lambda v, w: anp.sum(v * 1.0, initial=w[0]),
        lambda v, w: anp.sum(np.ones(3), initial=w),
        lambda v, w: anp.full_like(np.ones(3), v),
        lambda v, w: anp.full_like(v, w),
        lambda v, w: np.block([v, w]),
        lambda v, w: anp.block([v, w]),
        lambda v, w: np.dstack([v, w]),
        lambda v, w: anp.sum([v, w]),
        lambda v, w: anp.r_[v, w],
        lambda v, w: np.linalg.multi_dot([np.eye(3), np.eye(3), v]),
        lambda v, w: np.linalg.diagonal(Variable(np.eye(3))),
        lambda v, w: np.linalg.trace(Variable(np.eye(3))),
        lambda v, w: np.emath.sqrt(v),
        lambda v, w: np.interp(v, w.value, w.value),
        lambda v, w: np.interp(0.5, np.arange(3.0), w),
        lambda v, w: np.copysign(v, w),
        lambda v, w: divmod(v, w),
        lambda v, w: anp.tile(anp.outer(v, w)[:2], 2),
        lambda v, w: anp.kron(anp.ones((2, 2, 2)), v),
        lambda v, w: np.polyfit(np.arange(3.0), v, 1),
        lambda v, w: slotwise.gather_pooled(v, np.array([0]), [0]),
        lambda v, w: slotwise.gather(v, np.array([0]), np.zeros(1)),
        lambda v, w: slotwise.gather(v * 1.0, np.array([0]), np.zeros(1)),
    ],
)
def test_what_loses_a_gradient_is_refused(function: Callable[..., Any]) -> None:
    v, w = (Variable(x) for x in values((3,), (3,)))
    before = v.numpy(), w.numpy()
    with GradientTape(), pytest.raises((TypeError, ValueError, NotImplementedError)):
        function(v, w)
    assert np.array_equal(before, (v.value, w.value))


def test_errors_say_what_to_do_instead() -> None:
    v = Variable(np.ones(2), name="w")
    with GradientTape():
        for function, words in (
            (lambda: np.asarray(v), "GradientTape: 'w': .*slotwise.stop_gradient"),
            (lambda: float(v[0]), r"GradientTape: result of __getitem__: .*float\(\)"),
            (lambda: operator.iadd(v, 1), r"numpy.add: expected no operation in place"),
            (lambda: np.sum(a=v), "numpy.sum: expected .* by position"),
            (lambda: np.add.outer(v, v), "expected a function that autograd .*, got add.outer"),
            (lambda: np.zeros(2) + anp.clip(v * 1, a_min=v, a_max=2), "clip: .* by position"),
        ):
            with pytest.raises(TypeError, match=words):
                function()


def test_what_leaves_a_gradient_out_knowingly() -> None:
    v = Variable(np.array([2.0, 3.0]))
    with GradientTape(persistent=True) as tape:
        losses = [
            v * stop_gradient(v),
            v * v.value,
            v * v.numpy(),
            v * stop_gradient(v * 2.0) / 2.0,
            v * float(stop_gradient(v[0] * 1.0)),
        ]
    for loss in losses[:4]:
        assert tape.gradient(loss, v).tolist() == [2.0, 3.0]
    assert tape.gradient(losses[4], v).tolist() == [2.0, 2.0]
    rows = stop_gradient(IndexedSlices(v, np.array([0, 1]), (2,)))
    assert rows.values.tolist() == [2.0, 3.0]
    assert stop_gradient("anything") == "anything"


def test_a_primitive_of_ones_own() -> None:
    @primitive
    def cubes(x: Any, y: Any, scale: Any = 1.0) -> Any:
        return scale * (x**3 + y**3)

    defvjp(
        cubes,
        lambda ans, x, y, scale=1.0: lambda g: g * scale * 3 * x**2,
        lambda ans, x, y, scale=1.0: lambda g: g * scale * 3 * y**2,
    )
    v, w = Variable(np.array([2.0])), Variable(np.array([3.0]), name="w")
    with GradientTape() as tape:
        loss = cubes(v * 1.0, w) + cubes(v, 1.0)
    assert [g.tolist() for g in tape.gradient(loss, [v, w])] == [[24.0], [27.0]]
    with GradientTape(), pytest.raises(TypeError, match=r"cubes: .*variable 'w'"):
        cubes(v, 1.0, scale=w)

    @primitive
    def listed(x: Any, others: Any) -> Any:
        return x * others[0]

    defvjp(listed, lambda ans, x, others: lambda g: g * others[0], None)
    with GradientTape(), pytest.raises(TypeError, match=LOST):
        listed(v, [w])


def test_scipy_functions() -> None:
    import scipy.special
    from autograd.scipy import special

    function: Any
    for function in (
        lambda v, w: special.logsumexp(anp.stack([v * 1.0, w]), axis=0),
        lambda v, w: special.betaln(v * 1.0, w),
        lambda v, w: scipy.special.gammaln(v) * special.expit(w),
        lambda v, w: special.jn(1, v) * w,
    ):
        arrays = values((3,), (3,))
        for a, b in zip(
            by_tape(function, arrays)[1], by_differences(function, arrays), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    v = Variable(np.array([1.5]))
    for function in (
        lambda: special.jn(v, 1.0),
        lambda: special.logsumexp(np.ones(1), b=v),
        lambda: scipy.special.zeta(v, 2.0),
    ):
        with GradientTape(), pytest.raises(TypeError):
            function()


# ----- tapes in tapes, and autograd's own ---------------------------------------------------------


def test_second_derivatives() -> None:
    v = Variable(np.array([1.0, 2.0]))
    with GradientTape() as outer:
        with GradientTape() as inner:
            value = anp.sum(v**3 + v * v[0])
        first = inner.gradient(value, v)
        loss = anp.sum(first * v)
    np.testing.assert_allclose(stop_gradient(first), [3 + 2 + 2, 12 + 1])
    # d/dv of v0 * (3 v0^2 + 2 v0 + v1) + v1 * (3 v1^2 + v0)
    np.testing.assert_allclose(outer.gradient(loss, v), [9 + 4 + 2 + 2, 1 + 36 + 1])


def test_two_tapes_of_one_forward_pass() -> None:
    """This is the case of a generator and a discriminator."""
    a, b = Variable(np.array([2.0]), name="a"), Variable(np.array([3.0]), name="b")
    with GradientTape() as first, GradientTape() as second:
        common = a * b
        loss_a, loss_b = anp.sum(common * a), anp.sum(common * b)
    got = first.gradient(loss_a, [a]), second.gradient(loss_b, [b])
    assert [g.tolist() for (g,) in got] == [[12.0], [12.0]]
    assert all(type(g) is np.ndarray for (g,) in got)
    assert (float(loss_a), float(loss_b)) == (12.0, 18.0)


def test_a_penalty_on_gradients() -> None:
    v = Variable(np.array([1.0, 2.0]))
    with GradientTape() as outer:
        with GradientTape() as inner:
            value = v**3
        slope = inner.gradient(value, v)
        loss = anp.sum(value * v + slope**2)  # the value goes on after its tape has ended
    np.testing.assert_allclose(outer.gradient(loss, v), 4 * v.value**3 + 36 * v.value**3)


def test_only_the_outer_tape_watches() -> None:
    v = Variable(np.array([3.0]))
    with GradientTape() as outer, GradientTape(watch_accessed_variables=False) as inner:
        loss = v * v
    assert inner.gradient(loss, v) is None
    assert outer.gradient(loss, v).tolist() == [6.0]


def test_rows_under_two_tapes() -> None:
    table = Variable(np.arange(1.0, 7.0).reshape(3, 2))
    with GradientTape() as outer:
        with GradientTape() as inner:
            value = anp.sum(slotwise.gather(table, np.array([2, 0, 2])) ** 3)
        rows = inner.gradient(value, table)
        assert isinstance(rows, IndexedSlices)
        loss = anp.sum(rows.values * 1.0)
    got = outer.gradient(loss, table)
    assert isinstance(got, IndexedSlices)
    np.testing.assert_allclose(got.values, 6 * table.value[[2, 0, 2]])
    with GradientTape() as outer:
        with GradientTape() as inner:
            value = anp.sum(slotwise.gather(table * table, np.array([2, 0, 2])) * table[0])
        loss = anp.sum(inner.gradient(value, table) ** 2)
    assert np.isfinite(outer.gradient(loss, table)).all()


def test_autograd_inside_of_a_tape_and_around_it() -> None:
    v = Variable(np.array([2.0]))
    with GradientTape() as tape:
        inner = autograd.elementwise_grad(lambda x: x**2 * v)(np.array([3.0]))  # 6 v
        loss = anp.sum(inner * v)
    assert tape.gradient(loss, v).tolist() == [24.0]

    def around(x: Any) -> Any:
        with GradientTape() as tape:
            loss = anp.sum(x * v**2)
        return anp.sum(tape.gradient(loss, v) * x)  # 2 x^2 v

    assert autograd.grad(around)(np.array([3.0])).tolist() == [24.0]
    assert autograd.grad(lambda x: anp.sum(x * v * v))(np.array([3.0])).tolist() == [4.0]
    assert autograd.grad(lambda x: anp.sum(v * x + anp.dot(x, v)))(np.ones(1)).tolist() == [4.0]


def test_boxes_of_autograd_are_what_they_were() -> None:
    with pytest.raises(TypeError, match=r"float.. argument must be .*, not 'ArrayBox'"):
        autograd.grad(lambda x: float(x) * x)(2.0)
    with pytest.raises(TypeError, match=r"Can't differentiate w.r.t. type"):
        autograd.grad(lambda x: x)(Variable(1.0))


def test_tapes_in_threads() -> None:
    """No tape sees what another one records."""

    def work(seed: int) -> bool:
        arrays = values((4, 3), (3,), seed=seed)
        right = True
        for _ in range(30):
            v, w = map(Variable, arrays)
            with GradientTape() as outer:
                with GradientTape() as inner:
                    loss = anp.sum((v @ w) ** 2 * 5.0 + anp.sum(w * v))
                slope = inner.gradient(loss, w)
                second = anp.sum(slope * w)
            got = outer.gradient(second, w)
            matrix = 2 * 5.0 * arrays[0].T @ arrays[0]
            right &= np.allclose(got, 2 * matrix @ arrays[1] + 4 * arrays[0].sum(axis=0))
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_another_thread_does_not_record() -> None:
    v, found = Variable(np.ones(2)), []
    with GradientTape() as tape:
        recorded = v * 2.0
        thread = threading.Thread(target=lambda: found.append(v * 3.0))
        thread.start()
        thread.join()
    assert type(found[0]) is np.ndarray
    assert tape.gradient(recorded, v).tolist() == [2.0, 2.0]


def test_when_a_tape_records() -> None:
    v = Variable(np.array([2.0]), name="v")
    with GradientTape() as tape:
        loss = v * v
        with pytest.raises(ValueError, match="expected a tape that is not recording yet"):
            tape.__enter__()
    with tape:  # goes on
        loss = loss * v
    assert tape.gradient(loss, v).tolist() == [12.0]

    with GradientTape() as tape:
        loss = v * v
    assert tape.gradient(loss * 3.0, v).tolist() == [12.0]  # what is done to a value afterwards
    with GradientTape() as tape:
        loss = v * v
    for function in (lambda: loss * v, lambda: v * loss, lambda: np.maximum(v, loss)):
        with pytest.raises(TypeError, match="inside of the tape, got variable 'v'"):
            function()
    with GradientTape() as second, pytest.raises(RuntimeError, match="entered first"), tape:
        pass
    assert second.gradient(v, v).tolist() == [1.0]

    with GradientTape(persistent=True) as tape:
        loss = v * v
        with pytest.raises(RuntimeError, match="expected a call after the `with` statement"):
            tape.gradient(loss, v)
    assert tape.gradient(loss, v).tolist() == [4.0]
    with GradientTape() as tape:  # one that is not persistent has then ended
        loss = v * v
        assert tape.gradient(loss, v).tolist() == [4.0]
        assert type(v * v) is np.ndarray


def test_values_of_several_tapes() -> None:
    v = Variable(np.array([2.0]))
    with GradientTape(persistent=True) as first:
        one = v * v
    with GradientTape(persistent=True) as second:
        two = v * 3.0
        both = one * v  # the first value is a constant here
    assert second.gradient(both, v).tolist() == [4.0]
    assert first.gradient(both, v) is None
    total = one + two
    assert float(total[0]) == 10.0
    for tape in (first, second):
        with pytest.raises(ValueError, match="values of several tapes after they ended"):
            tape.gradient(total, v)


# ----- what was recorded --------------------------------------------------------------------------


def test_assignments_are_seen_and_not_recorded() -> None:
    v, w = Variable(np.array([2.0])), Variable(np.array([5.0]))
    with GradientTape() as tape:
        loss = v * v
        v.assign_add([1.0])
        loss = loss + 10.0 * v * v
        w.assign(v * 2.0)
        loss = loss + w
    v.assign([100.0])
    assert stop_gradient(loss).tolist() == [4.0 + 90.0 + 6.0]
    assert [g.tolist() for g in tape.gradient(loss, [v, w])] == [[4.0 + 60.0], [1.0]]


def test_variables_that_are_not_watched_are_kept_as_they_were() -> None:
    v, fixed = Variable(np.array([2.0])), Variable(np.array([3.0]), trainable=False)
    ids = Variable(np.array([0]))
    with GradientTape() as tape:
        loss = (v * 1.0) * fixed + fixed * v + anp.dot(v, fixed) + (v * 1.0)[ids] + v[fixed > 1]
        part = fixed[:1] * v
    fixed.assign([1000.0])
    ids.assign([7])
    assert tape.gradient([loss, part], v).tolist() == [3 * 3.0 + 2 + 3]


@pytest.mark.parametrize(
    "x", [np.ones((4, 3)), np.ones((3, 8))[:, ::2].T, np.ones((4, 3), np.float32)]
)
def test_arrays_that_were_written_to(x: Array) -> None:
    v = Variable(np.ones(3))
    with GradientTape(persistent=True) as tape:
        loss = anp.sum(x @ v)
    assert tape.gradient(loss, v).tolist() == [4.0, 4.0, 4.0]
    x[1, 2] = 7.0
    with pytest.raises(TypeError, match="matmul: expected arrays as they were when this was"):
        tape.gradient(loss, v)
    x[1, 2] = 1.0
    assert tape.gradient(loss, v).tolist() == [4.0, 4.0, 4.0]


def test_ids_may_change_after_a_gather() -> None:
    table, ids = Variable(np.ones((3, 2))), np.array([1, 1])
    for make in (lambda: table, lambda: table * 1.0):
        ids[:] = 1
        with GradientTape() as tape:
            loss = anp.sum(slotwise.gather(make(), ids))
        ids[:] = 2
        got = tape.gradient(loss, table)
        dense = got if isinstance(got, np.ndarray) else None
        if dense is None:
            assert got.indices.tolist() == [1, 1]
        else:
            assert dense.tolist() == [[0, 0], [2, 2], [0, 0]]


def test_a_gather_copies_no_table() -> None:
    table = Variable(slotwise.zeros((1000, 8)))
    with GradientTape() as tape:
        loss = anp.sum(slotwise.gather(table, Variable(np.array([[3], [5]]))))
    assert not tape._snapshots
    rows = tape.gradient(loss, table)
    assert (rows.indices.tolist(), rows.values.shape, rows.dense_shape) == (
        [3, 5],
        (2, 8),
        (1000, 8),
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_dtypes(dtype: Any) -> None:
    v = Variable(np.array([1.5, 2.0]).astype(dtype))
    table = Variable(np.ones((3, 2)).astype(dtype))
    with GradientTape() as tape:
        loss = anp.sum(v * v * v) + anp.sum(slotwise.gather(table, np.array([1])) * v)
    grad, rows = tape.gradient(loss, [v, table])
    assert (grad.dtype, rows.values.dtype) == (dtype, dtype)
    assert grad.astype(np.float64).tolist() == [3 * 2.25 + 1, 3 * 4.0 + 1]
    opt = legacy.SGD(1.0)
    opt.minimize(lambda: anp.sum(v * v), [v])
    assert v.value.astype(np.float64).tolist() == [-1.5, -2.0]


def test_integers_have_no_gradient() -> None:
    v, count = Variable(np.array([2.0])), Variable(np.array([3]))
    with GradientTape() as tape:
        tape.watch(count)
        loss = v * count
        count += 1
    assert tape.gradient(loss, [v, count])[1] is None


def test_complex_values() -> None:
    v = Variable(np.array([3.0, 4.0]))
    with GradientTape(persistent=True) as tape:
        loss = anp.abs(v[0] + 1j * v[1])
        complex_loss = v[0] + 1j * v[1]
    with pytest.raises(TypeError, match="expected real numbers, got complex"):
        tape.gradient(complex_loss, v)
    np.testing.assert_allclose(tape.gradient(loss, v), [0.6, 0.8])


def test_a_memory_map(tmp_path: Any) -> None:
    memory = np.memmap(tmp_path / "x", np.float64, "w+", shape=(2,))
    memory[:] = [1.0, 2.0]
    v = Variable(memory)
    with GradientTape() as tape:
        loss = memory * v * v
    assert tape.gradient(loss, v).tolist() == [2.0, 8.0]


def test_nothing_is_kept_alive() -> None:
    gc.collect()
    gc.disable()
    try:
        v = Variable(np.ones(2))
        with GradientTape() as tape:
            loss = anp.sum(anp.exp(v) * v + slotwise.gather(v, np.array([0])))
        tape.gradient(loss, v)
        seen = weakref.ref(tape), weakref.ref(v)
        del tape, loss, v
        assert [ref() for ref in seen] == [None, None]
    finally:
        gc.enable()


# ----- targets and sources ------------------------------------------------------------------------


def test_a_target_that_is_a_variable() -> None:
    v, w = Variable(np.ones(2)), Variable(np.ones(2), trainable=False)
    with GradientTape(persistent=True) as tape:
        loss, other = v, w
    assert tape.gradient(loss, [v, w])[0].tolist() == [1.0, 1.0]
    assert tape.gradient(loss, v, np.array([2.0, 3.0])).tolist() == [2.0, 3.0]
    assert tape.gradient(other, [v, w]) == [None, None]
    opt = legacy.SGD(0.5)
    opt.minimize(lambda: v, [v])
    SGD(0.5).minimize(lambda: v, [v])
    assert v.value.tolist() == [0.0, 0.0]


def test_lists_of_targets() -> None:
    v = Variable(np.array([1.0, 2.0]))
    with GradientTape(persistent=True) as tape:
        a, b = v * v, (v * 3.0).sum()
    assert tape.gradient([a, b, v], v).tolist() == [2 + 3 + 1, 4 + 3 + 1]
    assert tape.gradient([a, a], v).tolist() == [4, 8]
    assert tape.gradient((a, b), v, [np.array([1.0, 0.0]), 10.0]).tolist() == [32, 30]


def test_structures_of_sources() -> None:
    v, w = Variable(np.array([1.0])), Variable(np.array([2.0]))
    with GradientTape(persistent=True) as tape:
        middle = v * w
        loss = middle * middle * v
    got = tape.gradient(loss, {"v": v, "more": [w, {"middle": middle}], "twice": (v, v)})
    assert got["v"].tolist() == [4 + 8]
    assert got["more"][0].tolist() == [4.0]
    assert got["more"][1]["middle"].tolist() == [4.0]
    assert [g.tolist() for g in got["twice"]] == [[12.0], [12.0]]


def test_targets_and_sources_that_cannot_be() -> None:
    v = Variable(np.ones(2))
    with GradientTape(persistent=True) as tape:
        loss = v * 2.0
    for sources in (np.ones(2), [v, 3.0], "v", None):
        with pytest.raises(TypeError, match=r"gradient: sources: expected slotwise.Variables"):
            tape.gradient(loss, sources)
    with pytest.raises(TypeError, match=r"target: expected a recorded value, got ndarray"):
        tape.gradient(np.array([loss[0], loss[1]], object), v)
    with pytest.raises(TypeError, match=r"GradientTape.watch: expected slotwise.Variables, got"):
        tape.watch(np.ones(2))
    assert tape.gradient(np.ones(2), v) is None


def test_gradients_share_no_memory() -> None:
    v, w, seed = Variable(np.ones(2)), Variable(np.ones(2)), np.ones(2)
    with GradientTape(persistent=True) as tape:
        loss = v + w
    first, second = tape.gradient(loss, [v, w], seed)
    first += 5.0
    assert (second.tolist(), seed.tolist()) == ([1.0, 1.0], [1.0, 1.0])
    assert tape.gradient(loss, v).tolist() == [1.0, 1.0]
    with GradientTape() as tape:
        loss = anp.sum(slotwise.gather(v, np.array([0])) + slotwise.gather(w, np.array([1])))
    rows = tape.gradient(loss, [v, w])
    rows[0].values[:] = 7.0
    assert rows[1].values.tolist() == [1.0]


def test_the_float_of_a_result() -> None:
    v = Variable(3.0)
    with GradientTape() as tape:
        loss = v * v
        with pytest.raises(TypeError, match=r"got float\(\) while the tape records"):
            float(loss)
    assert (float(loss), float(v)) == (9.0, 3.0)
    history = np.zeros(1)
    history[0] = loss
    assert history[0] == 9.0
    assert tape.gradient(loss, v) == 6.0


# ----- optimizers ---------------------------------------------------------------------------------


def test_get_gradients_and_get_updates() -> None:
    v, w = Variable(2.0, name="v"), Variable(3.0, name="w")
    opt = legacy.SGD(0.5)
    assert [float(g) for g in opt.get_gradients(lambda: v * v * w, {"b": [w], "a": v})] == [12, 4]
    with GradientTape() as tape:
        loss = v * v * w
    assert [float(g) for g in opt.get_gradients(loss, [v])] == [12]
    assert opt.get_gradients(v, [v]) == [1]
    with pytest.raises(RuntimeError, match="expected one call on a tape"):
        opt.get_gradients(loss, [v])
    with pytest.raises(ValueError, match="Variable w has `None` for gradient"):
        opt.get_gradients(lambda: v * v, [v, w])
    for nothing in (3.0, np.float64(3.0), None):
        with pytest.raises(TypeError, match="get_gradients: loss: expected a function"):
            opt.get_gradients(nothing, [v])
    with GradientTape() as tape:
        loss = v * v
    del tape
    with pytest.raises(ValueError, match="whose GradientTape still exists"):
        opt.get_gradients(loss, [v])
    (count,) = opt.get_updates(lambda: v * w, [v, w])
    assert (int(count), float(v), float(w)) == (1, 0.5, 2.0)
    with GradientTape() as tape:
        loss = v * v
    assert int(opt.get_updates(loss, v)[0]) == 2
    assert (float(v), float(loss)) == (0.0, 0.25)
    assert tape.watches(v)


def test_get_updates_of_a_scaled_loss() -> None:
    v = Variable(2.0)
    opt = LossScaleOptimizer(legacy.SGD(0.5), initial_scale=8.0)
    with GradientTape() as tape:
        loss = v * v
    assert opt.get_gradients(loss, [v]) == [4.0]
    assert int(opt.get_updates(lambda: v * v, [v])[0]) == 1
    assert float(v) == 0.0
    assert tape.watches(v)


@pytest.mark.parametrize("make", [SGD, Adam, legacy.SGD, legacy.Adam, legacy.Nadam])
def test_a_step_inside_of_a_tape(make: Any) -> None:
    """As outside of it; what is recorded then is of the new value."""
    v, plain = Variable(np.array([2.0])), Variable(np.array([2.0]))
    decay = slotwise.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    rate = 0.5 if make is legacy.Nadam else decay
    opt, other = make(rate), make(rate)
    with GradientTape() as tape:
        loss = v * v
        opt.minimize(lambda: v * v, [v])
        opt.apply_gradients([(np.array([1.0]), v)])
        loss = loss + v
    other.minimize(lambda: plain * plain, [plain])
    other.apply_gradients([(np.array([1.0]), plain)])
    assert v.value.tolist() == plain.value.tolist()
    assert tape.gradient(loss, v).tolist() == [5.0]


def test_an_optimizer_of_ones_own_inside_of_a_tape() -> None:
    class Mine(legacy.Optimizer):
        def __init__(self, name: str = "Mine", **kwargs: Any) -> None:
            super().__init__(name, **kwargs)
            self._set_hyper("learning_rate", 0.5)

        def _create_slots(self, var_list: Any) -> None:
            for var in var_list:
                self.add_slot(var, "m")

        def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> None:
            m = self.get_slot(var, "m")
            m.assign(0.9 * m + grad + 0.0 * var)
            var.assign_sub(0.5 * m)

    v = Variable(np.array([2.0]))
    opt = Mine()
    with GradientTape():
        for _ in range(2):
            opt.apply_gradients([(np.array([1.0]), v)])
    np.testing.assert_allclose(v.value, 2.0 - 0.5 - 0.95)
