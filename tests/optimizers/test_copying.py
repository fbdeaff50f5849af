# SPDX-License-Identifier: Apache-2.0
"""Copies of optimizers and variables: state follows, or the copy is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers import LossScaleOptimizer, legacy, schedules
from support.optimizers import APIS, EVERY, both, states


class OwnLegacy(legacy.Optimizer):
    def __init__(self, name: str = "OwnLegacy", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._set_hyper("learning_rate", 0.5)
        self.extra: dict[str, Any] = {"log": [1, 2], "array": np.arange(3.0)}

    def _create_slots(self, var_list: Any) -> None:
        for var in var_list:
            self.add_slot(var, "m")

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> None:
        m = self.get_slot(var, "m")
        m.assign(0.9 * m + grad)
        self.extra["log"].append(3)
        var.assign_sub(self._get_hyper("learning_rate", var.dtype) * m)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any) -> None:
        var.value[indices] -= grad


class OwnCurrent(optimizers.Optimizer):
    def __init__(self, name: str = "OwnCurrent", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._learning_rate = self._build_learning_rate(0.5)
        self.factor = self.add_variable((), initializer="ones", name="factor")
        self.extra = {"log": [1, 2]}

    def build(self, var_list: Any) -> None:
        super().build(var_list)
        if self._built:
            return
        self.sums = [self.add_variable_from_reference(v, "sum") for v in var_list]
        self._built = True

    def update_step(self, gradient: Any, variable: Any) -> None:
        total = self.sums[self._index_dict[self._var_key(variable)]]
        if isinstance(gradient, IndexedSlices):
            total.value[gradient.indices] += gradient.values
        else:
            total.assign_add(gradient)
        self.factor.assign_add(1)
        variable.assign_sub(self.learning_rate * self.factor.value * total)


class Logged(optimizers.Adam):
    def update_step(self, gradient: Any, variable: Any) -> None:
        super().update_step(gradient, variable)


class LoggedLegacy(legacy.Adam):
    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> Any:
        return super()._resource_apply_dense(grad, var, apply_state)


def constraint(w: Any) -> Any:
    return np.maximum(w, -3.0)


MAKERS: dict[str, Callable[[], Any]] = {
    **{f"{api.__name__.split('.')[-1]}-{name}": getattr(api, name) for api, name in EVERY},
    "with averages": lambda: optimizers.AdamW(0.1, use_ema=True, ema_overwrite_frequency=2),
    "with a schedule": lambda: optimizers.SGD(schedules.ExponentialDecay(0.1, 2, 0.5), 0.9),
    "legacy with a schedule": lambda: legacy.SGD(schedules.ExponentialDecay(0.1, 2, 0.5), 0.9),
    "lazy": lambda: optimizers.Adam(sparse="lazy"),
    "scaled": lambda: LossScaleOptimizer(optimizers.Adam(0.1), dynamic_growth_steps=2),
    "legacy scaled": lambda: LossScaleOptimizer(legacy.Adam(0.1), dynamic_growth_steps=2),
    "one's own": OwnCurrent,
    "legacy one's own": OwnLegacy,
    "one's own of a built-in one": Logged,
    "legacy one's own of a built-in one": LoggedLegacy,
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle-{protocol}": lambda x, protocol=protocol: pickle.loads(pickle.dumps(x, protocol))
        for protocol in (2, 4, 5)
    },
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
copies = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


def variables(kind: str = "Variables") -> list[Any]:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((4, 2), (4, 2), (3,))]
    if kind == "arrays":
        return arrays
    given = (None, constraint, None)
    return [Variable(x, name=n, constraint=c) for x, n, c in zip(arrays, "abc", given, strict=True)]


def step(opt: Any, given: list[Any], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = IndexedSlices(rng.standard_normal((3, 2)), np.array([2, 0, 2]), (4, 2))
    opt.apply_gradients(
        [(table, given[0]), *((rng.standard_normal(x.shape), x) for x in given[1:])]
    )


def inner(opt: Any) -> Any:
    return getattr(opt, "inner_optimizer", opt)


def same(a: Any, b: Any) -> None:
    for x, y in zip(states(inner(a)), states(inner(b)), strict=True):
        assert x is not y
        assert not np.shares_memory(x.value, y.value)
        assert (x.name, x.dtype) == (y.name, y.dtype)
        assert np.array_equal(x, y)


@pytest.mark.parametrize("kind", ["Variables", "arrays"])
@copies
@makers
def test_state_follows(make: Callable[[], Any], copied: Callable[[Any], Any], kind: str) -> None:
    """Fresh, and after steps; with the variables, in either order."""
    opt, given = make(), variables(kind)
    for seed in range(3):
        fresh = seed == 0
        for is_first in (True, False):
            pair = copied((opt, given) if is_first else (given, opt))
            other, mine = pair if is_first else pair[::-1]
            assert type(other) is type(opt)
            if not fresh:
                same(opt, other)
            reference, own = copied((opt, given))
            before = [np.array(x) for x in given]
            for later in (10, 11):
                step(other, mine, later)
                step(reference, own, later)
            assert all(np.array_equal(x, y) for x, y in zip(given, before, strict=True))
            assert all(np.array_equal(x, y) for x, y in zip(mine, own, strict=True))
            same(reference, other)
        step(opt, given, seed)
    before = [np.array(x) for x in given]
    other, mine = copied((opt, given))
    for later in (10, 11):
        step(opt, given, later)
        step(other, mine, later)
    same(opt, other)
    assert all(np.array_equal(x, y) for x, y in zip(given, mine, strict=True))
    assert not any(np.array_equal(x, y) for x, y in zip(given, before, strict=True))


@copies
@both
def test_a_copy_of_a_copy_that_was_not_used(api: Any, copied: Callable[[Any], Any]) -> None:
    opt, given = api.Adam(0.1), variables()
    step(opt, given, 0)
    other, mine = copied(copied((opt, given)))
    step(opt, given, 1)
    step(other, mine, 1)
    same(opt, other)


@both
def test_loaded_state_follows(api: Any) -> None:
    opt, given = api.Adam(0.1), variables()
    step(opt, given, 0)
    loaded = api.Adam(0.1)
    loaded.load_state_dict(opt.state_dict(), variables=given)
    other, mine = copy.deepcopy((loaded, given))
    step(opt, given, 1)
    step(other, mine, 1)
    same(opt, other)


@copies
@makers
def test_a_copy_alone_refuses_what_looks_like_its_variables(
    make: Callable[[], Any], copied: Callable[[Any], Any]
) -> None:
    for kind in ("Variables", "arrays"):
        opt, given = make(), variables(kind)
        step(opt, given, 0)
        other = copied(opt)
        if not inner(opt)._variables:  # gradient descent: nothing belongs to variables
            step(other, copied(given), 1)
            return
        for apart in (given, variables(kind), copied(given)):
            before = [np.array(x) for x in apart]
            for _ in range(2):
                with pytest.raises((ValueError, KeyError), match="came with this copy of an opt"):
                    step(other, apart, 1)
            assert all(np.array_equal(x, y) for x, y in zip(apart, before, strict=True))
        same(opt, other)
        other = copied(other)
        if type(inner(opt)).__module__.startswith("slotwise") and kind == "Variables":
            fresh = type(inner(opt)).from_config(inner(opt).get_config())
            fresh.load_state_dict(inner(other).state_dict(), variables=given)
            same(opt, fresh)


@copies
def test_other_variables_may_be_new_to_a_copy(copied: Callable[[Any], Any]) -> None:
    opt, w = legacy.Adam(0.1), Variable(np.zeros(3), name="w")
    opt.apply_gradients([(np.ones(3), w)])
    other = copied(opt)
    for new in (Variable(np.zeros(3), name="x"), Variable(np.zeros(2), name="w")):
        other.apply_gradients([(np.ones(new.shape), new)])
    for doubtful in (Variable(np.zeros(3), name="w"), np.zeros(3), Variable(np.zeros(3))):
        with pytest.raises(ValueError, match="came with this copy"):
            other.apply_gradients([(np.ones(3), doubtful)])
    assert len(other.weights) == 7
    both_of_it, mine = copied((opt, w))
    both_of_it.apply_gradients([(np.ones(3), mine), (np.ones(3), np.zeros(3))])  # all are named
    assert len(both_of_it.weights) == 5


@copies
@both
def test_a_view_is_copied_apart_from_what_it_is_of(api: Any, copied: Callable[[Any], Any]) -> None:
    p = np.zeros((2, 3))
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones(3), p[0])])
    other, q = copied((opt, p))
    with pytest.raises((ValueError, KeyError), match="came with this copy"):
        other.apply_gradients([(np.ones(3), q[0])])
    row = p[0]
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones(3), row)])
    other, own = copied((opt, row))
    other.apply_gradients([(np.ones(3), own)])
    opt.apply_gradients([(np.ones(3), row)])
    assert np.array_equal(row, own)


@makers
def test_shallow_copies(make: Callable[[], Any]) -> None:
    """Before a step, an optimizer of its own; then there is none."""
    opt = make()
    other = copy.copy(opt)
    assert type(other) is type(opt)

    def parts(x: Any) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for value in vars(x).values():
            is_part = isinstance(value, (Variable, dict, list))
            found |= {id(value): value} if is_part else {}
            if isinstance(value, dict):
                found |= {id(v): v for v in value.values() if isinstance(v, (Variable, list))}
        return found

    for a, b in ((opt, other), (inner(opt), inner(other))):
        assert not parts(a).keys() & parts(b).keys()
    opt.iterations = 5
    assert int(other.iterations) == 0
    given, mine = variables(), variables()
    step(other, mine, 0)
    fresh = make()
    step(fresh, given, 0)
    same(fresh, other)
    if not inner(other)._variables:
        copy.copy(other)
        return
    with pytest.raises(TypeError, match=r"expected an optimizer before its first step.*deepcopy"):
        copy.copy(other)


def test_a_copied_rate_is_another() -> None:
    for api in APIS:
        opt = api.SGD(0.5)
        other = copy.copy(opt)
        other.learning_rate = 0.25
        assert float(opt.learning_rate) == 0.5
    rate = Variable(0.5)
    opt = legacy.SGD(rate)
    other, its = copy.deepcopy((opt, rate))
    its.assign(0.25)
    assert (float(opt.lr), float(other.lr)) == (0.5, 0.25)


def test_copies_of_what_a_loss_scale_wraps() -> None:
    for make in (optimizers.SGD, legacy.SGD):
        opt = LossScaleOptimizer(make(0.5))
        for copied in COPIES.values():
            other = copied(opt)
            assert other.inner_optimizer._loss_scale_optimizer is other
            LossScaleOptimizer(copied(opt.inner_optimizer))  # which is not wrapped
            with pytest.raises(ValueError, match="already wrapped"):
                LossScaleOptimizer(other.inner_optimizer)


class Model:
    """Refers to all that refers to it."""

    def __init__(self, api: Any) -> None:
        self.w = Variable(np.zeros(3), name="w", constraint=self.clip)
        self.optimizer = api.Adam(0.1)
        self.step()

    def clip(self, w: Any) -> Any:
        return np.maximum(w, -1.0)

    def step(self) -> None:
        self.optimizer.apply_gradients([(np.ones(3), self.w)])


@copies
@both
def test_models_in_a_circle(api: Any, copied: Callable[[Any], Any]) -> None:
    model = Model(api)
    for other in (copied(model), copied((model.w, model))[1], copied((model.optimizer, model))[1]):
        other.step()
        assert other.w.constraint.__self__ is other
        again = copied(model)
        again.step()
        same(again.optimizer, other.optimizer)
        assert np.array_equal(other.w, again.w)


# ----- variables ---------------------------------------------------------------------------------


def test_copies_of_variables() -> None:
    var = Variable(np.arange(3.0), trainable=False, name="w", constraint=constraint)
    for copied in COPIES.values():
        other, array = copied((var, var.value))
        assert other.value is array
        assert not np.shares_memory(array, var.value)
        assert np.array_equal(other, var)
        assert (other.name, other.trainable, other.constraint) == ("w", False, constraint)
    shared = copy.copy(var)
    assert shared.value is var.value
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(Variable(1.0, constraint=lambda w: w))
