# SPDX-License-Identifier: Apache-2.0
"""What the legacy optimizers promise besides the numbers (those: test_keras_golden.py)."""

from __future__ import annotations

import inspect
import json
import logging
from typing import Any

import numpy as np
import pytest
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers import legacy, schedules

NAMES = ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam", "Ftrl")
SIGNATURES = {
    "SGD": "(learning_rate=0.01, momentum=0.0, nesterov=False, name='SGD', *, "
    "sparse='keras', comm=None, **kwargs)",
    "Nadam": "(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, name='Nadam', *, "
    "schedule_decay=0.004, sparse='keras', comm=None, **kwargs)",
    "Ftrl": "(learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1, "
    "l1_regularization_strength=0.0, l2_regularization_strength=0.0, name='Ftrl', "
    "l2_shrinkage_regularization_strength=0.0, beta=0.0, *, sparse='keras', comm=None, **kwargs)",
}
every = pytest.mark.parametrize("name", NAMES)


def make(name: str, **kwargs: Any) -> Any:
    return getattr(legacy, name)(**kwargs)


def variable(size: int = 3, name: str = "w", **kwargs: Any) -> Variable:
    return Variable(np.ones(size), name=name, **kwargs)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    assert str(inspect.signature(getattr(legacy, name))) == SIGNATURES[name]


@every
def test_subclasses_have_signatures_of_their_own(name: str) -> None:
    class Mine(getattr(legacy, name)):
        def __init__(self, extra: int = 0) -> None:
            super().__init__(learning_rate=0.5)

    assert list(inspect.signature(Mine).parameters) == ["extra"]
    mine, built_in, a, b = Mine(), make(name, learning_rate=0.5), variable(), variable()
    mine.apply_gradients([(np.ones(3), a)])
    built_in.apply_gradients([(np.ones(3), b)])
    assert np.array_equal(a, b)


# ----- hyperparameters -------------------------------------------------------------------------


def test_hyperparameters_are_attributes() -> None:
    opt = legacy.SGD(0.1, momentum=0.5)
    assert opt.lr is opt.learning_rate
    assert float(opt.lr) == np.float32(0.1)
    opt.lr = 0.05
    assert float(opt.learning_rate) == np.float32(0.05)
    opt.momentum = 0.25
    assert opt.get_config()["momentum"] == 0.25
    assert {"lr", "learning_rate", "momentum", "decay", "nesterov"} <= set(dir(opt))
    with pytest.raises(AttributeError, match="'SGD' object has no attribute 'rho'"):
        _ = opt.rho


def test_rates_of_every_kind() -> None:
    calls = []

    def rate() -> float:
        calls.append(None)
        return 0.5

    held = Variable(0.5)
    kinds = (
        0.5,
        rate,
        held,
        np.array(0.5),
        np.float64(0.5),
        schedules.ExponentialDecay(0.5, 1, 1.0),
    )
    for kind in kinds:
        var = variable()
        legacy.SGD(kind).apply_gradients([(np.ones(3), var)])
        assert np.array_equal(var, np.full(3, 0.5))
    assert len(calls) == 1
    opt, both = legacy.SGD(rate), [variable(), variable()]
    for count in (1, 2, 1, 2):  # lists that differ from the one before
        opt.apply_gradients([(np.ones(3), var) for var in both[:count]])
    assert len(calls) == 5
    opt, var = legacy.SGD(held), variable()
    held.assign(0.25)
    opt.apply_gradients([(np.ones(3), var)])
    assert np.array_equal(var, np.full(3, 0.75))


def test_a_float64_rate_is_exact() -> None:
    for rate, expected in ((0.1, float(np.float32(0.1))), (np.float64(0.1), 0.1)):
        opt, var = legacy.SGD(rate), Variable(np.zeros(1))
        opt.apply_gradients([(np.ones(1), var)])
        assert var.value[0] == -expected
        again = legacy.SGD.from_config(opt.get_config())
        assert float(again.lr) == expected


def test_a_whole_number_is_a_float() -> None:
    opt = legacy.SGD(1)
    assert float(opt.lr) == 1.0
    opt.lr = 0.5
    assert float(opt.lr) == 0.5


def test_assigning_over_a_schedule_and_back() -> None:
    opt, var = legacy.SGD(0.5), variable()
    opt.apply_gradients([(np.ones(3), var)])
    opt.lr = schedules.InverseTimeDecay(0.5, 1, 1.0)
    assert isinstance(opt.learning_rate, schedules.InverseTimeDecay)
    opt.apply_gradients([(np.ones(3), var)])  # at step 1: 0.25
    opt.lr = 0.125
    opt.apply_gradients([(np.ones(3), var)])
    assert np.array_equal(var, np.full(3, 1 - 0.5 - 0.25 - 0.125))


