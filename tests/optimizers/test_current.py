# SPDX-License-Identifier: Apache-2.0
"""What the optimizers of the current API promise besides the numbers.

Those are in test_keras_golden.py.
"""

from __future__ import annotations

import copy
import inspect
import json
import logging
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers import legacy, schedules
from support.optimizers import CURRENT, DESCRIPTIONS, LAZY

OF_KERAS = (
    *("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam", "Ftrl"),
    *("Adafactor", "Lion"),
)
COMMON = (
    "weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, "
    "ema_momentum=0.99, ema_overwrite_frequency=None, jit_compile=True, "
)
BEYOND = (
    "*, loss_scale_factor=None, gradient_accumulation_steps=None, ema_variant='keras2', "
    "sparse='keras', sparse_decay=None, comm=None, **kwargs)"
)
SIGNATURES = {
    "SGD": f"(learning_rate=0.01, momentum=0.0, nesterov=False, {COMMON}name='SGD', {BEYOND}",
    "RMSprop": "(learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False, "
    f"{COMMON.replace('frequency=None', 'frequency=100')}name='RMSprop', {BEYOND}",
    "Adam": "(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, "
    f"adaptive_epsilon=False, amsgrad=False, {COMMON}name='Adam', {BEYOND}",
    "AdamW": "(learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-07, "
    f"amsgrad=False, {COMMON.removeprefix('weight_decay=None, ')}name='AdamW', {BEYOND}",
    "Ftrl": "(learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1, "
    "l1_regularization_strength=0.0, l2_regularization_strength=0.0, "
    f"l2_shrinkage_regularization_strength=0.0, beta=0.0, {COMMON}name='Ftrl', {BEYOND}",
    "Lion": f"(learning_rate=0.0001, beta_1=0.9, beta_2=0.99, {COMMON}name='Lion', {BEYOND}",
    "Lamb": "(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, "
    f"{COMMON}name='Lamb', {BEYOND}",
}
every = pytest.mark.parametrize("name", CURRENT)


def make(name: str, **kwargs: Any) -> Any:
    return getattr(optimizers, name)(**kwargs)


def variable(size: int = 3, name: str = "w", **kwargs: Any) -> Variable:
    return Variable(np.ones(size), name=name, **kwargs)


def gradients(steps: int, size: int = 3) -> Any:
    return np.random.default_rng(0).standard_normal((steps, size))


# ----- construction ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    assert str(inspect.signature(getattr(optimizers, name))) == SIGNATURES[name]


@every
def test_neither_api_inherits_from_the_other(name: str) -> None:
    assert not isinstance(make(name), legacy.Optimizer)
    assert not issubclass(getattr(legacy, name, legacy.SGD), optimizers.Optimizer)


BAD_ARGUMENTS = (
    (TypeError, {"foo": 1}, "foo is not a valid argument, kwargs should be empty for `slotwise"),
    (
        ValueError,
        {"decay": 0.1},
        r"decay is deprecated in the new .*optimizers\.legacy\.Adam\.",
    ),
    (ValueError, {"gradient_aggregator": None}, "gradient_aggregator is deprecated"),
    (ValueError, {"clipnorm": 1.0, "global_clipnorm": 1.0}, "At most one of `clipnorm` and"),
    (ValueError, {"use_ema": True, "ema_momentum": 1.5}, r"range \[0, 1\]. Received: ema_momentum"),
    (ValueError, {"ema_momentum": 7.0}, r"range \[0, 1\]. Received: ema_momentum"),
    (ValueError, {"use_ema": True, "ema_overwrite_frequency": -1}, "must be an integer > 1 or"),
    (ValueError, {"learning_rate": None}, "learning_rate: expected a number or a schedule"),
    (
        ValueError,
        {"sparse": "eager"},
        "sparse: expected 'keras' or 'lazy' or 'deferred', got 'eager'",
    ),
    (ValueError, {"sparse_decay": "touched"}, "sparse_decay: expected 'whole' with sparse='keras'"),
)


@pytest.mark.parametrize(("error", "kwargs", "text"), BAD_ARGUMENTS, ids=str)
def test_arguments_are_checked(error: type[Exception], kwargs: dict[str, Any], text: str) -> None:
    with pytest.raises(error, match=text):
        optimizers.Adam(**kwargs)


