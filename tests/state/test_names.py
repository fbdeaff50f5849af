# SPDX-License-Identifier: Apache-2.0
"""Names, mismatches, configs: what fits, what does not, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.optimizers import legacy, schedules


def trained(
    make: Any = legacy.Adam, names: Any = ("emb", "w"), dtype: Any = np.float32, **kwargs: Any
) -> Any:
    variables = [Variable(np.ones((4, 3), dtype), name=name) for name in names]
    opt = make(**kwargs)
    for step in range(2):
        opt.apply_gradients(
            [(np.full((4, 3), step + i, dtype), v) for i, v in enumerate(variables)]
        )
    return opt, variables


def zeros(variables: Any) -> Any:
    return [Variable(np.zeros_like(v.value), name=v.name) for v in variables]


def check_same(a: Any, b: Any) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.pop("config") == second.pop("config")
    assert first.keys() == second.keys()
    for name, x in first.items():
        np.testing.assert_array_equal(x, second[name])


def test_state_dict_is_by_name() -> None:
    opt, _ = trained()
    found = opt.state_dict()
    names = ["iterations", "learning_rate", "beta_1", "beta_2", "emb/m", "w/m", "emb/v", "w/v"]
    assert sorted(found) == sorted([*names, "config"])
    assert found["config"]["class_name"] == "Adam"
    assert found["emb/m"] is opt.weights[1].value


def test_order_does_not_matter(tmp_path: Path) -> None:
    opt, variables = trained()
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)
    other, new = legacy.Adam(), zeros(variables)
    slotwise.load(tmp_path / "x", optimizer=other, variables=new[::-1])
    check_same(opt, other)
    for a, b in zip(variables, new, strict=True):
        np.testing.assert_array_equal(a.value, b.value)


def test_load_state_dict_into_a_new_optimizer() -> None:
    opt, variables = trained(amsgrad=True)
    other = legacy.Adam(amsgrad=True)
    report = other.load_state_dict(opt.state_dict(), variables=variables)
    assert not report and str(report) == "everything fits"
    check_same(opt, other)


def test_hidden_state_and_changed_numbers_are_restored() -> None:
    opt, variables = trained(legacy.Nadam)
    opt.learning_rate = 0.25
    other = legacy.Nadam()
    other.load_state_dict(opt.state_dict(), variables=variables)
    assert float(other.learning_rate) == 0.25
    assert opt.state_dict()["momentum_cache"] == other.state_dict()["momentum_cache"] != 1


def test_loss_scale_is_restored(tmp_path: Path) -> None:
    inner, variables = trained(legacy.SGD, momentum=0.5)
    opt = optimizers.LossScaleOptimizer(inner, initial_scale=64.0)
    opt.get_scaled_loss(1.0), opt.get_unscaled_gradients([])
    opt.apply_gradients([(np.full((4, 3), np.inf, np.float32), variables[0])])
    opt.apply_gradients([(np.ones((4, 3), np.float32), variables[0])])
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)
    state = slotwise.load(tmp_path / "x", optimizer="saved", variables=zeros(variables))
    assert isinstance(state.optimizer, optimizers.LossScaleOptimizer)
    assert float(state.optimizer.loss_scale) == 32 and int(state.optimizer.dynamic_counter) == 1
    check_same(opt, state.optimizer)


def test_only_variables_or_only_the_optimizer(tmp_path: Path) -> None:
    opt, variables = trained()
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)
    new = zeros(variables)
    assert slotwise.load(tmp_path / "x", variables=new).optimizer is None
    np.testing.assert_array_equal(new[0].value, variables[0].value)
    other = legacy.Adam()
    other.apply_gradients([(np.ones((4, 3), np.float32), v) for v in zeros(variables)])
    slotwise.load(tmp_path / "x", optimizer=other)
    check_same(opt, other)


def test_bare_arrays_have_the_names_of_the_dict(tmp_path: Path) -> None:
    w, b = np.ones(3), np.ones(2)
    opt = legacy.SGD(momentum=0.5)
    opt.apply_gradients([(w * 2, w), (b * 3, b)])
    with pytest.raises(ValueError, match=r"for: variable of shape \(3,\), .* \(2,\); pass a dict"):
        opt.state_dict()
    slotwise.save(tmp_path / "x", optimizer=opt, variables={"w": w, "b": b})
    assert (
        slotwise.load_array(tmp_path / "x", "b/momentum").tolist()
        == opt.get_slot(b, "momentum").numpy().tolist()
    )
    new = {"w": np.zeros(3), "b": np.zeros(2)}
    other = legacy.SGD(momentum=0.5)
    slotwise.load(tmp_path / "x", optimizer=other, variables=new)
    np.testing.assert_array_equal(other.get_slot(new["b"], "momentum"), opt.get_slot(b, "momentum"))


def test_a_variable_named_like_a_slot() -> None:
    opt, _ = trained(names=("emb", "emb/m"))
    assert "emb/m/v" in opt.state_dict()
    emb, clash = Variable(np.ones(2), name="emb"), Variable(np.ones(2), name="emb/m")
    with pytest.raises(ValueError, match=r"several of \['emb/m'\]"):
        opt = legacy.Adam()
        opt.apply_gradients([(np.ones(2), emb)])
        slotwise.save("never", optimizer=opt, variables=[emb, clash])


def mismatched(tmp_path: Path) -> Any:
    opt, variables = trained()
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)
    new = [
        Variable(np.zeros((5, 3), np.float32), name="emb"),
        Variable(np.zeros((4, 3)), name="w"),
        Variable(np.zeros(3), name="new"),
    ]
    return tmp_path / "x", new


def test_strict_names_all_that_does_not_fit_and_writes_nothing(tmp_path: Path) -> None:
    path, new = mismatched(tmp_path)
    with pytest.raises(ValueError, match="missing: new") as error:
        slotwise.load(path, optimizer=legacy.Adam(), variables=new)
    for part in (
        r"emb: expected shape (5, 3) of float32, got (4, 3) of float32",
        r"w: expected shape (4, 3) of float64, got (4, 3) of float32",
        r"emb/m: expected shape (5, 3)",
    ):
        assert part in str(error.value)
    assert not any(v.value.any() for v in new)


def test_not_strict_reports_and_loads_the_rest(tmp_path: Path) -> None:
    path, new = mismatched(tmp_path)
    opt = legacy.Adam()
    report = slotwise.load(path, optimizer=opt, variables=new, strict=False).report
    assert report.missing == ["new"] and not report.unexpected
    assert sorted(report.mismatched) == ["emb", "emb/m", "emb/v", "w", "w/m", "w/v"]
    assert int(opt.iterations) == 2
    assert not any(v.value.any() for v in new)
    report = slotwise.load(path, optimizer=legacy.Adam(), variables=[], strict=False).report
    assert sorted(report.unexpected) == ["emb", "emb/m", "emb/v", "w", "w/m", "w/v"]


def test_renamed(tmp_path: Path) -> None:
    opt, variables = trained()
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)
    new = {"table": np.zeros((4, 3), np.float32), "w": np.zeros((4, 3), np.float32)}
    other = legacy.Adam()
    slotwise.load(tmp_path / "x", optimizer=other, variables=new, rename={"emb": "table"})
    np.testing.assert_array_equal(new["table"], variables[0].value)
    np.testing.assert_array_equal(
        other.get_slot(new["table"], "v"), opt.get_slot(variables[0], "v")
    )
    with pytest.raises(ValueError, match="rename: expected names that differ"):
        slotwise.load(tmp_path / "x", variables=new, rename={"emb": "w"})


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (legacy.Adam(epsilon=0.5), r"config\.epsilon: the state has 1e-07, the optimizer 0\.5"),
        (legacy.Adam(clipnorm=1.0), r"config\.clipnorm: the state has None, the optimizer 1\.0"),
        (legacy.Adam(decay=0.5), r"config\.decay"),
        (legacy.Adam(sparse="lazy"), r"config\.sparse"),
        (legacy.Adam(amsgrad=True), r"missing: .*emb/vhat.*config\.amsgrad"),
        (legacy.Adam(schedules.CosineDecay(0.1, 9)), "unexpected: learning_rate"),
        (legacy.Adamax(), "class_name: the state has 'Adam', the optimizer 'Adamax'"),
        (legacy.Adam(np.float64(0.1)), "learning_rate: expected shape .* of float64"),
    ],
)
def test_settings_that_differ(other: Any, what: Any) -> None:
    opt, variables = trained()
    with pytest.raises(ValueError, match=what):
        other.load_state_dict(opt.state_dict(), variables=variables)


def test_schedules_that_differ() -> None:
    opt, variables = trained(learning_rate=schedules.CosineDecay(0.1, 9))
    same = legacy.Adam(schedules.CosineDecay(0.1, 9, name="x"))
    same.load_state_dict(opt.state_dict(), variables=variables)
    with pytest.raises(ValueError, match=r"learning_rate\.config\.decay_steps: the state has 9"):
        legacy.Adam(schedules.CosineDecay(0.1, 8)).load_state_dict(
            opt.state_dict(), variables=variables
        )


def test_callables_are_the_callers() -> None:
    opt, variables = trained(learning_rate=lambda: 0.5)
    assert "learning_rate" not in opt.state_dict()
    legacy.Adam(lambda: 0.25).load_state_dict(opt.state_dict(), variables=variables)


def test_slots_that_the_state_lacks_are_missing() -> None:
    opt, _ = trained()
    fresh = legacy.Adam()
    with pytest.raises(ValueError, match="missing: emb/m"):
        opt.load_state_dict(fresh.state_dict())
    assert int(opt.iterations) == 2


class Mine(legacy.Optimizer):
    """An optimizer of one's own, by hooks."""

    def __init__(self, learning_rate: Any = 0.5, name: Any = "Mine", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._set_hyper("learning_rate", learning_rate)

    def _create_slots(self, var_list: Any) -> None:
        for var in var_list:
            self.add_slot(var, "sum")
            self.add_slot(var, "count", shape=())

    def _resource_apply_dense(self, grad: Any, var: Any, apply_state: Any = None) -> None:
        self.get_slot(var, "sum").assign_add(grad)
        self.get_slot(var, "count").assign_add(1)
        var.assign_sub(self._decayed_lr(var.dtype) * grad)

    def _resource_apply_sparse(
        self, grad: Any, var: Any, indices: Any, apply_state: Any = None
    ) -> None:
        var.value[indices] -= grad

    def get_config(self) -> Any:
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter("learning_rate"),
        }


