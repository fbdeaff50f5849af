# SPDX-License-Identifier: Apache-2.0
"""A variable is known by the memory that is updated, whichever object names it."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers import legacy
from support import dlpack
from support.memory import read_only
from support.optimizers import CURRENT, EVERY, both, every, states
from support.reference import Array


class Tensor(dlpack.Tensor):
    """A tensor of another library, whose `numpy` makes a new array of the same memory."""

    def numpy(self) -> Array:
        return np.asarray(memoryview(self.array))


# What names the same memory, made anew in each step.
NAMINGS: dict[str, Callable[[Array], Any]] = {
    "a row": lambda p: p[0],
    "all": lambda p: p[:][0],
    "a reshaped view": lambda p: p.reshape(6)[:3],
    "a tensor's array": lambda p: Tensor(p).numpy()[0],
    "a Variable": lambda p: Variable(p[0], name="w"),
    "an array of a buffer": lambda p: np.frombuffer(p.data, p.dtype)[:3],
    "of rank 0": lambda p: p[0, 0, ...],
    "without elements": lambda p: p[:0],
    "an ndarray of a class": lambda p: p[0].view(type("Mine", (np.ndarray,), {})),
}


@pytest.mark.parametrize("what", NAMINGS)
@every
def test_what_names_the_same_memory_is_the_same_variable(api: Any, name: str, what: str) -> None:
    views, whole = np.ones((2, 3)), np.ones((2, 3))
    mine, its = getattr(api, name)(0.1), getattr(api, name)(0.1)
    same = NAMINGS[what](whole)
    for g in (1.0, -0.5, 2.0, 0.25):
        mine.apply_gradients([(np.full(same.shape, g), NAMINGS[what](views))])
        its.apply_gradients([(np.full(same.shape, g), same)])
    assert np.array_equal(views, whole)
    assert len(states(mine)) == len(states(its))
    for a, b in zip(states(mine), states(its), strict=True):
        assert np.array_equal(a, b)


@both
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_nothing_grows(api: Any, name: str) -> None:
    p, g = np.zeros((3, 2)), np.ones((3, 2))
    opt = getattr(api, name)(0.1)
    opt.apply_gradients([(g, p[:])])
    step, count = opt._prepared_steps.latest, len(states(opt))
    for _ in range(1000):
        opt.apply_gradients([(g, p[:])])
    assert opt._prepared_steps.latest is step
    assert len([*opt._prepared_steps]) == 1
    assert len(states(opt)) == count


@both
def test_state_is_reached_by_any_view(api: Any) -> None:
    p = np.zeros((2, 3))
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones(3), p[0])])
    state = opt.state_dict(variables={"row": p[0]})
    assert {"row/m", "row/v"} <= state.keys()
    if api is legacy:
        assert opt.get_slot(p[0], "m") is opt.get_slot(Variable(p[0]), "m")
        assert opt.add_slot(p[0], "m") is opt.get_slot(p[0], "m")
        with pytest.raises(KeyError, match=r"Adam\.get_slot: variable of shape \(3,\) has no slot"):
            opt.get_slot(p[1], "m")
        assert len(opt.weights) == 3
    other = type(opt)(0.1)
    other.load_state_dict(state, variables={"row": p[0]})
    assert np.array_equal(other.state_dict({"row": p[0]})["row/m"], state["row/m"])


def test_exclusions_and_averages_go_by_memory() -> None:
    p = np.ones((2, 3))
    opt = optimizers.SGD(0.5, weight_decay=0.5, use_ema=True, ema_momentum=0.5)
    opt.exclude_from_weight_decay([p[0]])
    opt.apply_gradients([(np.zeros(3), p[0]), (np.zeros(3), p[1])])
    assert p[:, 0].tolist() == [1, 0.75]
    opt.finalize_variable_values([p[1]])
    assert p[:, 0].tolist() == [1, 0.875]


def test_exclusions_of_what_was_replaced_or_copied_are_refused() -> None:
    for change in (lambda opt, p: (opt, p.copy()), lambda opt, p: (copy.deepcopy(opt), p)):
        opt, p = optimizers.SGD(0.5, weight_decay=0.5), np.ones(3)
        opt.exclude_from_weight_decay([p])
        opt, p = change(opt, p)
        with pytest.raises(ValueError, match="what belongs to it would be lost"):
            opt.apply_gradients([(np.zeros(3), p)])
        assert (p == 1).all()
        assert len(opt.variables) == 1
    opt, p = copy.deepcopy((opt, p))
    with pytest.raises(TypeError, match="before its first step"):
        copy.copy(opt)


def test_tracked_rows_go_by_memory() -> None:
    p, g = np.zeros((5, 2)), IndexedSlices(np.ones((2, 2)), np.array([3, 1]), (5, 2))
    touched = slotwise.track(p[:])
    optimizers.Adagrad().apply_gradients([(g, p[:])])
    assert touched.rows.tolist() == [1, 3]
    slotwise.untrack(p[:])


@both
def test_views_of_other_memory_are_other_variables(api: Any) -> None:
    """A view of another shape or of a part, or one that overlaps: each is as if alone."""
    p, q = np.zeros(6), np.zeros(6)
    opt = api.SGD(1.0, momentum=0.5)
    makers = (lambda p: p, lambda p: p.reshape(2, 3), lambda p: p[:3], lambda p: p[1:4])
    if api is optimizers:
        opt.build([make(p) for make in makers])
    each = [api.SGD(1.0, momentum=0.5) for _ in makers]
    for _ in range(2):
        for make, own in zip(makers, each, strict=True):
            opt.apply_gradients([(np.ones(make(p).shape), make(p))])
            own.apply_gradients([(np.ones(make(q).shape), make(q))])
    assert np.array_equal(p, q)
    assert len(states(opt)) == 5


@both
def test_one_memory_has_one_name_and_one_constraint(api: Any) -> None:
    p = np.zeros(3)
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones(3), Variable(p, name="a"))])
    opt.apply_gradients([(np.ones(3), Variable(p, name="b"))])
    assert [v.name.strip("/mv") for v in states(opt)[1:]] == ["a", "a"]
    opt.apply_gradients([(np.ones(3), p), (np.ones(3), Variable(p, name="b"))])  # twice
    assert len(states(opt)) == 3
    before = p.copy()
    clipped = Variable(p, constraint=lambda w: np.maximum(w, 5.0))
    with pytest.raises(ValueError, match="expected the constraint that its memory was first met"):
        opt.apply_gradients([(np.ones(3), clipped), (np.ones(3), np.zeros(3))])
    assert np.array_equal(p, before)


@both
def test_a_constraint_is_of_the_memory(api: Any) -> None:
    p = np.zeros(3)

    def constraint(w: Any) -> Any:
        return np.maximum(w, -0.5)

    opt = api.SGD(1.0, momentum=0.5)
    opt.apply_gradients([(np.ones(3), Variable(p, constraint=constraint))])
    for given in (p, p[:], Variable(p, constraint=constraint)):
        opt.apply_gradients([(np.ones(3), given)])
        assert p.tolist() == [-0.5] * 3
    with pytest.raises(ValueError, match="expected the constraint that its memory was first met"):
        opt.apply_gradients([(np.ones(3), Variable(p, constraint=lambda w: w))])


# ----- memory that changes, and arrays that are replaced -----------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@both
@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("through", ["itself", "a view", "a Variable"])
def test_a_resized_array_is_refused_by_any_name(api: Any, name: str, through: str) -> None:
    p = np.ones((3, 4))
    name_it = {"itself": lambda: p, "a view": lambda: p[:], "a Variable": lambda: Variable(p)}
    opt = getattr(api, name)(0.1, momentum=0.5) if name == "SGD" else api.Adam(0.1)
    opt.apply_gradients([(np.ones((3, 4)), p)])
    count = len(states(opt))
    for change in (
        lambda: setattr(p, "shape", (4, 3)),
        lambda: p.resize((400, 300), refcheck=False),
    ):
        change()
        before = p.copy()
        for _ in range(2):
            with pytest.raises((ValueError, KeyError), match="memory"):
                opt.apply_gradients([(np.ones(p.shape), name_it[through]())])
        assert np.array_equal(p, before)
    assert (int(opt.iterations), len(states(opt))) == (1, count)


@both
def test_what_is_at_the_old_address_is_another_array(api: Any) -> None:
    """It does not get the slots of the one that was moved."""
    opt = api.Adam(0.1)
    p = np.ones(1 << 18)
    opt.apply_gradients([(np.ones(1 << 18), p)])
    address = p.ctypes.data
    p.resize(1 << 20, refcheck=False)
    others = [np.ones(1 << 18) for _ in range(20)]
    there = [x for x in others if x.ctypes.data == address] or others[:1]
    before = there[0].copy()
    with pytest.raises((ValueError, KeyError)):
        opt.apply_gradients([(np.ones(1 << 18), there[0]), (np.ones(p.shape), p)])
    assert np.array_equal(there[0], before)


@both
def test_memory_that_a_view_is_of_is_not_freed(api: Any) -> None:
    p = np.ones(1000)
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones(1000), p[:])])
    with pytest.raises(ValueError, match="cannot resize an array"):
        p.resize(1_000_000, refcheck=False)
    opt.apply_gradients([(np.ones(1000), p[:])])


REPLACED: dict[str, Callable[[Any], Any]] = {
    "an array": lambda p: p.copy(),
    "a view": lambda p: p.copy()[:],
    "of slotwise.zeros": lambda p: slotwise.full(p.shape, 1.0, p.dtype),
    "a Variable": lambda p: Variable(np.array(p), name="w"),
}


@pytest.mark.parametrize("what", REPLACED)
@both
def test_a_variable_that_is_replaced_in_each_step(api: Any, what: str) -> None:
    """It has no state any more: an error, where it would be lost."""
    opt = api.Adam(0.1)
    p = REPLACED[what](np.zeros(3))
    opt.apply_gradients([(np.ones(3), p)])
    for _ in range(2):
        p = REPLACED[what](p)
        before = np.array(p)
        with pytest.raises((ValueError, KeyError), match="which nothing else refers to any more"):
            opt.apply_gradients([(np.ones(3), p)])
        assert np.array_equal(p, before)
    assert (int(opt.iterations), len(states(opt))) == (1, 3)


def test_new_variables_beside_living_ones_are_welcome() -> None:
    opt = legacy.Adam(0.1)
    kept = []
    for i in range(20):
        kept.append(Variable(np.zeros(3), name="w") if i % 2 else np.zeros(3))
        opt.apply_gradients([(np.ones(3), x) for x in kept[-3:]])
    assert len(opt.weights) == 41
    views = np.zeros((20, 3))
    for row in range(20):  # whose memory somebody refers to
        opt.apply_gradients([(np.ones(3), views[row])])
    for shape in (4, 5, 6):  # which none of the others could be
        opt.apply_gradients([(np.ones(shape), np.zeros(shape))])


def test_without_slots_nothing_is_lost_or_kept() -> None:
    opt, refs = legacy.SGD(0.1), []
    p = np.zeros(3)
    for _ in range(50):
        p = p.copy()
        refs.append(weakref.ref(p))
        opt.apply_gradients([(np.ones(3), p)])
    np.testing.assert_allclose(p, -5.0)
    assert sum(ref() is not None for ref in refs) <= 17  # the latest plans'


# ----- refused calls, and what is kept -----------------------------------------------------------


class Watched(np.ndarray):
    """An array that there may be weak references to."""


def watched() -> Any:
    return np.zeros(3).view(Watched)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "unknown or new": lambda w: [(np.ones(5), w)],
    "of another dtype": lambda w: [(np.ones(3, np.float32), w)],
    "not a gradient": lambda w: [(object(), w)],
    "a pair of three": lambda w: [(np.ones(3), w), (np.ones(3), w, 1)],
    "beside what is no variable": lambda w: [(np.ones(3), w), (np.ones(1), [1.0])],
    "beside a read-only one": lambda w: [(np.ones(3), w), (np.ones(3), read_only(np.zeros(3)))],
    "repeated": lambda w: [(np.ones(3), w), (np.ones(4), w)],
    "beside a good one": lambda w: [(np.ones(3), Variable(np.ones(3), name="x")), (np.ones(4), w)],
    "without a gradient": lambda w: [(None, w)],
    "out of range": lambda w: [(IndexedSlices(np.ones(1), np.array([7])), w)],
}


def lamb_in_parts(learning_rate: float) -> Any:
    opt = optimizers.Lamb(learning_rate, weight_decay=0.1)
    opt.exclude_from_weight_decay(var_names=["x$"])
    return opt


REFUSING: dict[str, Callable[[float], Any]] = {
    **{f"{api.__name__.split('.')[-1]}-{name}": getattr(api, name) for api, name in EVERY},
    "Lamb in parts": lamb_in_parts,
    "scaled": lambda rate: optimizers.LossScaleOptimizer(optimizers.Adam(rate)),
    "legacy scaled": lambda rate: optimizers.LossScaleOptimizer(legacy.Adam(rate)),
}


@pytest.mark.parametrize("is_first", [True, False], ids=["at first", "later"])
@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("make", REFUSING.values(), ids=REFUSING)
def test_refused_calls_keep_and_change_nothing(
    make: Callable[[float], Any], what: str, is_first: bool
) -> None:
    opt, v = make(0.1), np.zeros(3)
    if not is_first:
        opt.apply_gradients([(np.ones(3), v)])
    saved = [(x.name, x.numpy()) for x in states(opt)]
    refs = []
    for _ in range(3):
        w = watched()
        refs.append(weakref.ref(w))
        with pytest.raises((ValueError, TypeError, KeyError)):
            opt.apply_gradients(REFUSED[what](w))
        assert not w.any()
        del w
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3
    assert [x.name for x in states(opt)] == [n for n, _ in saved]
    assert all(np.array_equal(x, y) for x, (_, y) in zip(states(opt), saved, strict=True))
    opt.apply_gradients([(np.ones(3), v)])
    assert int(opt.iterations) == 2 - is_first


class Model:
    """Whose constraint is its own method."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.w = Variable(np.zeros(3), name="w", constraint=self.clip)
        self.b = Variable(np.zeros(3), name="b")
        self.optimizer = make()

    def clip(self, w: Any) -> Any:
        return np.maximum(w, -1.0)

    def step(self) -> None:
        self.optimizer.apply_gradients([(np.ones(3), self.w), (np.ones(3), self.b)])