def test_arguments_of_one_optimizer_are_checked() -> None:
    for name, kwargs, text in (
        ("SGD", {"momentum": 1.1}, r"`momentum` must be between \[0, 1\]"),
        ("AdamW", {"weight_decay": None}, "Missing value of `weight_decay` which is required"),
        ("Lion", {"beta_1": 0}, r"`beta_1`=0 must be between \]0, 1\]"),
        ("Ftrl", {"learning_rate_power": 1.0}, "`learning_rate_power` needs to be negative"),
        ("Ftrl", {"beta": 0.0, "l1_regularization_strength": -1.0}, "needs to be positive or zero"),
        ("Adagrad", {"initial_accumulator_value": -1.0}, "expected a number of at least 0, got -1"),
        ("Adam", {"beta_1": 1}, "Adam: beta_1: expected a number of at least 0 and below 1, got 1"),
        ("Adafactor", {"sparse": "lazy"}, "sparse: expected 'keras', got 'lazy'"),
    ):
        with pytest.raises(ValueError, match=text):
            make(name, **kwargs)
    make("RMSprop", momentum=1.5)  # not checked
    make("Adam", clipnorm=-1.0)


def test_ignored_keywords() -> None:
    with pytest.warns(UserWarning, match="`lr` is ignored; use `learning_rate`") as caught:
        opt = optimizers.SGD(lr=0.5)
    assert caught[0].filename == __file__
    assert float(opt.learning_rate) == np.float32(0.01)
    optimizers.SGD(mesh=None, is_legacy_optimizer=True)


# ----- the rate ----------------------------------------------------------------------------------


def test_learning_rates() -> None:
    opt = optimizers.SGD(0.1)
    assert opt.lr is opt.learning_rate
    assert opt.learning_rate.dtype == np.float32
    opt.learning_rate = 0.5
    assert float(opt.lr) == 0.5
    assert float(optimizers.SGD(1).lr) == 1.0
    assert optimizers.SGD(np.float64(0.1)).lr.dtype == np.float32
    calls = []
    opt = optimizers.SGD(lambda: calls.append(None) or 0.5)
    for _ in range(2):
        opt.apply_gradients([(np.ones(3), variable())] if not calls else [])
    assert len(calls) == 1
    with pytest.raises(ValueError, match="Missing learning rate"):
        _ = optimizers.Optimizer("base").learning_rate


def test_schedules() -> None:
    rate = schedules.InverseTimeDecay(0.5, 1, 1.0)
    opt, var = optimizers.SGD(rate), variable()
    assert float(opt.learning_rate) == 0.5
    for expected in (0.5, 0.25):
        opt.apply_gradients([(np.ones(3), var)])
        assert float(opt.lr) == expected  # of the latest step
    with pytest.raises(TypeError, match="hence its learning rate is not settable"):
        opt.learning_rate = 0.1
    opt = optimizers.SGD(0.5)
    opt.learning_rate = rate
    with pytest.raises(AttributeError):
        _ = opt.learning_rate
    opt.apply_gradients([])
    assert float(opt.learning_rate) == 0.5


# ----- state -------------------------------------------------------------------------------------

ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    "SGD": ({}, "m/a m/b"),
    "RMSprop": (
        {"momentum": 0.5, "centered": True},
        "velocity/a velocity/b momentum/a momentum/b average_gradient/a average_gradient/b",
    ),
    "Adagrad": ({}, "accumulator/a accumulator/b"),
    "Adadelta": (
        {},
        "accumulated_grad/a accumulated_delta_var/a accumulated_grad/b accumulated_delta_var/b",
    ),
    "Adam": ({"amsgrad": True}, "m/a v/a m/b v/b vhat/a vhat/b"),
    "AdamW": ({}, "m/a v/a m/b v/b"),
    "Adamax": ({}, "m/a u/a m/b u/b"),
    "Nadam": ({}, "m/a v/a m/b v/b"),
    "Ftrl": ({}, "accumulator/a linear/a accumulator/b linear/b"),
    "Adafactor": ({}, "v/a r/b c/b v/b"),
    "Lion": ({}, "m/a m/b"),
}


def order_of(name: str) -> tuple[dict[str, Any], str]:
    """Arguments, and the slots of variables a and b; of Keras's others', as if it had them."""
    slots = [slot.name for slot in DESCRIPTIONS[name].slots]
    return ORDERS.get(name) or ({}, " ".join(f"{slot}/{var}" for var in "ab" for slot in slots))