class Halved(schedules.LearningRateSchedule):
    def __init__(self, rate: Any) -> None:
        self.rate = rate

    def __call__(self, step: Any) -> Any:
        return self.rate / (1 + step)

    def get_config(self) -> Any:
        return {"rate": self.rate}


def test_custom_classes_need_custom_objects(tmp_path: Path) -> None:
    opt, variables = trained(Mine, learning_rate=Halved(0.5))
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)
    given = {"optimizer": "saved", "variables": zeros(variables)}
    with pytest.raises(ValueError, match="Unknown optimizer: 'Mine'"):
        slotwise.load(tmp_path / "x", **given)
    with pytest.raises(ValueError, match="Unknown decay: 'Halved'"):
        slotwise.load(tmp_path / "x", **given, custom_objects={"Mine": Mine})
    classes = {"Mine": Mine, "Halved": Halved}
    state = slotwise.load(tmp_path / "x", **given, custom_objects=classes)
    check_same(opt, state.optimizer)
    slotwise.load(tmp_path / "x", optimizer=Mine(Halved(0.5)), variables=zeros(variables))


def test_arrays_that_cannot_be_written(tmp_path: Path) -> None:
    slotwise.save(tmp_path / "x", variables={"w": np.ones(3)})
    w = np.zeros(3)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="'w': expected a writable array"):
        slotwise.load(tmp_path / "x", variables={"w": w})
    with pytest.raises(ValueError, match="verify: expected"):
        slotwise.load(tmp_path / "x", verify="after")
    with pytest.raises(ValueError, match="mmap: expected False with variables"):
        slotwise.load(tmp_path / "x", variables={}, mmap=True)
    with pytest.raises(ValueError, match="optimizer: expected 'saved'"):
        slotwise.load(tmp_path / "x", optimizer="adam")


def test_sparse_steps_after_loading_meet_the_loaded_slots(tmp_path: Path) -> None:
    opt, variables = trained(legacy.Adagrad)
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)
    new, other = zeros(variables), legacy.Adagrad()
    slotwise.load(tmp_path / "x", optimizer=other, variables=new)
    for o, (emb, _) in ((opt, variables), (other, new)):
        o.apply_gradients([(IndexedSlices(np.ones((1, 3), np.float32), np.array([2])), emb)])
    check_same(opt, other)
    np.testing.assert_array_equal(variables[0].value, new[0].value)


def test_what_load_returns_has_its_former_name() -> None:
    assert slotwise.state.State is slotwise.state.Loaded