@every
def test_a_model_whose_constraint_is_its_own_method_is_freed(api: Any, name: str) -> None:
    model = Model(lambda: getattr(api, name)(0.1))
    for _ in range(3):
        model.step()
    slotwise.track(model.b)
    ref = weakref.ref(model)
    del model
    gc.collect()
    assert ref() is None


# ----- build -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CURRENT)
def test_build_again_extends(name: str) -> None:
    a, b, c = (Variable(np.ones((2, 3)), name=n) for n in "abc")
    ones = np.ones((2, 3))
    make = lambda: getattr(optimizers, name)(0.1, use_ema=True)  # noqa: E731
    opt, apart = make(), [make(), make()]
    opt.apply_gradients([(ones, a)])
    first = [v.name for v in opt.variables]
    with pytest.raises(KeyError, match=r"call build\(\[\.\.\.\]\) with all variables"):
        opt.apply_gradients([(ones, a), (ones, b)])
    opt.build([a, b, c])
    opt.build([c, a])
    names = [v.name for v in opt.variables]
    assert names[: len(first)] == first
    own = {n.replace("/a", "") for n in first[1:]}
    assert sorted(names[len(first) :]) == sorted(f"{n}/{x}" for n in own for x in "bc")
    assert {n.rpartition("/")[0] for n in opt.state_dict() if "/" in n} == {"a", "b", "c"}
    opt.apply_gradients([(ones, a), (ones, b), (ones, c)])
    others = [np.ones((2, 3)), np.ones((2, 3))]
    if name == "Nadam":  # whose warm-up all variables share
        return
    for other, steps, array in zip(apart, (2, 1), others, strict=True):
        other.iterations = 2 - steps
        for _ in range(steps):
            other.apply_gradients([(ones, array)])
    assert np.array_equal(a, others[0])
    assert np.array_equal(b, others[1])