@every
def test_the_order_of_variables(name: str) -> None:
    kwargs, order = order_of(name)
    opt = make(name, use_ema=True, **kwargs)
    assert [v.name for v in opt.variables] == ["iteration"]
    a, b = variable(name="a"), Variable(np.ones((2, 4, 5)), name="b")
    opt.build([a, b])
    expected = ["iteration", "average/a", "average/b", *order.split()]
    assert [v.name for v in opt.variables] == expected
    assert [v.name for v in opt.variables()] == expected
    assert np.array_equal(opt.variables[1], a)
    opt.build([a])  # nothing
    assert len(opt.variables) == len(expected)
    if name == "Adafactor":
        assert [v.shape for v in opt.variables[-4:]] == [(3,), (2, 4), (2, 5), (2, 4, 5)]


def test_build_has_variables_without_gradients(caplog: pytest.LogCaptureFixture) -> None:
    opt, a, b = optimizers.Adam(), variable(name="a"), variable(name="b")
    with caplog.at_level(logging.WARNING, "slotwise"):
        opt.apply_gradients([(None, a), (np.ones(3), b)])
    assert caplog.text.count("Gradients do not exist for variables ['a']") == 2  # as in Keras
    assert [v.name for v in opt.variables] == ["iteration", "m/a", "v/a", "m/b", "v/b"]
    opt.apply_gradients([(np.ones(3), a)])
    with pytest.raises(ValueError, match=r"No gradients provided for any variable: \(\['a'\],\)"):
        opt.apply_gradients([(None, a)])


@every
def test_unknown_variables(name: str) -> None:
    opt, a, b = make(name), variable(name="a"), variable(name="b")
    opt.apply_gradients([(np.ones(3), a)])
    before = a.numpy()
    with pytest.raises(KeyError, match=r"'b' \(variable 1 of shape \(3,\)\): expected a var"):
        opt.apply_gradients([(np.ones(3), a), (np.ones(3), b)])
    assert np.array_equal(a, before)
    assert int(opt.iterations) == 1


@every
def test_an_empty_list_does_nothing(name: str) -> None:
    opt = make(name)
    assert opt.apply_gradients([]) is opt.iterations
    assert int(opt.iterations) == 0
    opt.exclude_from_weight_decay([])  # not built


def test_iterations() -> None:
    opt, mine = optimizers.SGD(), Variable(np.array(7), name="mine")
    opt.iterations = mine
    assert opt.apply_gradients([(np.ones(3), variable())]) is mine
    assert int(mine) == 8
    assert int(opt.variables[0]) == 0  # as in Keras, the first one stays there
    with pytest.raises(RuntimeError, match="Cannot set `iterations` to a new Variable after"):
        opt.iterations = mine
    with pytest.raises(TypeError, match=r"SGD\.iterations: expected an integer or a slotwise\.Var"):
        optimizers.SGD().iterations = 7.0


def test_variables_of_ones_own() -> None:
    opt, var = optimizers.SGD(), variable()
    assert opt.add_variable((2,), np.float64, "ones", "mine").numpy().tolist() == [1, 1]
    assert opt.add_variable_from_reference(var, "a").shape == (3,)
    other = opt.add_variable_from_reference(var, "b", (2,), [3, 4])
    assert (other.name, other.dtype, other.numpy().tolist()) == ("b/w", np.float64, [3, 4])
    assert [v.name for v in opt.variables] == ["iteration", "mine", "a/w", "b/w"]


@every
def test_saved_variables_restore_a_run(name: str) -> None:
    a, b = variable(), variable()
    one, other = (make(name, use_ema=True, weight_decay=0.1) for _ in range(2))
    for g in gradients(6):
        one.apply_gradients([(g, a)])
    for g in gradients(6)[:3]:
        other.apply_gradients([(g, b)])
    store: dict[str, Any] = {}
    other.save_own_variables(store)
    assert list(store) == [str(i) for i in range(len(other.variables))]
    for load in ("load_own_variables", "set_weights"):
        restored = type(one).from_config(json.loads(json.dumps(other.get_config())))
        middle = Variable(b.numpy())
        restored.build([middle])
        getattr(restored, load)(store if load == "load_own_variables" else list(store.values()))
        if name == "Nadam":  # what Keras does not save
            restored._u_product.assign(other._u_product)
            restored._u_product_counter.assign(other._u_product_counter)
        for g in gradients(6)[3:]:
            restored.apply_gradients([(g, middle)])
        assert np.array_equal(a, middle)


