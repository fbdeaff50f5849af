# SPDX-License-Identifier: Apache-2.0
"""State of the real Keras and PyTorch, taken over in the middle of a run, and given back."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from slotwise import Variable, interop, optimizers
from slotwise.optimizers import legacy

STEPS = 4
SHAPES = ((3, 5), (7,))
KINDS = [
    ("Adam", {}, {}),
    ("Adam", {"amsgrad": True}, {"amsgrad": True}),
    ("SGD", {}, {}),
    ("SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"rho": 0.9}, {"alpha": 0.9}),
    ("RMSprop", {"rho": 0.9, "centered": True}, {"alpha": 0.9, "centered": True}),
    ("RMSprop", {"rho": 0.9, "momentum": 0.9}, {"alpha": 0.9, "momentum": 0.9}),
    ("Adagrad", {"initial_accumulator_value": 0.5}, {"initial_accumulator_value": 0.5}),
]
TORCH_KINDS = [
    *((legacy, *kind) for kind in KINDS),
    *((optimizers, *kind) for kind in KINDS),
    (optimizers, "AdamW", {"weight_decay": 0.25}, {"weight_decay": 0.25}),
    (
        optimizers,
        "AdamW",
        {"weight_decay": 0.25, "amsgrad": True},
        {"weight_decay": 0.25, "amsgrad": True},
    ),
]
TORCH_KINDS += [
    (optimizers, "RAdam", {**kwargs, "adaptive_epsilon": False}, theirs)
    for kwargs, theirs in (
        ({}, {}),
        ({"weight_decay": 0.25}, {"weight_decay": 0.25, "decoupled_weight_decay": True}),
    )
]
EMA = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3}
KERAS_KINDS = [
    *((legacy, name, kwargs) for name, kwargs, _ in KINDS),
    *((optimizers, name, kwargs) for name, kwargs, _ in KINDS),
    *(
        (optimizers, name, kwargs)
        for name in ("Adadelta", "AdamW", "Adamax", "Nadam", "Ftrl", "Adafactor", "Lion")
        for kwargs in ({}, EMA)
    ),
]
LR, TINY = 0.125, 1e-30  # an epsilon that both may add where they like


def gradients(dtype: Any) -> Any:
    rng = np.random.default_rng(0)
    steps = range(2 * STEPS)
    return [[rng.standard_normal(s).astype(dtype) for s in SHAPES] for _ in steps]


class Torch:
    def __init__(self, torch: Any, name: Any, kwargs: Any, dtype: Any) -> None:
        self.torch = torch
        self.params = [torch.nn.Parameter(self.tensor(np.ones(s, dtype))) for s in SHAPES]
        options = {"lr": LR, **({"eps": TINY} if name != "SGD" else {}), **kwargs}
        self.opt = getattr(torch.optim, name)(self.params, **options)

    def tensor(self, array: Any) -> Any:
        if array.dtype == ml_dtypes.bfloat16:
            return self.torch.from_numpy(array.view(np.int16)).view(self.torch.bfloat16)
        return self.torch.from_numpy(array)

    def steps(self, grads: Any) -> None:
        for step in grads:
            for param, grad in zip(self.params, step, strict=True):
                param.grad = self.tensor(grad)
            self.opt.step()

    def values(self) -> Any:
        return [p.detach().to(self.torch.float64).numpy() for p in self.params]


class Ours:
    def __init__(self, api: Any, name: Any, kwargs: Any, dtype: Any, lr: Any = LR) -> None:
        self.variables = [Variable(np.ones(s, dtype), name=f"v{i}") for i, s in enumerate(SHAPES)]
        options = {**kwargs, **({"epsilon": TINY} if name != "SGD" else {})}
        if name in (
            "Adam",
            "AdamW",
            "RAdam",
        ):  # in double precision, unlike Keras's
            options |= {"beta_1": np.float64(0.9), "beta_2": np.float64(0.999)}
        self.opt = getattr(api, name)(lr, **options)

    def steps(self, grads: Any) -> None:
        for step in grads:
            self.opt.apply_gradients(zip(step, self.variables, strict=True))

    def values(self) -> Any:
        return [v.value.astype(np.float64) for v in self.variables]


def check_close(ours: Any, theirs: Any, dtype: Any) -> None:
    rtol = {np.float64: 1e-6, np.float32: 2e-5}.get(dtype, 0.04)
    for a, b in zip(ours.values(), theirs.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize(("api", "name", "kwargs", "torch_kwargs"), TORCH_KINDS)
def test_torch_there_and_back(
    api: Any, name: Any, kwargs: Any, torch_kwargs: Any, dtype: Any
) -> None:
    torch = pytest.importorskip("torch")
    grads = gradients(dtype)
    theirs = Torch(torch, name, torch_kwargs, dtype)
    theirs.steps(grads[:STEPS])

    ours = Ours(api, name, kwargs, dtype, lr=0.5)  # the rate comes with the state
    for variable, value in zip(ours.variables, theirs.params, strict=True):
        variable.assign(interop._array("value", value))
    interop.load_torch_state_dict(ours.opt, theirs.opt.state_dict(), ours.variables)
    kept = theirs.opt.state_dict()

    back = Torch(torch, name, {**torch_kwargs, "lr": 0.5}, dtype)
    with torch.no_grad():
        for param, value in zip(back.params, theirs.params, strict=True):
            param.copy_(value)
    state = interop.torch_state_dict(ours.opt, ours.variables, back.opt.state_dict())
    back.opt.load_state_dict(state)
    for number, own in kept["state"].items():
        for key, value in own.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(back.opt.state_dict()["state"][number][key], value)

    for each in (theirs, ours, back):
        each.steps(grads[STEPS:])
    check_close(ours, theirs, dtype)
    check_close(back, theirs, dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("api", "name", "kwargs"), KERAS_KINDS)
def test_keras_there_and_back(api: Any, name: Any, kwargs: Any, dtype: Any) -> None:
    tf = pytest.importorskip("tensorflow")
    keras = pytest.importorskip("tf_keras").optimizers
    grads = gradients(dtype)
    theirs_variables = [tf.Variable(np.ones(s, dtype)) for s in SHAPES]

    def theirs_of(kwargs: Any) -> Any:
        module = keras.legacy if api is legacy else keras
        opt = getattr(module, name)(LR, **kwargs)
        if api is not legacy:
            opt.build(theirs_variables)
        return opt

    def weights(opt: Any) -> Any:
        return opt.get_weights() if api is legacy else [v.numpy() for v in opt.variables]

    def steps(opt: Any, some: Any) -> None:
        for step in some:
            opt.apply_gradients(zip(map(tf.constant, step), theirs_variables, strict=True))

    theirs = theirs_of(kwargs)
    steps(theirs, grads[:STEPS])
    ours = Ours(api, "SGD", {}, dtype)
    ours.opt = getattr(api, name)(LR, **kwargs)
    for variable, value in zip(ours.variables, theirs_variables, strict=True):
        variable.assign(value.numpy())
    interop.load_keras_weights(ours.opt, weights(theirs), ours.variables)
    for a, b in zip(interop.keras_weights(ours.opt), weights(theirs), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    if api is not legacy:  # a new one: what Nadam hides is lost, in both
        new = theirs_of(kwargs)
        new.set_weights(weights(theirs))
        theirs = new
    ours.steps(grads[STEPS:])
    steps(theirs, grads[STEPS:])
    for a, b in zip(ours.values(), theirs_variables, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-5, atol=1e-6)
    theirs.set_weights(interop.keras_weights(ours.opt))
    for a, b in zip(weights(theirs), interop.keras_weights(ours.opt), strict=True):
        np.testing.assert_array_equal(a, b)