def test_build_takes_lists_of_variables() -> None:
    for bad in (None, 3, np.ones((2, 3)), Variable(np.ones(2)), "ab", {"a": np.ones(2)}):
        with pytest.raises(TypeError, match=r"Adam\.build: var_list: expected a list of variables"):
            optimizers.Adam().build(bad)
    opt = optimizers.Adam()
    with pytest.raises(TypeError, match=r"Adam\.build: variable 1: expected a slotwise\.Variable"):
        opt.build([np.ones(2), [1.0]])
    assert len(opt.variables) == 1
    opt.build(x for x in [np.ones(2), np.ones(3)])
    assert len(opt.variables) == 5


class Own(optimizers.Optimizer):
    """Whose state is made once."""

    def __init__(self) -> None:
        super().__init__("Own")
        self._learning_rate = self._build_learning_rate(0.5)

    def build(self, var_list: Any) -> None:
        super().build(var_list)
        if self._built:
            return
        self.sums = [self.add_variable_from_reference(v, "sum") for v in var_list]
        self._built = True

    def update_step(self, gradient: Any, variable: Any) -> None:
        self.sums[self._index_dict[self._var_key(variable)]].assign_add(gradient)
        variable.assign_sub(self.learning_rate * gradient)


class OwnOfBuiltIn(optimizers.Adam):
    def build(self, var_list: Any) -> None:
        super().build(var_list)