def test_a_callable_does_not_replace_a_variable() -> None:
    opt = legacy.SGD(0.5)
    _ = opt.lr
    with pytest.raises(TypeError, match="learning_rate: expected a number, got a callable"):
        opt.lr = lambda: 0.5


def test_bad_numbers_change_nothing() -> None:
    for rate in (np.nan, np.inf):
        opt, var = legacy.Adam(0.5), variable()
        opt.lr.assign(rate)
        with pytest.raises(ValueError, match="learning_rate: expected a finite number"):
            opt.apply_gradients([(np.ones(3), var)])
        assert (var.value == 1).all()
        assert int(opt.iterations) == 0


def test_amsgrad_may_be_switched_on_later() -> None:
    opt, var = legacy.Adam(0.1), variable()
    opt.apply_gradients([(np.ones(3), var)])
    opt.amsgrad = True
    opt.apply_gradients([(np.ones(3), var)])
    assert opt.get_slot_names() == ["m", "v", "vhat"]
    assert opt.get_slot(var, "vhat").numpy().any()


def test_lr_keyword() -> None:
    with pytest.warns(UserWarning, match="`lr` argument is deprecated"):
        assert float(legacy.SGD(0.5, lr=0.25).lr) == 0.25
    with pytest.warns(UserWarning, match="`lr`") as caught:
        assert float(legacy.Ftrl(0.5, lr=0.25).lr) == 0.5
    assert "Ftrl ignores `lr`" in str(caught[-1].message)


def test_names() -> None:
    assert legacy.SGD(name="mine").get_config()["name"] == "mine"
    first, second = (legacy.RMSprop(name=None).get_config()["name"] for _ in range(2))
    assert first.startswith("rm_sprop")
    assert second.startswith("rm_sprop_")


# ----- clipping and hooks ----------------------------------------------------------------------


def test_clip_settings_and_transformers_exclude_each_other() -> None:
    def same(pairs: Any) -> Any:
        return pairs

    for key in ("clipnorm", "clipvalue", "global_clipnorm"):
        with pytest.raises(ValueError, match=f"`{key}` cannot be set when"):
            legacy.SGD(**{key: 1.0}, gradient_transformers=[same])
        opt = legacy.SGD(gradient_transformers=[same])
        with pytest.raises(ValueError, match=f"`{key}` cannot be set when"):
            setattr(opt, key, 1.0)


def test_aggregator_and_transformers() -> None:
    seen = []

    def aggregate(pairs: Any) -> Any:
        seen.append(type(pairs))
        return [(g + 1, v) for g, v in pairs]

    def halve(pairs: Any) -> Any:
        return [(g / 2, v) for g, v in pairs]

    def first(pairs: Any) -> Any:
        return pairs[:1]

    a, b = variable(), variable()
    opt = legacy.SGD(1.0, gradient_aggregator=aggregate, gradient_transformers=[halve, first])
    opt.apply_gradients([(np.ones(3), a), (np.ones(3), b)])
    assert seen == [tuple]
    assert np.array_equal(a, np.zeros(3))
    assert np.array_equal(b, np.ones(3))
    opt.apply_gradients([(np.ones(3), a)], experimental_aggregate_gradients=False)
    assert np.array_equal(a, np.full(3, -0.5))


def test_missing_gradients(caplog: pytest.LogCaptureFixture) -> None:
    opt, a, b = legacy.Adam(), variable(name="a"), variable(name="b")
    with caplog.at_level(logging.WARNING, "slotwise"):
        opt.apply_gradients([(None, a), (np.ones(3), b)])
    assert "Gradients do not exist for variables ['a'] when minimizing the loss." in caplog.text
    assert [w.name for w in opt.weights] == ["iter", "b/m", "b/v"]
    with pytest.raises(ValueError, match=r"No gradients provided for any variable: \(\['a'\],\)"):
        opt.apply_gradients([(None, a)])
    assert int(opt.iterations) == 1


@every
def test_an_empty_list_does_nothing(name: str) -> None:
    opt = make(name)
    assert opt.get_weights() == []
    assert opt.apply_gradients([]) is None
    assert [w.tolist() for w in opt.get_weights()] == [0]


