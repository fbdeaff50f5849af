# SPDX-License-Identifier: Apache-2.0
"""Going on with more, fewer or other variables than were saved, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import Variable, optimizers
from slotwise.optimizers import legacy, schedules
from slotwise.state import StateError

APIS = pytest.mark.parametrize("api", [optimizers, legacy])
ONE = np.ones(2, np.float32)


def fresh(fill: Any = 1.0) -> Any:
    return [Variable(np.full(2, fill, np.float32), name=name) for name in ("head", "body")]


def step(opt: Any, *variables: Any) -> None:
    opt.apply_gradients([(ONE, v) for v in variables])


def slots(opt: Any, name: Any) -> Any:
    return {key: np.array(x) for key, x in opt.state_dict().items() if key.startswith(f"{name}/")}


def body_frozen(tmp_path: Path, make: Any) -> Any:
    head, body = fresh()
    opt = make(0.1)
    for _ in range(3):
        step(opt, head)
    slotwise.save(tmp_path / "x", optimizer=opt, variables=[head, body])
    return opt, head, body


MAKES = [
    optimizers.Adam,
    optimizers.Nadam,
    optimizers.Adagrad,
    optimizers.Ftrl,
    optimizers.Adafactor,
    lambda rate: optimizers.AdamW(rate, use_ema=True),
    lambda rate: optimizers.SGD(rate, momentum=0.9),
    lambda rate: optimizers.LossScaleOptimizer(optimizers.Adam(rate), False, 2.0),
    legacy.Adam,
    legacy.Nadam,
    legacy.Adagrad,
    lambda rate: optimizers.LossScaleOptimizer(legacy.Adam(rate), False, 2.0),
]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("before", ["nothing", "built", "stepped", "stepped long", "through dict"])
def test_what_was_frozen_begins_anew(tmp_path: Path, make: Any, before: Any) -> None:
    """As in the run that was saved, had it gone on."""
    opt, head, body = body_frozen(tmp_path, make)
    new_head, new_body = fresh(5.0)
    other = make(0.1)
    is_current = hasattr(other, "build")
    if before == "built" and is_current:
        other.build([new_head, new_body])
    for _ in range({"stepped": 1, "stepped long": 7}.get(before, 0)):
        step(other, new_head, new_body)
    if before == "through dict":
        slotwise.load(tmp_path / "x", variables=[new_head, new_body])
        report = other.load_state_dict(opt.state_dict(), variables=[new_head, new_body])
    else:
        new = [new_head, new_body]
        report = slotwise.load(tmp_path / "x", optimizer=other, variables=new).report
    assert not report and report.fresh == ["body"]
    assert str(report) == "everything fits; fresh: body"
    if is_current:
        opt.build([head, body])  # what this run has to say, the other does not
    for _ in range(3):
        step(opt, head, body)
        step(other, new_head, new_body)
    for name in ("head", "body"):
        a, b = slots(opt, name), slots(other, name)
        assert a.keys() == b.keys() and a
        for key, x in a.items():
            np.testing.assert_array_equal(x, b[key])
    np.testing.assert_array_equal(head, new_head)
    np.testing.assert_array_equal(body, new_body)


def test_no_slots_are_made_before_they_are_needed(tmp_path: Path) -> None:
    body_frozen(tmp_path, optimizers.Adam)
    head, body = fresh()
    other = optimizers.Adam(0.1)
    slotwise.load(tmp_path / "x", optimizer=other, variables=[head, body])
    step(other, head)
    assert [v.name for v in other.variables] == ["iteration", "m/head", "v/head"]
    stranger = Variable(ONE.copy(), name="stranger")
    with pytest.raises(KeyError, match="'stranger'"):
        step(other, head, stranger)
    slotwise.save(tmp_path / "y", optimizer=other, variables=[head, body])
    step(other, body)
    names = ["iteration", "m/head", "v/head", "m/body", "v/body"]
    assert [v.name for v in other.variables] == names


def test_what_is_not_trained_is_not_fresh(tmp_path: Path) -> None:
    body_frozen(tmp_path, optimizers.Adam)
    head, body = fresh()
    mean = Variable(np.zeros(2, np.float32), trainable=False, name="body")
    report = slotwise.load(
        tmp_path / "x", optimizer=optimizers.Adam(0.1), variables=[head, mean]
    ).report
    assert not report and not report.fresh
    report = slotwise.load(tmp_path / "x", variables=[head, body]).report
    assert not report and not report.fresh


def test_slots_that_somebody_made_are_missing(tmp_path: Path) -> None:
    """What their first value was, is not known."""
    body_frozen(tmp_path, legacy.Adagrad)
    head, body = fresh()
    opt = legacy.Adagrad(0.1)
    opt.add_slot(body, "accumulator", lambda shape, dtype: np.full(shape, 0.5, dtype))
    step(opt, head, body)
    with pytest.raises(ValueError, match="missing: body/accumulator"):
        slotwise.load(tmp_path / "x", optimizer=opt, variables=[head, body])


class Mine(optimizers.Optimizer):
    """One that makes its state once, and for all."""

    def __init__(self, learning_rate: Any = 0.5, name: Any = "Mine", **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def build(self, var_list: Any) -> None:
        super().build(var_list)
        if self._built:
            return
        self.sums = [self.add_variable_from_reference(v, "sum") for v in var_list]
        self._built = True

    def update_step(self, gradient: Any, variable: Any) -> None:
        total = self.sums[self._index_dict[self._var_key(variable)]]
        total.assign_add(gradient)
        variable.assign_sub(self.learning_rate * total)

    def get_config(self) -> Any:
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}


def test_an_optimizer_of_ones_own_is_built_with_all(tmp_path: Path) -> None:
    body_frozen(tmp_path, Mine)
    new_head, new_body = fresh()
    other = Mine(0.1)
    report = slotwise.load(tmp_path / "x", optimizer=other, variables=[new_head, new_body]).report
    assert report.fresh == ["body"]
    assert [v.name for v in other.variables] == ["iteration", "sum/head", "sum/body"]
    step(other, new_head, new_body)
    assert other.state_dict()["body/sum"].tolist() == [1, 1]
    assert other.state_dict()["head/sum"].tolist() == [4, 4]


# ----- a load that fails -------------------------------------------------------------------------


def shape_of(opt: Any) -> Any:
    """What it has met and made."""
    inner = getattr(opt, "inner_optimizer", opt)
    lists = [getattr(inner, name) for name in inner._growing]
    return [len(x) for x in lists], len(inner._variables), getattr(inner, "_built", None)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("how", ["shape", "damaged", "config", "read-only"])
def test_a_load_that_fails_leaves_no_trace(tmp_path: Path, make: Any, how: Any) -> None:
    opt, *_ = body_frozen(tmp_path, make)
    path = tmp_path / "x"
    new, other = fresh(), make(0.1)
    if how == "shape":
        new[1] = Variable(np.zeros(3, np.float32), name="body")
    elif how == "damaged":
        file = next(path.glob("*.safetensors"))
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif how == "config":
        other = make(0.1)
        inner = getattr(other, "inner_optimizer", other)
        inner.clipnorm = 1.0
    elif how == "read-only":
        new[1].value.flags.writeable = False
    assert int(other.iterations) == 0
    before = shape_of(other)
    with pytest.raises((ValueError, StateError)):
        slotwise.load(path, optimizer=other, variables=new)
    assert shape_of(other) == before
    assert int(other.iterations) == 0 and new[0].numpy().tolist() == [1, 1]
    if how in ("shape", "config"):
        state = opt.state_dict()
        if how == "shape":
            state["head/more"] = state["iterations"]
        with pytest.raises(ValueError, match=r"head/more|clipnorm"):
            other.load_state_dict(state, variables=new)
        assert shape_of(other) == before
    third = Variable(ONE.copy(), name="third")
    if how not in ("config", "read-only"):
        step(other, third)  # it may still be built with others


@pytest.mark.parametrize("make", MAKES)
def test_a_save_that_fails_leaves_no_trace(tmp_path: Path, make: Any) -> None:
    """Not even the weights that an optimizer makes when it is first asked for its state."""
    opt, variables = make(0.1), fresh()
    before = shape_of(opt)
    with pytest.raises(TypeError, match="expected what JSON can hold"):
        slotwise.save(tmp_path / "x", optimizer=opt, variables=variables, extra=object())
    with pytest.raises(TypeError, match="expected a dtype among"):
        odd = {"head": np.zeros(2, "M8[s]")}
        slotwise.save(tmp_path / "x", optimizer=opt, variables=odd)
    assert shape_of(opt) == before
    slotwise.save(tmp_path / "x", optimizer=opt, variables=variables)


def test_saved_without_an_optimizer(tmp_path: Path) -> None:
    slotwise.save(tmp_path / "x", variables={"w": np.ones(2)})
    with pytest.raises(ValueError, match="optimizer: expected one, but it was saved without"):
        slotwise.load(tmp_path / "x", optimizer="saved")


# ----- names -------------------------------------------------------------------------------------


@APIS
@pytest.mark.parametrize("several", [False, True])
def test_an_empty_name(tmp_path: Path, api: Any, several: Any) -> None:
    w, opt = Variable(ONE.copy(), name=""), api.Adam(0.1)
    step(opt, w)
    given = {"gen": opt} if several else opt
    for name in ("x", "x.safetensors"):
        slotwise.save(tmp_path / name, optimizer=given, variables=[w])
        v, other = Variable(np.zeros(2, np.float32), name=""), api.Adam(0.1)
        again = {"gen": other} if several else other
        state = slotwise.load(tmp_path / name, optimizer=again, variables=[v])
        assert not state.report
        np.testing.assert_array_equal(w, v)
        found = other.state_dict()
        assert {*found} >= {"/m", "/v"}
        for key, x in opt.state_dict().items():
            np.testing.assert_array_equal(x, found[key])


# ----- what is left out --------------------------------------------------------------------------


@APIS
def test_save_names_what_is_left_out(tmp_path: Path, api: Any) -> None:
    w, emb = np.ones(2, np.float32), Variable(np.ones((3, 2), np.float32), name="emb")
    opt = api.Adam(0.1)
    opt.apply_gradients([(2 * w, w), (np.ones((3, 2), np.float32), emb)])
    for save in (
        lambda given: slotwise.save(tmp_path / "x", optimizer=opt, variables=given),
        lambda given: slotwise.save(tmp_path / "x", optimizer={"a": opt}, variables=given),
        lambda given: slotwise.CheckpointManager(tmp_path).save(1, optimizer=opt, variables=given),
    ):
        with pytest.raises(ValueError, match=r"trains, got none for: variable of shape \(2,\);"):
            save([emb])
        with pytest.raises(ValueError, match=r"got none for: 'emb' \(variable of shape \(3, 2\)\)"):
            save({"w": w})
        with pytest.raises(ValueError, match=r"got none for: variable of shape \(2,\), 'emb'"):
            save([])
        with pytest.raises(ValueError, match=r"a name for every array .* of shape \(2,\)"):
            save(None)
    with pytest.raises(ValueError, match=r"state_dict: variables: .* of shape \(2,\)"):
        opt.state_dict()
    with pytest.raises(ValueError, match=r"state_dict: variables: .* of shape \(2,\)"):
        opt.state_dict([emb])
    assert not any(tmp_path.iterdir())
    slotwise.save(tmp_path / "x", optimizer=opt, variables={"w": w, "emb": emb})
    new = {"w": np.zeros(2, np.float32), "emb": np.zeros((3, 2), np.float32)}
    other = api.Adam(0.1)
    slotwise.load(tmp_path / "x", optimizer=other, variables=new)
    np.testing.assert_array_equal(new["w"], w)
    assert other.state_dict(new).keys() == opt.state_dict({"w": w}).keys()


@APIS
def test_the_state_of_an_optimizer_alone(tmp_path: Path, api: Any) -> None:
    (head, body), opt = fresh(), api.Adam(0.1)
    step(opt, head, body)
    slotwise.save(tmp_path / "x", optimizer=opt)
    other, new = api.Adam(0.1), fresh()
    step(other, *new)
    slotwise.load(tmp_path / "x", optimizer=other)
    for key, x in opt.state_dict().items():
        np.testing.assert_array_equal(x, other.state_dict()[key])


@APIS
def test_what_nobody_else_knows_is_not_missed(tmp_path: Path, api: Any) -> None:
    """A layer that was replaced, say."""
    (head, body), opt = fresh(), api.Adam(0.1)
    step(opt, head, body)
    del body
    slotwise.save(tmp_path / "x", optimizer=opt, variables=[head])


@APIS
def test_parts_of_what_is_saved_are_saved(tmp_path: Path, api: Any) -> None:
    params, opt = np.ones((2, 3), np.float32), api.SGD(0.1)
    for _ in range(2):
        opt.apply_gradients([(np.ones(3, np.float32), params[1])])
    slotwise.save(tmp_path / "x", optimizer=opt, variables={"params": params, "row": params[1]})
    if not list(opt._entries()) or not opt._entries().__next__().slots:
        slotwise.save(tmp_path / "x", optimizer=opt, variables={"params": params})


# ----- what cannot be saved ----------------------------------------------------------------------


@APIS
def test_masked_arrays_are_refused_by_name(tmp_path: Path, api: Any) -> None:
    masked = np.ma.masked_array([1.0, 2.0], [0, 1])
    what = r"variables: 'a': expected an array, got one with a mask"
    with pytest.raises(TypeError, match=f"^save: {what}"):
        slotwise.save(tmp_path / "x", variables={"a": masked})
    slotwise.save(tmp_path / "x", variables={"a": np.ones(2)})
    with pytest.raises(TypeError, match=f"^load: {what}"):
        slotwise.load(tmp_path / "x", variables={"a": masked})
    (head, _), opt = fresh(), api.Adam(0.1)
    step(opt, head)
    state = {**opt.state_dict(), "head/m": np.ma.masked_array(ONE, [0, 1])}
    with pytest.raises(TypeError, match=r"^load_state_dict: state: 'head/m': expected an array"):
        opt.load_state_dict(state)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_other_classes_of_arrays(tmp_path: Path) -> None:
    arrays = {"matrix": np.matrix([[1.0, 2.0]] * 3), "rec": np.ones(3).view(np.recarray)}
    big = np.matrix(np.arange(3 << 20, dtype=np.float64).reshape(3, -1))
    slotwise.save(tmp_path / "x", variables={**arrays, "big": big})
    for name, x in slotwise.load(tmp_path / "x").arrays.items():
        np.testing.assert_array_equal(x, np.asarray({**arrays, "big": big}[name]))
    into = {"big": np.matrix(np.zeros(big.shape))}
    slotwise.load(tmp_path / "x", variables=into, strict=False)
    np.testing.assert_array_equal(into["big"], big)


# ----- the learning rate -------------------------------------------------------------------------


@APIS
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_rate_is_what_the_next_step_uses(tmp_path: Path, api: Any, wrapped: Any) -> None:
    def make(rate: Any) -> Any:
        opt = api.SGD(rate)
        return optimizers.LossScaleOptimizer(opt, False, 1.0) if wrapped else opt

    def shown(opt: Any) -> Any:
        rate = opt.learning_rate
        rate = rate(np.float32(int(opt.iterations))) if callable(rate) else rate
        return float(rate)

    w = Variable(np.zeros(1), name="w")
    for rate in (schedules.CosineDecay(0.5, 10), 0.5):
        opt = make(rate)
        for _ in range(4):
            opt.apply_gradients([(np.ones(1), w)])
        if rate == 0.5:
            opt.learning_rate = 0.25
        slotwise.save(tmp_path / "x", optimizer=opt, variables=[w])
        for from_file in (True, False):
            other = make(rate)
            if from_file:
                slotwise.load(tmp_path / "x", optimizer=other, variables=[w])
            else:
                other.load_state_dict(opt.state_dict(), variables=[w])
            expected = shown(other)
            assert expected == np.float32(0.25) if rate == 0.5 else expected < 0.4
            before = w.numpy()[0]
            other.apply_gradients([(np.ones(1), w)])
            assert before - w.numpy()[0] == pytest.approx(expected, rel=1e-6)


def test_weights_that_are_set_count_for_the_rate() -> None:
    w = Variable(np.zeros(1), name="w")
    opt, other = (optimizers.SGD(schedules.CosineDecay(0.5, 10)) for _ in range(2))
    for _ in range(4):
        opt.apply_gradients([(np.ones(1), w)])
    other.build([w])
    other.set_weights([v.numpy() for v in opt.variables])
    rate = float(other.learning_rate)
    before = w.numpy()[0]
    other.apply_gradients([(np.ones(1), w)])
    assert before - w.numpy()[0] == pytest.approx(rate) and rate < 0.4