@pytest.mark.parametrize("make", [Own, OwnOfBuiltIn])
def test_extending_a_build_of_ones_own_is_refused(make: Any) -> None:
    opt, a, b = make(), Variable(np.ones(3), name="a"), Variable(np.ones(3), name="b")
    opt.build([a])
    opt.build([a])
    names = [v.name for v in opt.variables]
    with pytest.raises(ValueError, match=r"build: 'b' \(variable 1 of shape \(3,\)\): expected a"):
        opt.build([a, b])
    assert [v.name for v in opt.variables] == names
    opt.apply_gradients([(np.ones(3), a[:].view())])


def test_averages_without_a_build_of_ones_own() -> None:
    """They follow the variables, in whichever order these come."""

    class Stateless(optimizers.Optimizer):
        def update_step(self, gradient: Any, variable: Any) -> None:
            variable.assign_sub(gradient)

    opt = Stateless("Stateless", weight_decay=None, use_ema=True, ema_momentum=0.0)
    a, b = Variable(np.zeros(1), name="a"), Variable(np.zeros(1), name="b")
    opt.apply_gradients([(np.ones(1), a), (-np.ones(1), b)])
    opt.apply_gradients([(-np.ones(1), b), (np.ones(1), a)])
    assert {v.name: float(v.value[0]) for v in opt.variables[1:]} == {
        "average/a": -2.0,
        "average/b": 2.0,
    }