@every
def test_constraints(name: str) -> None:
    var = variable(constraint=lambda w: np.maximum(w, 0.999))
    opt = make(name, learning_rate=0.5)
    opt.apply_gradients([(np.ones(3), var)])
    assert (var.value >= 0.999).all()
    other, before = variable(), var.numpy()
    slices = IndexedSlices(np.ones(1), np.array([0]))
    with pytest.raises(RuntimeError, match="Cannot use a constraint function on a sparse"):
        opt.apply_gradients([(np.ones(3), other), (slices, var)])
    assert (other.value == 1).all()  # nothing was updated
    assert np.array_equal(var, before)
    assert int(opt.iterations) == 1


def test_a_constraint_acts_between_updates_of_one_variable() -> None:
    var = Variable(np.zeros(1), constraint=lambda w: np.minimum(w, 1.0))
    legacy.SGD(1.0).apply_gradients([(np.full(1, -5.0), var), (np.full(1, 0.5), var)])
    assert var.value[0] == 0.5


@every
def test_a_repeated_variable_is_updated_twice(name: str) -> None:
    whole, halves = Variable(np.ones(2)), Variable(np.ones(2), constraint=lambda w: w.value)
    for var in (whole, halves):  # the second one goes another way
        make(name, learning_rate=0.1).apply_gradients(
            [(np.ones(2), var), (np.array([-2.0, 1.0]), var)]
        )
    assert np.array_equal(whole, halves)


@every
def test_bare_arrays(name: str) -> None:
    array, var = np.ones(3), variable()
    mine, its = make(name), make(name)
    for _ in range(3):
        mine.apply_gradients([(np.ones(3), array)])
        its.apply_gradients([(np.ones(3), var)])
    assert np.array_equal(array, var)
    assert len(mine.weights) == len(its.weights)
    kept = []
    for _ in range(50):  # none inherits another one's slots
        fresh, other = np.ones(3), variable()
        kept.append((fresh, other))
        mine.apply_gradients([(np.ones(3), fresh)])
        its.apply_gradients([(np.ones(3), other)])
        assert np.array_equal(fresh, other)
    assert mine.get_slot_names() == its.get_slot_names()


def test_what_is_no_variable() -> None:
    with pytest.raises(TypeError, match=r"expected a slotwise.Variable or an ndarray, got list"):
        legacy.SGD().apply_gradients([(np.ones(1), [1.0])])


# ----- sparse ----------------------------------------------------------------------------------


def test_sparse_modes() -> None:
    expected = "sparse: expected 'keras' or 'lazy' or 'deferred', got 'eager'"
    with pytest.raises(ValueError, match=expected):
        legacy.Adam(sparse="eager")
    assert "sparse" not in legacy.Adam().get_config()
    lazy = legacy.Adam.from_config(legacy.Adam(sparse="lazy").get_config())
    assert lazy.sparse == "lazy"


