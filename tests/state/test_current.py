# SPDX-License-Identifier: Apache-2.0
"""State of the current API by name; see test_names.py for what both have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers import schedules

SHAPE = (4, 3)


def variables(names: Any = ("emb", "w"), fill: Any = 1.0) -> Any:
    return [Variable(np.full(SHAPE, fill, np.float32), name=name) for name in names]


def step(opt: Any, own: Any, number: Any = 0) -> None:
    opt.apply_gradients([(np.full(SHAPE, number + i, np.float32), v) for i, v in enumerate(own)])


def trained(make: Any = optimizers.Adam, names: Any = ("emb", "w"), **kwargs: Any) -> Any:
    own, opt = variables(names), make(**kwargs)
    for number in range(2):
        step(opt, own, number)
    return opt, own


def check_same(a: Any, b: Any) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.pop("config") == second.pop("config")
    assert first.keys() == second.keys()
    for name, x in first.items():
        np.testing.assert_array_equal(x, second[name])
    for x, y in zip(a.variables, b.variables, strict=True):
        assert x.name == y.name
        np.testing.assert_array_equal(x, y)


def test_state_dict_is_by_name() -> None:
    opt, _ = trained(use_ema=True)
    found = opt.state_dict()
    slots = [f"{v}/{slot}" for v in ("emb", "w") for slot in ("average", "m", "v")]
    assert sorted(found) == sorted(["iterations", "learning_rate", *slots, "config"])
    assert found["config"]["config"]["is_legacy_optimizer"] is False
    assert found["emb/m"] is opt.variables[3].value


def test_shapes_of_adafactor() -> None:
    found = trained(optimizers.Adafactor)[0].state_dict()
    shapes = {name: found[f"emb/{name}"].shape for name in "rcv"}
    assert shapes == {"r": (4,), "c": (3,), "v": SHAPE}


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("make", [optimizers.Adam, optimizers.Nadam, optimizers.SGD])
def test_into_new_variables_in_another_order(tmp_path: Path, make: Any, built: Any) -> None:
    opt, own = trained(make, use_ema=True)
    opt.learning_rate = 0.25
    slotwise.save(tmp_path / "x", optimizer=opt, variables=own)
    other, new = make(use_ema=True), variables(fill=0.0)
    if built:
        other.build(new)
        step(other, new, 5)
    slotwise.load(tmp_path / "x", optimizer=other, variables=new[::-1])
    check_same(opt, other)  # in the order of the optimizer that was saved
    step(opt, own, 3)
    step(other, new, 3)
    check_same(opt, other)
    for a, b in zip(own, new, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_nadam_hides_is_restored() -> None:
    opt, own = trained(optimizers.Nadam)
    other = optimizers.Nadam()
    other.load_state_dict(opt.state_dict(), variables=own)
    assert other.state_dict()["u_product"] == opt.state_dict()["u_product"] != 1
    assert other.state_dict()["u_product_counter"] == 3
    assert "u_product" not in [v.name for v in other.variables]


def test_more_variables_than_it_is_built_with() -> None:
    opt, own = trained()
    other = optimizers.Adam()
    other.build(own[:1])
    with pytest.raises(ValueError, match="unexpected: w/m, w/v"):
        other.load_state_dict(opt.state_dict())
    assert int(other.iterations) == 0
    report = other.load_state_dict(opt.state_dict(), strict=False)
    assert report.unexpected == ["w/m", "w/v"] and int(other.iterations) == 2
    assert not other.load_state_dict(opt.state_dict(), variables=own)
    check_same(opt, other)


def test_fewer_variables_than_it_is_built_with() -> None:
    opt, own = trained(names=("emb",))
    other, new = optimizers.Adam(), [*own, *variables(("w",))]
    other.build(new)
    report = other.load_state_dict(opt.state_dict(), strict=False)
    assert report.fresh == ["w"] and not report
    assert str(report) == "everything fits; fresh: w"
    step(other, new)


def test_variables_that_no_optimizer_has_met(tmp_path: Path) -> None:
    opt, own = trained()
    own.append(Variable(np.full(2, 5.0), name="mean"))
    slotwise.save(tmp_path / "x", optimizer=opt, variables=own)
    new = [*variables(fill=0.0), Variable(np.zeros(2), name="mean")]
    state = slotwise.load(tmp_path / "x", optimizer="saved", variables=new)
    assert new[-1].numpy().tolist() == [5, 5]
    check_same(opt, state.optimizer)


def test_before_the_first_step() -> None:
    state = optimizers.Adam(0.5).state_dict()
    assert [*state] == ["iterations", "learning_rate", "config"]
    opt, own = optimizers.Adam(), variables()
    opt.load_state_dict(state, variables=own)
    assert float(opt.learning_rate) == 0.5
    step(opt, own)


def test_bare_arrays_have_the_names_of_the_dict(tmp_path: Path) -> None:
    w, b = np.ones(3), np.ones(2)
    opt = optimizers.SGD(momentum=0.5)
    opt.apply_gradients([(w * 2, w), (b * 3, b)])
    slotwise.save(tmp_path / "x", optimizer=opt, variables={"w": w, "b": b})
    new = {"w": np.zeros(3), "b": np.zeros(2)}
    other = optimizers.SGD(momentum=0.5)
    slotwise.load(tmp_path / "x", optimizer=other, variables=new)
    np.testing.assert_array_equal(other.variables[2], opt.variables[2])
    np.testing.assert_array_equal(new["b"], b)


def test_a_failed_load_writes_nothing(tmp_path: Path) -> None:
    opt, own = trained(use_ema=True)
    slotwise.save(tmp_path / "x", optimizer=opt, variables=own)
    new = [Variable(np.zeros((5, 3), np.float32), name="emb"), *variables(("w",), 0.0)]
    other = optimizers.Adam(use_ema=True)
    with pytest.raises(ValueError, match=r"emb/average: expected shape \(5, 3\)"):
        slotwise.load(tmp_path / "x", optimizer=other, variables=new)
    assert int(other.iterations) == 0
    assert not any(x.value.any() for x in (*new, *other.variables))


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (optimizers.Adam(beta_1=0.5), r"config\.beta_1: the state has 0\.9, the optimizer 0\.5"),
        (optimizers.Adam(weight_decay=0.5), r"config\.weight_decay: the state has None"),
        (optimizers.Adam(use_ema=True), r"missing: emb/average, w/average.*config\.use_ema"),
        (optimizers.Adam(ema_momentum=0.5), r"config\.ema_momentum"),
        (optimizers.Adam(sparse="lazy"), r"config\.sparse"),
        (optimizers.Adam(amsgrad=True), r"missing: .*emb/vhat.*config\.amsgrad"),
        (optimizers.Adam(schedules.CosineDecay(0.1, 9)), "unexpected: learning_rate"),
        (optimizers.AdamW(), "class_name: the state has 'Adam', the optimizer 'AdamW'"),
        (optimizers.legacy.Adam(), r"config\.is_legacy_optimizer: the state has False"),
    ],
)
def test_settings_that_differ(other: Any, what: Any) -> None:
    opt, own = trained()
    with pytest.raises(ValueError, match=what):
        other.load_state_dict(opt.state_dict(), variables=own)


def test_numbers_that_were_set_later_are_settings() -> None:
    opt, own = trained()
    opt.beta_1 = 0.5
    optimizers.Adam(beta_1=0.5).load_state_dict(opt.state_dict(), variables=own)


def test_schedules_stay() -> None:
    opt, own = trained(learning_rate=schedules.CosineDecay(0.1, 9))
    assert "learning_rate" not in opt.state_dict()
    other = optimizers.Adam(schedules.CosineDecay(0.1, 9))
    other.load_state_dict(opt.state_dict(), variables=own)
    step(opt, own)
    step(other, own)
    assert float(opt.learning_rate) == float(other.learning_rate) != np.float32(0.1)
    with pytest.raises(ValueError, match="missing: learning_rate"):
        optimizers.Adam().load_state_dict(opt.state_dict(), variables=own)


def test_loss_scale_is_restored(tmp_path: Path) -> None:
    inner, own = trained(optimizers.SGD, momentum=0.5, use_ema=True)
    opt = optimizers.LossScaleOptimizer(inner, initial_scale=64.0)
    opt.get_scaled_loss(1.0), opt.get_unscaled_gradients([])
    infinite = np.full(SHAPE, np.inf, np.float32)
    opt.apply_gradients([(infinite, own[0])])
    step(opt, own)
    slotwise.save(tmp_path / "x", optimizer=opt, variables=own)
    new = variables(fill=0.0)
    state = slotwise.load(tmp_path / "x", optimizer="saved", variables=new)
    assert type(state.optimizer).__name__ == "LossScaleOptimizerV3"
    assert float(state.optimizer.loss_scale) == 32 and int(state.optimizer.dynamic_counter) == 1
    check_same(opt, state.optimizer)


def test_manager(tmp_path: Path) -> None:
    opt, own = trained()
    manager = slotwise.CheckpointManager(tmp_path, max_to_keep=1)
    manager.save(2, optimizer=opt, variables=own)
    new = variables(fill=0.0)
    check_same(opt, manager.restore_latest(optimizer="saved", variables=new).optimizer)


class Mine(optimizers.Optimizer):
    """An optimizer of one's own, with variables of equal names."""

    def __init__(self, learning_rate: Any = 0.5, name: Any = "Mine", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.factor = self.add_variable((2,), initializer="ones", name="factor")
        self.other = self.add_variable(name="factor")

    def build(self, var_list: Any) -> None:
        super().build(var_list)
        if self._built:
            return
        self.sums = [self.add_variable_from_reference(v, "sum") for v in var_list]
        self.more = [self.add_variable_from_reference(v, "sum", ()) for v in var_list]
        self._built = True

    def update_step(self, gradient: Any, variable: Any) -> None:
        if isinstance(gradient, IndexedSlices):
            variable.value[gradient.indices] -= gradient.values
            return
        i = self._index_of(variable)
        self.sums[i].assign_add(gradient * self.factor.value[1])
        self.more[i].assign_add(1)
        self.other.assign_add(2)
        self.factor.assign_add([1, 2])
        variable.assign_sub(self.learning_rate * self.sums[i])

    def get_config(self) -> Any:
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}