def test_set_weights(caplog: pytest.LogCaptureFixture) -> None:
    opt, var = optimizers.SGD(), variable()
    with pytest.raises(ValueError, match="on an optimizer that has not yet been built"):
        opt.set_weights([])
    opt.build([var])
    opt.set_weights([5])  # a list of another length is no error
    opt.set_weights([6, np.full(3, 2.0), "more"])
    assert (int(opt.iterations), opt.variables[1].numpy().tolist()) == (6, [2, 2, 2])
    with pytest.raises(ValueError, match=r"has shape \(3,\) not compatible with provided weight"):
        opt.set_weights([7, np.ones(2)])
    assert int(opt.iterations) == 6
    with caplog.at_level(logging.WARNING, "slotwise"):
        opt.load_own_variables({"0": 1})
    assert "Skipping variable loading for optimizer 'SGD', because it has 2" in caplog.text
    assert int(opt.iterations) == 6


def test_options_that_need_a_slot_are_settled_by_build() -> None:
    for name, option in (("Adam", "amsgrad"), ("RMSprop", "centered"), ("RMSprop", "momentum")):
        opt, var = make(name), variable()
        opt.build([var])
        setattr(opt, option, 1)
        with pytest.raises(ValueError, match="expected the options that slot"):
            opt.apply_gradients([(np.ones(3), var)])
        assert (var.value == 1).all()
    opt, var = optimizers.SGD(), variable()
    opt.apply_gradients([(np.ones(3), var)])
    opt.use_ema = True
    with pytest.raises(ValueError, match="use_ema of 'SGD': expected to be set before"):
        opt.apply_gradients([(np.ones(3), var)])


# ----- what surrounds an update ------------------------------------------------------------------


@every
def test_weight_decay_comes_first(name: str) -> None:
    plain, decaying = make(name, learning_rate=0.5), make(name, learning_rate=0.5)
    decaying.weight_decay = 0.5
    plain.weight_decay = None
    a, b = Variable(np.full(3, 0.75)), Variable(np.full(3, 1.0))
    for opt, var in ((plain, a), (decaying, b)):
        opt.apply_gradients([(np.array([1.0, -2.0, 3.0]), var)])
    assert np.array_equal(a, b)


def test_exclusions() -> None:
    opt = optimizers.SGD(0.5, weight_decay=0.5)
    by_name, by_identity, other = (variable(name=name) for name in ("my_bias", "x", "y"))
    opt.exclude_from_weight_decay([other])
    opt.exclude_from_weight_decay([by_identity], ["bias$"])  # replaces the former
    pairs = [(np.zeros(3), var) for var in (by_name, by_identity, other)]
    opt.apply_gradients(pairs)
    assert [v.value[0] for v in (by_name, by_identity, other)] == [1, 1, 0.75]
    with pytest.raises(ValueError, match="can only be configued before the optimizer is built"):
        opt.exclude_from_weight_decay(var_names=["w"])


@every
def test_averages(name: str) -> None:
    opt = make(name, learning_rate=0.1, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=3)
    plain, a, b = make(name, learning_rate=0.1), variable(), variable()
    average = a.numpy()
    for step, g in enumerate(gradients(5)):
        opt.apply_gradients([(g, a)])
        plain.apply_gradients([(g, b)])
        average = 0.75 * average + 0.25 * b.value
        if step == 2:
            b.assign(average)
        np.testing.assert_allclose(opt.variables[1], average, rtol=1e-12)
        np.testing.assert_allclose(a, b, rtol=1e-12)
    opt.finalize_variable_values([a])
    np.testing.assert_allclose(a, average, rtol=1e-12)
    plain.finalize_variable_values([b])  # has no averages: nothing
    assert not np.array_equal(a, b)