def test_expected_variables_are_met_in_the_first_step_that_has_them() -> None:
    head, body, other = (Variable(np.ones(2), name=n) for n in ("head", "body", "other"))
    opt, scaled = optimizers.Adam(0.1), optimizers.LossScaleOptimizer(optimizers.Adam(0.1))
    for each in (opt, scaled):
        each.build([head])
        each._make_slots([], [head, body])
        each.apply_gradients([(np.ones(2), head), (np.ones(2), body)])
        names = [v.name for v in each.variables]
        assert names == ["iteration", "m/head", "v/head", "m/body", "v/body"]
        with pytest.raises(KeyError):
            each.apply_gradients([(np.ones(2), other)])
    own = Own()
    own.build([head])
    own._make_slots([], [body])
    with pytest.raises(KeyError, match="a variable that the optimizer was built with"):
        own.apply_gradients([(np.ones(2), body)])
    legacy.Adam()._make_slots([], [head])


# ----- iterations, and what an optimizer looks like ----------------------------------------------


@pytest.mark.parametrize("is_scaled", [False, True])
@both
def test_iterations_may_be_assigned(api: Any, is_scaled: bool) -> None:
    opt, v = api.Adam(0.1), np.zeros(2)
    if is_scaled:
        opt = optimizers.LossScaleOptimizer(opt)
    for n in (7, np.int64(8), np.array(9)):
        opt.iterations = n
        assert int(opt.iterations) == n
    opt.apply_gradients([(np.ones(2), v)])
    assert int(opt.iterations) == 10
    opt.iterations = 3
    opt.apply_gradients([(np.ones(2), v)])
    assert int(opt.iterations) == 4
    for bad in (7.0, "7", None, True, np.ones(2), Variable(np.zeros(2)), Variable(1.0)):
        with pytest.raises(TypeError, match=r"Adam\.iterations: expected an int"):
            opt.iterations = bad
    for bad in (-1, 2**63):
        with pytest.raises(ValueError, match=r"iterations: expected 0 <= iterations < 2\*\*63"):
            opt.iterations = bad
    assert int(opt.iterations) == 4


