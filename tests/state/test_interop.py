# SPDX-License-Identifier: Apache-2.0
"""Lists of weights and state dicts of other libraries; the real ones are in tests/parity."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import Variable, interop, optimizers
from slotwise.optimizers import legacy, schedules


def variables(dtype: Any = np.float32) -> Any:
    return [Variable(np.ones(s, dtype), name=f"v{i}") for i, s in enumerate([(2, 3), (4,)])]


def group(**options: Any) -> Any:
    return {"lr": 0.5, "params": [0, 1], **options}


def adam_state(dtype: Any = np.float32, **more: Any) -> Any:
    own = variables(dtype)
    return {
        i: {"step": 7.0, "exp_avg": v.value * 2, "exp_avg_sq": v.value * 3, **more}
        for i, v in enumerate(own)
    }


def test_keras_weights_there_and_back() -> None:
    own = variables()
    opt = legacy.Adam()
    opt.apply_gradients([(np.ones_like(v.value), v) for v in own])
    other, new = legacy.Adam(), variables()
    interop.load_keras_weights(other, interop.keras_weights(opt), new)
    for a, b in zip(interop.keras_weights(opt), interop.keras_weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    arrays = interop.keras_weights(opt)
    arrays[1] = arrays[1].astype(np.float64)
    with pytest.raises(TypeError, match=r"arrays\[1\], 'v0/m': expected float32, got float64"):
        interop.load_keras_weights(other, arrays)
    with pytest.raises(ValueError, match="length 2"):
        interop.load_keras_weights(other, arrays[:2])


@pytest.mark.parametrize("wrapped", [False, True])
def test_keras_variables_of_the_current_api(wrapped: Any) -> None:
    own, opt = variables(), optimizers.Adam(use_ema=True)
    if wrapped:
        opt = optimizers.LossScaleOptimizer(opt)
        opt.get_scaled_loss(1.0)
    opt.apply_gradients([(np.ones_like(v.value), v) for v in own])
    arrays = interop.keras_weights(opt)
    assert len(arrays) == 7 and arrays[0].dtype == np.int64
    other = optimizers.Adam(use_ema=True)
    with pytest.raises(
        ValueError, match=r"length 1 \(Keras 2\) or 2 \(Keras 3\), got one of length 7"
    ):
        interop.load_keras_weights(other, arrays)
    interop.load_keras_weights(other, arrays, variables())
    for a, b in zip(arrays, interop.keras_weights(other), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    with pytest.raises(ValueError, match=r"length 7 \(Keras 2\) or 8 \(Keras 3\), got .* 6"):
        interop.load_keras_weights(other, arrays[:-1])
    arrays[3] = arrays[3].astype(np.float64)
    with pytest.raises(TypeError, match=r"arrays\[3\], 'm/v0': expected float32, got float64"):
        interop.load_keras_weights(other, arrays)


def test_torch_adam_of_the_current_api() -> None:
    own, opt = variables(), optimizers.AdamW(use_ema=True, weight_decay=0.25)
    state = {"state": adam_state(), "param_groups": [group(betas=(0.5, 0.25), weight_decay=0.25)]}
    del state["state"][1]  # it never had a gradient
    interop.load_torch_state_dict(opt, state, [own[0], None])
    assert int(opt.iterations) == 7
    found = opt.state_dict()
    assert found["v0/m"].tolist() == [[2] * 3] * 2 and "v1/m" not in found
    assert found["v0/average"].tolist() == [[1] * 3] * 2
    assert [float(opt.learning_rate), opt.beta_1, opt.beta_2] == [0.5, 0.5, 0.25]
    opt.apply_gradients([(np.ones_like(own[0].value), own[0])])


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_torch_parameters_without_state(api: Any) -> None:
    """Each has its own count of steps there; here, all have one."""
    own, opt = variables(), api.Adam()
    state = {"state": adam_state(), "param_groups": [group(betas=(0.5, 0.25))]}
    del state["state"][1]
    with pytest.raises(ValueError, match=r"one count of steps, got \[0, 7\]; a parameter without"):
        interop.load_torch_state_dict(opt, state, own)
    assert int(opt.iterations) == 0 and not list(opt._entries())
    with pytest.raises(TypeError, match=r"variables: expected Variables, .* or None, got int"):
        interop.load_torch_state_dict(opt, state, [own[0], 1])
    step = [(np.ones_like(v.value), v) for v in own]
    opt.apply_gradients(step)
    state["state"] = {}  # before the first step
    interop.load_torch_state_dict(opt, state, own)
    assert int(opt.iterations) == 0
    other, new = api.Adam(0.5, beta_1=0.5, beta_2=0.25), variables()
    for v in own:
        v.assign(np.ones(v.shape))
    opt.apply_gradients(step)
    other.apply_gradients([(np.ones_like(v.value), v) for v in new])
    for a, b in zip(own, new, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("api", [optimizers, legacy])
def test_torch_momentum_without_state_begins_anew(api: Any) -> None:
    own, opt = variables(), api.SGD(0.5, momentum=0.5)
    opt.apply_gradients([(np.ones_like(v.value), v) for v in own])
    buffers = {0: {"momentum_buffer": np.ones((2, 3), np.float32)}}
    state = {"state": buffers, "param_groups": [group(momentum=0.5)]}
    interop.load_torch_state_dict(opt, state, own)
    found = {name: x for name, x in opt.state_dict().items() if "/" in name}
    assert [x.tolist() for x in found.values()] == [[[-0.5] * 3] * 2, [0] * 4]


def test_torch_momentum_that_is_off() -> None:
    own, opt = variables(), optimizers.SGD()
    interop.load_torch_state_dict(opt, {"state": {}, "param_groups": [group(momentum=0)]}, own)
    assert float(opt.learning_rate) == 0.5
    template = {"state": {}, "param_groups": [group(momentum=0)]}
    assert interop.torch_state_dict(opt, own, template)["state"] == {}


def test_torch_adam() -> None:
    own, opt = variables(), legacy.Adam()
    state = {"state": adam_state(), "param_groups": [group(betas=(0.5, 0.25), eps=1e-8)]}
    interop.load_torch_state_dict(opt, state, own)
    assert int(opt.iterations) == 7
    assert opt.get_slot(own[1], "m").value.tolist() == [2] * 4
    assert opt.get_slot(own[0], "v").value.tolist() == [[3] * 3] * 2
    assert [float(opt.learning_rate), float(opt.beta_1), float(opt.beta_2)] == [0.5, 0.5, 0.25]


@pytest.fixture
def arrays_for_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for PyTorch, as far as state is given to it."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda array: array))


@pytest.mark.usefixtures("arrays_for_tensors")
def test_torch_radam() -> None:
    own = variables()
    opt = optimizers.RAdam(weight_decay=0.25, adaptive_epsilon=False)
    options = {"weight_decay": 0.25, "decoupled_weight_decay": True}
    state = {"state": adam_state(), "param_groups": [group(betas=(0.5, 0.25), **options)]}
    interop.load_torch_state_dict(opt, state, own)
    assert int(opt.iterations) == 7
    found = opt.state_dict()
    assert found["v0/m"].tolist() == [[2] * 3] * 2 and found["v1/v"].tolist() == [3] * 4
    assert [float(opt.learning_rate), opt.beta_1, opt.beta_2] == [0.5, 0.5, 0.25]
    template = {"state": {}, "param_groups": [group(betas=(0.9, 0.999), **options)]}
    back = interop.torch_state_dict(opt, own, template)
    assert back["param_groups"] == state["param_groups"]
    for number, theirs in adam_state().items():
        assert back["state"][number].keys() == theirs.keys()
        for key, value in theirs.items():
            np.testing.assert_array_equal(back["state"][number][key], value)
            assert back["state"][number][key].dtype == np.float32
    options["decoupled_weight_decay"] = False  # by which it is added to gradients
    with pytest.raises(ValueError, match="added to gradients"):
        interop.load_torch_state_dict(opt, {**state, "param_groups": [group(**options)]}, own)


def with_momentum(api: Any, name: str, rate: float, momentum: float) -> Any:
    """An optimizer with a momentum of its own, and its variables."""
    own, opt = variables(), getattr(api, name)(rate, momentum=0.5)
    opt.apply_gradients([(np.ones_like(v.value), v) for v in own])
    state = {n: x for n, x in opt.state_dict().items() if n.endswith(("/m", "/momentum"))}
    assert len(state) == 2
    opt.load_state_dict({**opt.state_dict(), **{n: x * 0 + momentum for n, x in state.items()}})
    return opt, own


@pytest.mark.usefixtures("arrays_for_tensors")
@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
@pytest.mark.parametrize("api", [optimizers, legacy])
def test_momentum_without_a_rate(api: Any, name: str) -> None:
    """It has the rate as a factor here: where that is 0, only zeros are the same in PyTorch."""
    template = {"state": {}, "param_groups": [group(momentum=0.5)]}
    opt, own = with_momentum(api, name, 0.0, 0.0)
    state = interop.torch_state_dict(opt, own, template)
    assert state["param_groups"][0]["lr"] == 0
    for number, v in enumerate(own):
        buffer = state["state"][number]["momentum_buffer"]
        np.testing.assert_array_equal(buffer, np.zeros_like(v.value))
    other, new = with_momentum(api, name, 0.5, 2.0)
    interop.load_torch_state_dict(other, state, new)
    assert float(other.learning_rate) == 0
    before = opt.state_dict()
    for key, value in other.state_dict().items():
        np.testing.assert_array_equal(value, before[key])

    opt, own = with_momentum(api, name, 0.0, 2.0)
    with pytest.raises(
        ValueError, match=r"^torch_state_dict: '.*': expected zeros with a learning rate of 0"
    ):
        interop.torch_state_dict(opt, own, template)

    state["state"][1]["momentum_buffer"] = np.full(4, 2, np.float32)
    opt, own = with_momentum(api, name, 0.5, 2.0)
    before = {key: np.array(value) for key, value in opt.state_dict().items()}
    with pytest.raises(
        ValueError, match="parameter 1, 'momentum_buffer': expected zeros with a learning rate of 0"
    ):
        interop.load_torch_state_dict(opt, state, own)
    for key, value in opt.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.usefixtures("arrays_for_tensors")
def test_momentum_that_is_too_large_without_its_rate() -> None:
    opt, own = with_momentum(optimizers, "SGD", 1e-30, 1e30)
    template = {"state": {}, "param_groups": [group(momentum=0.5)]}
    with pytest.raises(ValueError, match=r"'m/v0': expected numbers that float32 can hold once"):
        interop.torch_state_dict(opt, own, template)
    opt, own = with_momentum(optimizers, "SGD", 0.5, np.inf)  # which is what it was
    state = interop.torch_state_dict(opt, own, template)["state"]
    np.testing.assert_array_equal(state[1]["momentum_buffer"], np.full(4, -np.inf))


def test_torch_parameters_by_name_and_in_groups() -> None:
    own, opt = variables(), legacy.Adam()
    opt.apply_gradients([(np.ones_like(v.value), v) for v in own])
    groups = [{"lr": 0.5, "params": [0]}, {"lr": 0.5, "params": [1]}]
    interop.load_torch_state_dict(
        opt, {"state": adam_state(), "param_groups": groups}, ["v0", "v1"]
    )
    assert int(opt.iterations) == 7
    with pytest.raises(ValueError, match="variables: expected"):
        interop.load_torch_state_dict(opt, {"state": {}, "param_groups": groups}, ["v0", "v2"])


def test_schedules_stay() -> None:
    opt = legacy.Adam(schedules.CosineDecay(0.1, 10))
    interop.load_torch_state_dict(
        opt, {"state": adam_state(), "param_groups": [group()]}, variables()
    )
    assert isinstance(opt.learning_rate, schedules.CosineDecay)


@pytest.mark.parametrize(
    ("make", "state", "options", "error", "match"),
    [
        (legacy.Ftrl, adam_state(), {}, TypeError, "expected one of .*, got Ftrl"),
        (legacy.Adam, adam_state(np.float64), {}, TypeError, "expected float32, got float64"),
        (legacy.Adam, adam_state(max_exp_avg_sq=1), {}, ValueError, "parameter 0: expected"),
        (legacy.Adam, adam_state(), {"weight_decay": 0.1}, ValueError, "'weight_decay'"),
        (legacy.Adam, adam_state(), {"maximize": True}, ValueError, "'maximize'"),
        (optimizers.Adam, adam_state(), {"maximize": True}, ValueError, "'maximize'"),
        (
            optimizers.AdamW,
            adam_state(),
            {},
            ValueError,
            "'weight_decay'.* expected 0.004, got None",
        ),
        (
            lambda: optimizers.Adam(weight_decay=0.1),
            adam_state(),
            {"weight_decay": 0.1},
            ValueError,
            "added to gradients",
        ),
        (legacy.Adam, adam_state(), {"params": [0]}, ValueError, "variables: expected as many"),
        (legacy.SGD, {}, {"dampening": 0.5}, ValueError, "'dampening'"),
        (
            legacy.SGD,
            {0: {"momentum_buffer": np.ones((2, 3), np.float32)}},
            {"momentum": 0.5},
            ValueError,
            r"expected \[\], got \['momentum_buffer'\]",
        ),
        (
            legacy.Adam,
            {**adam_state(), 1: {**adam_state()[1], "step": 8}},
            {},
            ValueError,
            r"one count of steps, got \[7, 8\]",
        ),
    ],
)
def test_what_does_not_fit_changes_nothing(
    make: Any, state: Any, options: Any, error: Any, match: Any
) -> None:
    own, opt = variables(), make()
    given = {"state": state, "param_groups": [group(**options)]}
    with pytest.raises(error, match=match):
        interop.load_torch_state_dict(opt, given, own)
    assert int(opt.iterations) == 0
    assert float(opt.learning_rate) != 0.5
    assert not list(opt._entries())


def test_groups_that_differ() -> None:
    groups = [{"lr": 0.5, "params": [0]}, {"lr": 0.25, "params": [1]}]
    with pytest.raises(ValueError, match="the same options of all param_groups"):
        interop.load_torch_state_dict(
            legacy.Adam(), {"state": {}, "param_groups": groups}, variables()
        )


def test_loss_scaling_has_the_inner_state() -> None:
    own = variables()
    opt = slotwise.optimizers.LossScaleOptimizer(legacy.Adam())
    interop.load_torch_state_dict(opt, {"state": adam_state(), "param_groups": [group()]}, own)
    assert int(opt.iterations) == 7


@pytest.mark.parametrize("api", [legacy, optimizers])
def test_the_former_keyword_of_variables(api: Any) -> None:
    opt, own = api.Adam(), variables()
    state = {"state": adam_state(), "param_groups": [group(betas=(0.9, 0.999))]}
    interop.load_torch_state_dict(opt, state, names=own)
    np.testing.assert_array_equal(opt.state_dict()["v0/m"], own[0].value * 2)
    for given in ({"names": own, "variables": own}, {}):
        for call in (interop.load_torch_state_dict, interop.torch_state_dict):
            with pytest.raises(TypeError, match=r"names|variables"):
                call(opt, **given)
    with pytest.raises(TypeError, match="variables"):
        interop.load_torch_state_dict(opt, state, own, names=own)


@pytest.mark.parametrize("api", [legacy, optimizers])
def test_what_is_given_to_keras_is_of_one_moment(api: Any) -> None:
    opt, own = api.SGD(momentum=0.5), variables()
    pairs = [(np.ones_like(v.value), v) for v in own]
    opt.apply_gradients(pairs)
    with ThreadPoolExecutor(1) as pool:
        with opt._lock.step():
            found = pool.submit(interop.keras_weights, opt)
            assert not wait([found], timeout=0.1).done
            opt.apply_gradients(pairs)
        assert int(found.result()[0]) == 2


@pytest.mark.parametrize("name", ["load_torch_state_dict", "torch_state_dict"])
def test_errors_name_the_call(name: str) -> None:
    def call(optimizer: Any, own: Any, given: Any) -> None:
        if name == "torch_state_dict":
            interop.torch_state_dict(optimizer, own, given)
        else:
            interop.load_torch_state_dict(optimizer, given, own)

    sgd = optimizers.SGD(schedules.ExponentialDecay(0.5, 10, 0.5))
    empty = {"state": {}, "param_groups": [group(momentum=0, params=[])]}
    without_rate = {"state": {}, "param_groups": [{"params": []}]}
    nesterov = {"state": {}, "param_groups": [group(nesterov=True, params=[])]}
    for optimizer, given, text in (
        (optimizers.Ftrl(), empty, "optimizer: expected one of"),
        (sgd, {"state": {}}, "state_dict: expected 'param_groups'"),
        (sgd, without_rate, "(lr|learning_rate): expected a number"),
        (sgd, nesterov, "'nesterov' of the state dict: expected 0, got True"),
        (optimizers.SGD(momentum=0.5, nesterov=True), empty, "'nesterov' .* expected True, got"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{name}: {text}"):
            call(optimizer, [], given)