def test_one_kind_of_clipping_is_done() -> None:
    g = np.array([3.0, 4.0])
    for kwargs, expected in (
        ({"clipnorm": 1.0, "clipvalue": 0.1}, [0.6, 0.8]),
        ({"global_clipnorm": 1.0, "clipvalue": 0.1}, [0.6, 0.8]),
        ({"clipnorm": 0.0, "clipvalue": 0.5}, [0.5, 0.5]),
        ({"clipnorm": -1.0}, [3.0, 4.0]),
        ({"clipvalue": 0.0}, [3.0, 4.0]),
    ):
        var = Variable(np.zeros(2))
        optimizers.SGD(1.0, **kwargs).apply_gradients([(g, var)])
        np.testing.assert_allclose(var, [-x for x in expected])


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@every
def test_constraints_come_last(name: str, kind: str) -> None:
    seen = []

    def constraint(var: Any) -> Any:
        seen.append(var.name)
        return np.maximum(var, 0.999)

    g = np.ones(3) if kind == "dense" else IndexedSlices(np.ones(3), np.arange(3), (3,))
    opt = make(name, learning_rate=0.5, use_ema=True, ema_momentum=0.0)
    var, other = variable(constraint=constraint, name="a"), variable(name="b")
    for _ in range(2):
        opt.apply_gradients([(g, var), (g, other)])
    assert seen == ["a", "a"]
    assert (var.value >= 0.999).all()
    assert (opt.variables[1].value < 0.999).any()  # the average is of what was not constrained


@every
def test_a_repeated_variable_is_updated_twice(name: str) -> None:
    opt, var = make(name, learning_rate=0.1, weight_decay=0.1, use_ema=True), variable(2)
    opt.build([var])
    before = var.numpy()
    opt.apply_gradients([(np.ones(2), var), (np.array([-2.0, 1.0]), var)])
    assert int(opt.iterations) == 1
    assert not np.array_equal(var, before)


@every
def test_bare_arrays(name: str) -> None:
    array, var = np.ones(3), variable()
    mine, its = make(name), make(name)
    for g in gradients(3):
        mine.apply_gradients([(g, array)])
        its.apply_gradients([(g, var)])
    assert np.array_equal(array, var)


# ----- sparse ------------------------------------------------------------------------------------


def changed_rows(opt: Any, table: Variable) -> Any:
    """The rows of the table and its slots that a sparse gradient of rows 0 and 2 changes."""
    opt.apply_gradients([(np.ones((4, 2)), table)])
    if isinstance(opt, legacy.Optimizer):
        slots = [opt.get_slot(table, name) for name in opt.get_slot_names()]
    else:
        slots = [slot for slot in opt.variables[1:] if slot.shape == table.shape]
    before = [table.numpy(), *(slot.numpy() for slot in slots)]
    slices = IndexedSlices(np.full((3, 2), 0.5), np.array([2, 0, 2]), (4, 2))
    opt.apply_gradients([(slices, table)])
    after = [table.numpy(), *(slot.numpy() for slot in slots)]
    return [(a != b).any(axis=1) for a, b in zip(before, after, strict=True)]


@pytest.mark.parametrize("row", slotwise.support_matrix(), ids=lambda row: str([*row.values()]))
def test_the_support_matrix_is_true(row: dict[str, Any]) -> None:
    classes = legacy if row["api"] == "legacy" else optimizers
    cls = getattr(classes, row["optimizer"])
    shrinking = {"l2_shrinkage_regularization_strength": 0.1}  # or a gradient of 0 does nothing
    shrinks = row["optimizer"] == "Ftrl" and row["sparse"] != "deferred"  # which refuses it
    options = {**row["options"], **(shrinking if shrinks else {})}
    opt = cls(sparse=row["sparse"], learning_rate=0.1, **options)
    opt.weight_decay = None if row["optimizer"] != "Lamb" else 0.1
    changed = changed_rows(opt, Variable(np.random.default_rng(1).standard_normal((4, 2))))
    assert changed[0][[0, 2]].all()
    # Without momentum, a gradient of 0 moves no weight.
    is_fixed = row["optimizer"] == "Ftrl" and not shrinks
    still = row["optimizer"] == "Adafactor" or row["options"] == {"momentum": 0.0} or is_fixed
    assert (row["variable"] == "whole" and not still) == changed[0][[1, 3]].any()
    slots = np.array(changed[1:], bool).reshape(-1, 4)
    assert (row["slots"] == "whole" and not is_fixed) == slots[:, [1, 3]].any()


@pytest.mark.parametrize("sparse_decay", ["touched", "whole"])
@pytest.mark.parametrize("name", LAZY)
def test_decay_and_averages_of_rows(name: str, sparse_decay: str) -> None:
    settings = {"weight_decay": 0.5, "use_ema": True, "ema_momentum": 0.5}
    opt = make(name, learning_rate=0.1, sparse="lazy", sparse_decay=sparse_decay, **settings)
    table = Variable(np.ones((4, 2)))
    slices = IndexedSlices(np.full((3, 2), 0.5), np.array([2, 0, 2]), (4, 2))
    opt.apply_gradients([(slices, table)])
    average = opt.variables[1].value
    others = {"touched": (1.0, 1.0), "whole": (0.95, 0.975)}[sparse_decay]
    np.testing.assert_allclose(table.value[[1, 3]], others[0], rtol=1e-7)
    np.testing.assert_allclose(average[[1, 3]], others[1], rtol=1e-7)
    np.testing.assert_allclose(average, 0.5 + 0.5 * table.value, rtol=1e-12)


