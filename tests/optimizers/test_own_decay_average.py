# SPDX-License-Identifier: Apache-2.0
"""Weight decay and averages of optimizers of one's own are those of the optimizers built in."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers.current import _decay_average
from support.compare import bits

DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.dtype(">f4")]


def step(gradient: Any, variable: Variable) -> None:
    at = gradient.indices if isinstance(gradient, IndexedSlices) else ...
    values = gradient.values if isinstance(gradient, IndexedSlices) else gradient
    variable.value[at] -= (0.5 * values).astype(variable.dtype)


class Own(optimizers.Optimizer):
    """Gradient descent, in Python."""

    def __init__(self, learning_rate: float, **kwargs: Any) -> None:
        super().__init__("Own", **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def update_step(self, gradient: Any, variable: Variable) -> None:
        step(gradient, variable)


class Built(Own):
    def build(self, var_list: Any) -> None:
        super().build(var_list)
        self._built = True


class Derived(optimizers.SGD):
    """An optimizer built in, except for the update itself."""

    def update_step(self, gradient: Any, variable: Variable) -> None:
        step(gradient, variable)


def drawn(seed: int, dtype: Any, shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def wide(array: Any) -> Any:
    return array.astype(np.float64 if array.dtype == np.float64 else np.float32)


def native(variable: Variable) -> Any:
    return bits(variable.value.astype(variable.dtype.newbyteorder("=")))


ROWS = st.none() | st.lists(st.integers(0, 6), max_size=9)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(DTYPES), ROWS, st.integers(1, 70), st.floats(0, 1), st.booleans(), st.booleans()
)
def test_decay_and_average_are_their_formulas(
    dtype: Any, rows: list[int] | None, width: int, number: float, overwrites: bool, strided: bool
) -> None:
    step = 2 if strided else 1
    var = Variable(drawn(width, dtype, (7, width * step))[:, ::step])
    held = Variable(drawn(width + 1, dtype, (7, width * step))[:, ::step])
    ids = None if rows is None else np.array(rows, np.int64)
    at: Any = ... if ids is None else np.unique(ids)
    kind = wide(var.value).dtype.type

    expected, w = var.numpy(), wide(var.value)[at]
    decay, rate = kind(np.float32(number)), kind(np.float32(0.3))
    expected[at] = (w - (w * decay) * rate).astype(dtype)
    _decay_average.decay("op", var, ids, number, np.float32(0.3))()
    np.testing.assert_array_equal(native(var), native(Variable(expected)))

    average, before = held.numpy(), wide(held.value)[at]
    w = wide(var.value)[at]
    average[at] = (kind(number) * before + kind(1 - number) * w).astype(dtype)
    if overwrites:
        expected[at] = average[at]
    _decay_average.average("op", held, var, ids, number, overwrites)()
    np.testing.assert_array_equal(native(held), native(Variable(average)))
    np.testing.assert_array_equal(native(var), native(Variable(expected)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_own_optimizers_are_like_those_built_in(dtype: Any, is_sparse: bool) -> None:
    kwargs: Any = {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 3}
    runs = []
    for opt in (Own(0.5, **kwargs), optimizers.SGD(0.5, **kwargs)):
        var = Variable(drawn(0, dtype, (5, 3)), name="w")
        for seed in range(7):
            grad: Any = drawn(seed, dtype, (5, 3))
            if is_sparse:
                grad = IndexedSlices(grad[:3], np.array([4, 1, 4]), (5, 3))
            opt.apply_gradients([(grad, var)])
        average = next(x for x in opt.variables if x.name == "average/w")
        runs.append((var.numpy(), average.numpy()))
    for own, built_in in zip(*runs, strict=True):
        np.testing.assert_array_equal(own, built_in)


def test_no_decay_is_no_nan() -> None:
    var = Variable(np.array([np.inf, 1.0], np.float32))
    Own(0.5, weight_decay=0).apply_gradients([(np.zeros(2, np.float32), var)])
    np.testing.assert_array_equal(var.numpy(), np.array([np.inf, 1.0], np.float32))


def test_values_of_averages_are_exact() -> None:
    var = Variable(np.array([np.nan, 2.0], np.float32), name="w")
    opt = Own(0.5, use_ema=True)
    opt.build([var])
    average = opt.variables[1]
    average.assign(np.array([1.5, -0.0], np.float32))
    opt.finalize_variable_values([var])
    np.testing.assert_array_equal(bits(var.numpy()), bits(average.numpy()))


def test_what_the_extension_does_not_take_is_named() -> None:
    var = Variable(np.ones(3, np.int64), name="w")
    with pytest.raises(TypeError, match=r"^Own\.apply_gradients: var: expected dtype float16"):
        Own(0.5, weight_decay=0.1).apply_gradients([(np.ones(3, np.int64), var)])
    np.testing.assert_array_equal(var.numpy(), np.ones(3, np.int64))


def held(opt: Any, variables: Any) -> list[Any]:
    return [np.array(x) for x in (*opt.variables, *variables)]


def unchanged(opt: Any, pairs: Any, variables: Any, error: Any, match: str) -> None:
    """Refused twice, and nothing of the optimizer or of the variables is another."""
    before = held(opt, variables)
    for _ in range(2):
        with pytest.raises(error, match=match):
            opt.apply_gradients(pairs)
        after = held(opt, variables)
        assert len(after) == len(before)
        for x, y in zip(after, before, strict=True):
            np.testing.assert_array_equal(x, y)


KEPT: list[dict[str, Any]] = [
    {"weight_decay": 0.1},
    {"use_ema": True},
    {"use_ema": True, "ema_overwrite_frequency": 1},
    {"use_ema": True, "ema_variant": "keras3"},
    {"use_ema": True, "loss_scale_factor": 2.0},
]


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("is_built", [False, True])
@pytest.mark.parametrize("kwargs", KEPT, ids=str)
@pytest.mark.parametrize("make", [Own, Derived])
def test_nothing_is_written_if_one_variable_is_refused(
    make: Any, kwargs: Any, is_built: bool, is_sparse: bool
) -> None:
    variables = [Variable(np.ones((4, 2)), name="w"), Variable(np.ones((4, 2), np.int64), name="i")]
    opt = make(0.5, **kwargs)
    if is_built:
        opt.build(variables)
    grads: list[Any] = [np.ones((4, 2), v.dtype) for v in variables]
    if is_sparse:
        grads = [IndexedSlices(g[:2], np.array([3, 1]), (4, 2)) for g in grads]
    pairs = [*zip(grads, variables, strict=True)]
    who = "coalesce: grads" if is_sparse else "apply_gradients: var"
    unchanged(opt, pairs, variables, TypeError, f"{who}: expected dtype float16")


@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("make", [Own, Derived, optimizers.SGD])
def test_averages_of_variables_without_a_gradient_are_checked_first(make: Any, steps: Any) -> None:
    variables = [Variable(np.ones(4), name="w"), Variable(np.ones(4, np.int64), name="i")]
    opt = make(0.5, use_ema=True, ema_variant="keras3", gradient_accumulation_steps=steps)
    opt.build(variables)
    pairs = [(np.ones(4), variables[0])]
    unchanged(opt, pairs, variables, TypeError, "apply_gradients: var: expected dtype float16")


@pytest.mark.parametrize("kwargs", [*KEPT[:1], KEPT[2]], ids=str)
@pytest.mark.parametrize("make", [Own, Derived])
def test_memory_that_became_read_only_is_refused_first(make: Any, kwargs: Any) -> None:
    variables = [Variable(np.ones(4), name=n) for n in "ab"]
    opt = make(0.5, **kwargs)
    opt.build(variables)
    variables[1].value.flags.writeable = False
    pairs = [(np.ones(4), v) for v in variables]
    unchanged(opt, pairs, variables, ValueError, "var: expected a writable array, got a read-only")


@pytest.mark.parametrize("make", [Built, Derived])
def test_averages_that_were_asked_for_too_late_are_refused_first(make: Any) -> None:
    var = Variable(np.ones(4), name="w")
    opt = make(0.5)
    opt.apply_gradients([(np.ones(4), var)])
    opt.use_ema = True
    unchanged(opt, [(np.ones(4), var)], [var], ValueError, "there are no averages")