def test_an_optimizer_of_ones_own(tmp_path: Path) -> None:
    opt, own = trained(Mine, use_ema=True)
    names = ["average", "sum", "sum_1"]
    assert [*opt.state_dict()][:4] == ["iterations", "factor", "factor_1", "learning_rate"]
    assert [n for n in opt.state_dict() if "/" in n] == [
        f"{v.name}/{n}" for v in own for n in names
    ]
    slotwise.save(tmp_path / "x", optimizer=opt, variables=own)
    new = variables(fill=0.0)
    given = {"optimizer": "saved", "variables": new, "custom_objects": {"Mine": Mine}}
    other = slotwise.load(tmp_path / "x", **given).optimizer
    check_same(opt, other)
    step(opt, own, 2)
    step(other, new, 2)
    check_same(opt, other)
    np.testing.assert_array_equal(own[1], new[1])


EMA = {"use_ema": True, "ema_overwrite_frequency": 2}


@pytest.mark.parametrize(
    ("make", "kwargs", "all_rows"),
    [
        (optimizers.Adagrad, {}, False),
        (optimizers.Adagrad, {"weight_decay": 0.1}, True),
        (optimizers.Adagrad, EMA, True),
        (optimizers.SGD, {"momentum": 0.5}, True),
        (optimizers.Adam, {"sparse": "lazy"}, False),
        (optimizers.Nadam, {"sparse": "lazy", "weight_decay": 0.1, **EMA}, False),
        (optimizers.AdamW, {"sparse": "lazy", "sparse_decay": "whole"}, True),
        (optimizers.Adam, {"sparse": "lazy", "sparse_decay": "whole", **EMA}, True),
        (Mine, {"weight_decay": 0.1}, True),
        (Mine, {"weight_decay": None, "use_ema": True}, True),
    ],
)
@pytest.mark.parametrize("twice", [False, True])
def test_which_rows_count_as_touched(make: Any, kwargs: Any, all_rows: Any, twice: Any) -> None:
    emb = Variable(np.ones((10, 2), np.float32), name="emb")
    opt = make(**kwargs)
    opt.build([emb])
    touched = slotwise.track(emb)
    slots = {id(emb.value): emb.value} | {id(x): x for x in opt.state_dict().values()}
    slotwise.state._snapshot.count_from(touched, "0", {"emb": emb.value, **_beside(opt)})
    before = {key: np.array(x) for key, x in slots.items()}
    for number in range(2):
        grad = IndexedSlices(np.ones((2, 2), np.float32), np.array([3, number]), emb.shape)
        opt.apply_gradients([(grad, emb)] * (1 + twice))
    assert (touched.rows.size == 10) == all_rows
    for x in (emb.value, *_beside(opt).values()):
        changed = (x != before[id(x)]).reshape(len(x), -1).any(1) if x.ndim == 2 else []
        assert set(np.flatnonzero(changed)) <= set(touched.rows.tolist())


def _beside(opt: Any) -> Any:
    return {name: x for name, x in opt.state_dict().items() if "/" in name}


def test_final_values_touch_all_rows() -> None:
    opt, own = trained(use_ema=True)
    touched = slotwise.track(own[0])
    opt.finalize_variable_values(own)
    assert touched.rows.size == SHAPE[0]