def test_sparse_modes_in_configs() -> None:
    assert "sparse" not in optimizers.Adam().get_config()
    lazy = optimizers.Adam(sparse="lazy")
    assert lazy.sparse_decay == "touched"
    assert "sparse_decay" not in lazy.get_config()
    whole = optimizers.Adam(sparse="lazy", sparse_decay="whole")
    again = optimizers.Adam.from_config(whole.get_config())
    assert (again.sparse, again.sparse_decay) == ("lazy", "whole")


@pytest.mark.parametrize("name", ["Adadelta", "Nadam", "Ftrl", "Adafactor"])
def test_dense_shapes_that_are_needed(name: str) -> None:
    opt, var = make(name), variable()
    slices = IndexedSlices(np.ones(1), np.array([0]))
    with pytest.raises(ValueError, match="Tensor conversion requested for IndexedSlices"):
        opt.apply_gradients([(slices, var)])
    assert (var.value == 1).all()
    if name in LAZY:
        make(name, sparse="lazy").apply_gradients([(slices, var)])
    optimizers.Adam().apply_gradients([(slices, var)])


@every
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sparse_gradients_of_all_rows_are_dense_ones(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    start, ids = rng.standard_normal((5, 2)).astype(dtype), rng.permutation(5)
    settings: dict[str, Any] = {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 3}
    for mode in ("keras", "lazy") if name in LAZY else ("keras",):
        dense, sparse = (Variable(start.copy()) for _ in range(2))
        a, b = (make(name, sparse=mode, **settings) for _ in range(2))
        for _ in range(4):
            g = rng.standard_normal((5, 2)).astype(dtype)
            a.apply_gradients([(g, dense)])
            b.apply_gradients([(IndexedSlices(g[ids], ids, (5, 2)), sparse)])
        assert np.array_equal(dense, sparse)


# ----- gradients of a loss -----------------------------------------------------------------------


def test_minimize() -> None:
    opt, var = optimizers.SGD(0.5), Variable(1.0)
    assert opt.minimize(lambda: var * var / 2, lambda: [var]) is None
    assert float(var) == 0.5
    with slotwise.GradientTape() as tape:
        loss = var * var
    assert float(opt.compute_gradients(loss, [var], tape)[0][0]) == 1.0
    with pytest.raises(ValueError, match="`tape` is required when a `Tensor` loss is passed"):
        opt.minimize(loss, [var])
    with pytest.raises(TypeError, match=r"expected a list of slotwise\.Variables, got Variable"):
        opt.minimize(lambda: var * var, var)


# ----- configs and the registry ------------------------------------------------------------------


class Mine(optimizers.SGD):
    pass


@every
def test_configs(name: str) -> None:
    config = make(name).get_config()
    assert list(config)[:10] == [
        *("name", "weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "use_ema"),
        *("ema_momentum", "ema_overwrite_frequency", "jit_compile", "is_legacy_optimizer"),
    ]
    assert list(config)[10] == "learning_rate"
    assert config["is_legacy_optimizer"] is False
    opt = make(name, learning_rate=schedules.CosineDecay(0.5, 10), clipvalue=0.5, use_ema=True)
    config = opt.get_config()
    kept = copy.deepcopy(config)
    assert type(opt).from_config(config).get_config() == config
    assert config == kept
    for use_legacy_format in (False, True):
        data = json.loads(json.dumps(optimizers.serialize(opt, use_legacy_format)))
        assert data["class_name"] == ("Custom>" if use_legacy_format else "") + name
        again = optimizers.deserialize(data)
        assert type(again) is type(opt)
        assert again.get_config() == opt.get_config()
        assert type(optimizers.get(data)) is type(opt)
    assert type(optimizers.get(name.lower())) is type(opt)
    assert optimizers.get(opt) is opt


def test_families() -> None:
    def family(config: dict[str, Any], name: str = "Adam", **kwargs: Any) -> str:
        opt = optimizers.deserialize({"class_name": name, "config": config}, **kwargs)
        return "legacy" if isinstance(opt, legacy.Optimizer) else "current"

    assert family({}) == "current"
    assert family({}, use_legacy_optimizer=True) == "legacy"
    assert family({"learning_rate": 0.1}) == "legacy"
    assert family({"is_legacy_optimizer": False}) == "current"
    assert family({"learning_rate": 0.1}, "Lion") == "current"  # there is no other
    assert family({}, "ExperimentalSGD", use_legacy_optimizer=True) == "current"
    with pytest.raises(TypeError, match="is_legacy_optimizer"):
        family({"is_legacy_optimizer": True})
    with pytest.raises(TypeError, match=r"Invalid keyword arguments: \{'foo': 1\}"):
        family({}, foo=1)


def test_classes_of_ones_own() -> None:
    data = optimizers.serialize(Mine(0.5))
    assert data is not None
    assert (data["module"], data["registered_name"]) == (None, "Mine")
    assert type(optimizers.deserialize(data, {"Mine": Mine})) is Mine
    assert optimizers.serialize(Mine(), use_legacy_format=True)["class_name"] == "Mine"


@pytest.mark.parametrize("name", OF_KERAS)
def test_conversion_to_legacy(name: str) -> None:
    class Rate(schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> float:
            return 0.5

        def get_config(self) -> dict[str, Any]:
            return {}

    rate = 0.5 if name == "Nadam" else Rate()
    opt = make(name, learning_rate=rate, clipnorm=0.5, use_ema=True, sparse_decay="whole")
    if not hasattr(legacy, name):
        with pytest.raises(ValueError, match=f"Unknown optimizer: '{name}'"):
            optimizers.convert_to_legacy_optimizer(opt)
        return
    old = optimizers.convert_to_legacy_optimizer(opt)
    assert type(old) is getattr(legacy, name)
    assert old.clipnorm == 0.5
    assert old.learning_rate is rate or name == "Nadam"
    with pytest.raises(ValueError, match="should only be called on instances of"):
        optimizers.convert_to_legacy_optimizer(old)


# ----- an optimizer of one's own -----------------------------------------------------------------


class Plain(optimizers.Optimizer):
    """Gradient descent, by hand."""

    def __init__(self, learning_rate: Any = 0.5, name: str = "Plain", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.log: list[Any] = []

    def build(self, var_list: Any) -> None:
        super().build(var_list)
        if self._built:
            return
        self.counts = [self.add_variable_from_reference(var, "count") for var in var_list]
        self._built = True

    def update_step(self, gradient: Any, variable: Any) -> None:
        self.counts[self._index_dict[self._var_key(variable)]].assign_add(np.ones(variable.shape))
        if isinstance(gradient, IndexedSlices):
            self.log.append(gradient.indices.tolist())
            variable.value[gradient.indices] -= self.learning_rate * gradient.values
        else:
            variable.assign_sub(self.learning_rate * gradient)


def test_an_optimizer_of_ones_own_is_as_one_built_in() -> None:
    settings: dict[str, Any] = {
        **{"clipnorm": 0.5, "weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 2},
    }
    rate = schedules.InverseTimeDecay(0.5, 1, 1.0)
    results = []
    for cls in (Plain, optimizers.SGD):
        opt = cls(rate, **settings)
        opt.exclude_from_weight_decay(var_names=["b"])
        a = variable(name="a", constraint=lambda w: np.minimum(w, 0.9))
        b = Variable(np.ones((3, 1)), name="b")
        for g in gradients(4):
            slices = IndexedSlices(g.reshape(3, 1), np.array([2, 0, 2]), (3, 1))
            opt.apply_gradients([(g, a), (slices, b)])
        results.append([a.numpy(), b.numpy(), *(v.numpy() for v in opt.variables[1:3])])
        if cls is Plain:
            assert opt.log == [[2, 0]] * 4
            assert opt.variables[3].numpy().tolist() == [4, 4, 4]
    for mine, its in zip(*results, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-12)


def test_a_base_optimizer_needs_a_rate_and_an_update() -> None:
    with pytest.raises(ValueError, match="Missing learning rate"):  # by default, weights decay by 0
        optimizers.Optimizer("base").apply_gradients([(np.ones(3), variable())])
    with pytest.raises(NotImplementedError, match="Must be implemented in subclasses"):
        optimizers.Optimizer("base", None).apply_gradients([(np.ones(3), variable())])


@every
def test_overridden_updates_may_call_the_built_in_ones(name: str) -> None:
    log: list[Any] = []

    class Logged(getattr(optimizers, name)):
        def update_step(self, gradient: Any, variable: Any) -> None:
            log.append(variable.name)
            super().update_step(gradient, variable)

    settings: dict[str, Any] = {"use_ema": True, "ema_overwrite_frequency": 2, "clipvalue": 0.5}
    tables = [[variable(4, name="a"), variable(4, name="b")] for _ in range(2)]
    both = [cls(learning_rate=0.1, **settings) for cls in (Logged, getattr(optimizers, name))]
    rng = np.random.default_rng(0)
    for _ in range(3):
        g, values = rng.standard_normal(4), rng.standard_normal(3)
        slices = IndexedSlices(values, np.array([3, 1, 3]), (4,))
        for opt, (a, b) in zip(both, tables, strict=True):
            opt.apply_gradients([(g, a), (slices, b)])
    assert log == ["a", "b"] * 3
    for mine, its in zip(*tables, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-12)


def test_aggregation_is_a_hook() -> None:
    class Doubled(optimizers.SGD):
        def aggregate_gradients(self, grads_and_vars: Any) -> Any:
            return [(2 * g, var) for g, var in super().aggregate_gradients(grads_and_vars)]

    opt, var = Doubled(0.25), variable()
    opt.apply_gradients([(np.ones(3), var)])
    assert var.value[0] == 0.5
    opt.apply_gradients([(np.ones(3), var)], skip_gradients_aggregation=True)
    assert var.value[0] == 0.25
    opt.apply_gradients([(np.ones(3), var)], experimental_aggregate_gradients=False)
    assert var.value[0] == 0.0


@pytest.mark.parametrize("centered", [False, True])
def test_a_spike_in_float16_does_not_destroy_weights(centered: bool) -> None:
    """The mean of squares overflows; Keras's is infinite then, too, and its weight rests."""
    var = Variable(np.ones(3, np.float16), name="w")
    opt = optimizers.RMSprop(0.01, momentum=0.9, centered=centered)
    for g in (1.0, 30000.0, -2.0, 60000.0, 0.5, 0.0):
        opt.apply_gradients([(np.array([g, 1.0, -g], np.float16), var)])
    assert np.isfinite(var.value).all()
    assert np.isposinf(opt.variables[1].value).tolist() == [True, False, True]


def test_averages_that_were_made_later_are_seen() -> None:
    """Steps of variables that were known without them see them."""
    opt = optimizers.SGD(0.5, ema_momentum=0.5)
    a, b = (Variable(np.ones(2, np.float32), name=name) for name in "ab")
    grad = np.ones(2, np.float32)
    opt.apply_gradients([(grad, a)])
    opt.use_ema = True
    opt.build([a, b])
    opt.apply_gradients([(grad, a)])
    averages = {x.name: x.numpy() for x in opt.variables if x.name.startswith("average")}
    np.testing.assert_array_equal(averages["average/a"], [0.25, 0.25])
    np.testing.assert_array_equal(a.numpy(), [0.0, 0.0])


@pytest.mark.parametrize("amsgrad", [False, True])
def test_an_adaptive_epsilon_is_added_where_the_paper_adds_it(amsgrad: bool) -> None:
    """To the root of v / (1 - beta_2^t), not to the root of v."""
    rate, beta_1, beta_2, epsilon = 0.125, 0.8, 0.9, 0.5
    opt = optimizers.Adam(
        np.float64(rate),
        np.float64(beta_1),
        np.float64(beta_2),
        np.float64(epsilon),
        amsgrad=amsgrad,
        adaptive_epsilon=True,
    )
    rng = np.random.default_rng(0)
    var = Variable(rng.standard_normal(9), name="var")
    expected, m, v, most = var.numpy().copy(), np.zeros(9), np.zeros(9), np.zeros(9)
    for t in range(1, 9):
        grad = rng.standard_normal(9) / t
        opt.apply_gradients([(grad, var)])
        m = beta_1 * m + (1 - beta_1) * grad
        v = beta_2 * v + (1 - beta_2) * grad**2
        most = np.maximum(most, v)
        second = (most if amsgrad else v) / (1 - beta_2**t)
        expected -= rate * m / (1 - beta_1**t) / (np.sqrt(second) + epsilon)
        np.testing.assert_allclose(var.value, expected, rtol=1e-12, atol=1e-14)