@every
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sparse_gradients_of_all_rows_are_dense_ones(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    start, ids = rng.standard_normal((5, 2)).astype(dtype), rng.permutation(5)
    for mode in ("keras", "lazy"):
        dense, sparse = (Variable(start.copy()) for _ in range(2))
        a, b = make(name, sparse=mode), make(name, sparse=mode)
        for _ in range(4):
            g = rng.standard_normal((5, 2)).astype(dtype)
            a.apply_gradients([(g, dense)])
            b.apply_gradients([(IndexedSlices(g[ids], ids), sparse)])
        assert np.array_equal(dense, sparse)


# ----- state -----------------------------------------------------------------------------------


def test_iterations() -> None:
    opt = legacy.SGD()
    opt.iterations = Variable(np.array(7), name="mine")
    opt.apply_gradients([(np.ones(3), variable())])
    assert int(opt.iterations) == 8
    with pytest.raises(RuntimeError, match="Cannot set `iterations` to a new Variable"):
        opt.iterations = Variable(np.array(7))
    with pytest.raises(TypeError, match=r"SGD\.iterations: expected an integer or a slotwise\.Var"):
        legacy.SGD().iterations = 7.0


def test_slots_and_weights_of_ones_own() -> None:
    opt, var = legacy.SGD(), variable()
    assert opt.add_slot(var, "a", "ones") is opt.add_slot(var, "a")
    assert opt.add_slot(var, "b", lambda shape, dtype: np.full(shape, 2, dtype), (2,)).shape == (2,)
    assert opt.get_slot_names() == ["a", "b"]
    assert [w.name for w in opt.weights] == ["w/a", "w/b"]
    assert opt.add_weight("c", (2,), initializer=3.0).numpy().tolist() == [3, 3]
    assert len(opt.variables()) == 2
    with pytest.raises(KeyError):
        opt.get_slot(var, "c")
    with pytest.raises(ValueError, match="initializer: expected"):
        opt.add_slot(var, "d", "normal")


@every
def test_weights_restore_a_run(name: str) -> None:
    gradients = np.random.default_rng(0).standard_normal((6, 3))
    a, b = variable(), variable()
    one, other = make(name), make(name)
    for g in gradients:
        one.apply_gradients([(g, a)])
    for g in gradients[:3]:
        other.apply_gradients([(g, b)])
    saved, config = other.get_weights(), json.loads(json.dumps(other.get_config()))
    restored = type(one).from_config(config)
    middle = Variable(b.numpy())
    restored.apply_gradients([(np.zeros(3), middle)])  # makes the slots
    middle.assign(b.numpy())
    restored.set_weights(saved)
    for g in gradients[3:]:
        restored.apply_gradients([(g, middle)])
    assert np.array_equal(a, middle)


# ----- registry --------------------------------------------------------------------------------


class Mine(legacy.SGD):
    pass


@every
def test_serialized_optimizers_come_back(name: str) -> None:
    rate = 0.5 if name == "Nadam" else schedules.CosineDecay(0.5, 10)
    opt = make(name, learning_rate=rate, clipvalue=0.5)
    for use_legacy_format in (False, True):
        data = json.loads(json.dumps(optimizers.serialize(opt, use_legacy_format)))
        again = optimizers.deserialize(data)
        assert type(again) is type(opt)
        assert again.get_config() == opt.get_config()
        assert optimizers.get(data).get_config() == opt.get_config()
    assert isinstance(optimizers.get(name.lower(), use_legacy_optimizer=True), type(opt))
    assert optimizers.get(opt) is opt


def test_nadam_keeps_schedule_decay() -> None:
    config = legacy.Nadam(schedule_decay=0.25).get_config()
    assert config["decay"] == 0.25
    assert legacy.Nadam.from_config(config).get_config() == config


def test_configs_are_not_changed() -> None:
    config = {"lr": 0.5, "name": "x"}
    assert float(legacy.SGD.from_config(config).lr) == 0.5
    assert config == {"lr": 0.5, "name": "x"}
    data = {"class_name": "SGD", "config": config}
    optimizers.deserialize(data)
    assert data == {"class_name": "SGD", "config": config}


def test_classes_of_ones_own() -> None:
    data = optimizers.serialize(Mine(0.5))
    assert data is not None
    assert data["registered_name"] == "Mine"
    assert type(optimizers.deserialize(data, {"Mine": Mine})) is Mine
    with optimizers.custom_object_scope({"Mine": Mine}):
        assert type(optimizers.get("Mine")) is Mine
    with pytest.raises(ValueError, match="Unknown optimizer: 'Mine'"):
        optimizers.deserialize(data)
    assert type(optimizers.deserialize({"class_name": "SGD", "config": {}}, {"SGD": Mine})) is Mine


def test_unknown_identifiers() -> None:
    for identifier in (None, 1, legacy.SGD):
        with pytest.raises(ValueError, match="Could not interpret optimizer identifier"):
            optimizers.get(identifier)
    with pytest.raises(ValueError, match="Unknown optimizer: 'rms_prop'"):
        optimizers.get("rms_prop")
    with pytest.raises(ValueError, match="Unknown decay: 'Foo'"):
        schedules.deserialize({"class_name": "Foo", "config": {}})
    assert optimizers.serialize(None) is None
    with pytest.raises(TypeError, match="expected an optimizer, got int"):
        optimizers.serialize(3)


def test_schedules_check_their_arguments() -> None:
    with pytest.raises(ValueError, match="length of boundaries should be 1 less"):
        schedules.PiecewiseConstantDecay([1], [1.0])
    with pytest.raises(ValueError, match="expected ascending steps"):
        schedules.PiecewiseConstantDecay([2, 1], [1.0, 2.0, 3.0])
    rate = schedules.LearningRateSchedule()
    for use in (lambda: rate(1), rate.get_config):
        with pytest.raises(NotImplementedError):
            use()


def test_nadam_takes_no_schedule() -> None:
    rate = schedules.CosineDecay(0.5, 10)
    opt = legacy.Nadam()
    with pytest.raises(ValueError, match="does not support"):
        legacy.Nadam(rate)
    with pytest.raises(ValueError, match="does not support"):
        opt.lr = rate


# ----- an optimizer of one's own ---------------------------------------------------------------


class Plain(legacy.Optimizer):
    """Gradient descent, by hand."""

    def __init__(self, learning_rate: Any = 0.5, name: str = "Plain", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._set_hyper("learning_rate", learning_rate)
        self.log: list[Any] = []

    def _create_slots(self, var_list: Any) -> None:
        for var in var_list:
            self.add_slot(var, "count")

    def _prepare_local(self, var_device: Any, var_dtype: Any, apply_state: Any) -> None:
        super()._prepare_local(var_device, var_dtype, apply_state)
        apply_state[var_device, var_dtype]["two"] = 2

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> None:
        state = apply_state[var.device, var.dtype]
        self.log.append(state["two"])
        self.get_slot(var, "count").assign_add(np.ones(var.shape))
        var.assign_sub(state["lr_t"] * grad)

    def _resource_apply_sparse(self, grad: Any, var: Any, indices: Any) -> None:
        self.log.append(indices.tolist())
        var.value[indices] -= self._decayed_lr(var.dtype) * grad


def test_an_optimizer_of_ones_own() -> None:
    a, b = variable(), Variable(np.zeros((3, 1)))
    opt = Plain(clipvalue=1.0, decay=1.0)
    slices = IndexedSlices(np.array([[1.0], [3.0], [1.0]]), np.array([2, 0, 2]), (3, 1))
    opt.apply_gradients([(np.full(3, 9.0), a), (slices, b)])
    assert opt.log == [2, [2, 0]]
    assert np.array_equal(a, np.full(3, 0.5))
    assert b.value[:, 0].tolist() == [-0.5, 0, -1]
    opt.apply_gradients([(np.ones(3), a)])  # half the rate
    assert np.array_equal(a, np.full(3, 0.25))
    assert opt.get_slot(a, "count").numpy().tolist() == [2, 2, 2]


def test_a_base_optimizer_updates_nothing() -> None:
    for gradient in (np.ones(3), IndexedSlices(np.ones(1), np.array([0]))):
        with pytest.raises(NotImplementedError, match="Must be implemented in subclasses"):
            legacy.Optimizer("base").apply_gradients([(gradient, variable())])


@every
def test_overridden_updates_may_call_the_built_in_ones(name: str) -> None:
    class Logged(getattr(legacy, name)):
        def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> Any:
            log.append(var.name)
            return super()._resource_apply_dense(grad, var, apply_state)

        def _resource_apply_sparse(
            self, grad: Any, var: Any, indices: Any, apply_state: Any = None
        ) -> Any:
            log.append(indices.tolist())
            return super()._resource_apply_sparse(grad, var, indices, apply_state)

    log: list[Any] = []
    rng = np.random.default_rng(0)
    tables = [[variable(4, name="a"), variable(4, name="b")] for _ in range(2)]
    both = (Logged(learning_rate=0.1), make(name, learning_rate=0.1))
    for _ in range(3):
        g, values = rng.standard_normal(4), rng.standard_normal(3)
        slices = IndexedSlices(values, np.array([3, 1, 3]))
        for opt, (a, b) in zip(both, tables, strict=True):
            opt.apply_gradients([(g, a), (slices, b)])
    assert log == ["a", [3, 1]] * 3
    for mine, its in zip(*tables, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-12)


def test_the_pace_of_nadam_may_be_assigned() -> None:
    changed, made = legacy.Nadam(0.125), legacy.Nadam(0.125, schedule_decay=0.5)
    changed.schedule_decay = 0.5
    assert changed.get_config() == made.get_config()
    variables = [Variable(np.ones(3, np.float32)) for _ in range(2)]
    for opt, var in zip((changed, made), variables, strict=True):
        for _ in range(3):
            opt.apply_gradients([(np.ones(3, np.float32), var)])
    np.testing.assert_array_equal(*(var.numpy() for var in variables))
    with pytest.raises(ValueError, match="Nadam: schedule_decay: expected a number of at least 0"):
        changed.schedule_decay = -1.0


def test_functions_are_asked_once_a_step() -> None:
    asked = []

    def beta() -> float:
        asked.append(0.5)
        return 0.5

    opt, var = legacy.Adam(0.125, beta_1=beta), Variable(np.ones(3, np.float32))
    opt.apply_gradients([(np.ones(3, np.float32), var)])
    asked.clear()
    opt.apply_gradients([(np.ones(3, np.float32), var)])
    assert len(asked) == 1