def test_what_an_optimizer_looks_like() -> None:
    assert repr(optimizers.Adam(0.1)) == (
        "Adam(learning_rate=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False, "
        "name='Adam')"
    )
    assert "weight_decay=0.5, clipnorm=1.0, name='mine')" in repr(
        optimizers.SGD(weight_decay=0.5, clipnorm=1.0, name="mine")
    )
    assert "use_ema=True, ema_momentum=0.5" in repr(optimizers.Lamb(use_ema=True, ema_momentum=0.5))
    opt = legacy.SGD(lambda: 1 / 0, clipvalue=0.5)
    assert repr(opt).startswith("SGD(learning_rate=<function ")
    assert repr(opt).endswith("decay=0.0, momentum=0.0, nesterov=False, clipvalue=0.5, name='SGD')")
    opt = legacy.SGD(0.1)
    opt.apply_gradients([(np.ones(2), np.ones(2))])
    assert repr(opt).startswith("SGD(learning_rate=0.1, ")
    scaled = optimizers.LossScaleOptimizer(optimizers.SGD(0.1))
    assert repr(scaled).startswith("LossScaleOptimizerV3(SGD(learning_rate=0.1, ")
    assert repr(Own()) == "Own(learning_rate=0.5, name='Own')"
    assert repr(optimizers.Optimizer("base")) == "Optimizer(learning_rate=None, name='base')"


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_a_constraint_that_comes_later_is_not_ignored(api: Any) -> None:
    p = np.zeros(3)
    opt = api.Adam(0.1)
    opt.apply_gradients([(np.ones(3), p)])
    clipped = Variable(p, constraint=lambda w: np.maximum(w, 5.0))
    with pytest.raises(ValueError, match="expected the constraint that its memory was first met"):
        opt.apply_gradients([(np.ones(3), clipped)])
