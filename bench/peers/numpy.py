"""Plain NumPy, as a user would write the update: in place, one expression per line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.contestant import Peer, State, Subject, Unsupported
from bench.work import Array, DenseWork


def gradient_descent(var: Array, alpha: float, delta: Array) -> None:
    var -= delta * alpha


def proximal_gradient_descent(var: Array, alpha: float, l1: float, l2: float, delta: Array) -> None:
    var -= delta * alpha
    var[...] = np.sign(var) * np.maximum(np.abs(var) - alpha * l1, 0) / (1 + l2 * alpha)


def adadelta(
    var: Array,
    accum: Array,
    accum_update: Array,
    lr: float,
    rho: float,
    epsilon: float,
    grad: Array,
) -> None:
    accum *= rho
    accum += (grad * grad) * (1 - rho)
    update = np.sqrt(accum_update + epsilon) / np.sqrt(accum + epsilon) * grad
    var -= update * lr
    accum_update *= rho
    accum_update += (update * update) * (1 - rho)


def adagrad(var: Array, accum: Array, lr: float, grad: Array) -> None:
    accum += grad * grad
    var -= grad * lr / np.sqrt(accum)


def adagrad_v2(var: Array, accum: Array, lr: float, epsilon: float, grad: Array) -> None:
    accum += grad * grad
    var -= grad * lr / (np.sqrt(accum) + epsilon)


def adagrad_da(
    var: Array,
    gradient_accumulator: Array,
    gradient_squared_accumulator: Array,
    grad: Array,
    lr: float,
    l1: float,
    l2: float,
    global_step: int,
) -> None:
    ga, da = gradient_accumulator, gradient_squared_accumulator
    ga += grad
    da += grad * grad
    shrunk = np.sign(ga) * np.maximum(np.abs(ga) - global_step * l1, 0)
    var[...] = -lr * shrunk / (l2 * global_step * lr + np.sqrt(da))


def proximal_adagrad(
    var: Array, accum: Array, lr: float, l1: float, l2: float, grad: Array
) -> None:
    accum += grad * grad
    eta = lr / np.sqrt(accum)
    var -= grad * eta
    var[...] = np.sign(var) * np.maximum(np.abs(var) - eta * l1, 0) / (1 + l2 * eta)


def ftrl(
    var: Array,
    accum: Array,
    linear: Array,
    grad: Array,
    lr: float,
    l1: float,
    l2: float,
    lr_power: float,
) -> None:
    new = accum + grad * grad
    power = new**-lr_power
    linear += grad - (power - accum**-lr_power) / lr * var
    shrunk = (l1 * np.sign(linear) - linear) / (power / lr + 2 * l2)
    var[...] = np.where(np.abs(linear) > l1, shrunk, 0)
    accum[...] = new


def ftrl_v2(
    var: Array,
    accum: Array,
    linear: Array,
    grad: Array,
    lr: float,
    l1: float,
    l2: float,
    l2_shrinkage: float,
    lr_power: float,
) -> None:
    new = accum + grad * grad
    power = new**-lr_power
    linear += grad + 2 * l2_shrinkage * var - (power - accum**-lr_power) / lr * var
    shrunk = (l1 * np.sign(linear) - linear) / (power / lr + 2 * l2)
    var[...] = np.where(np.abs(linear) > l1, shrunk, 0)
    accum[...] = new


def momentum(var: Array, accum: Array, lr: float, grad: Array, momentum: float) -> None:
    accum *= momentum
    accum += grad
    var -= accum * lr


def keras_momentum(var: Array, accum: Array, lr: float, grad: Array, momentum: float) -> None:
    accum *= momentum
    accum -= grad * lr
    var += accum


def adam(
    var: Array,
    m: Array,
    v: Array,
    beta1_power: float,
    beta2_power: float,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    grad: Array,
) -> None:
    m += (grad - m) * (1 - beta1)
    v += (grad * grad - v) * (1 - beta2)
    var -= m * (lr * (1 - beta2_power) ** 0.5 / (1 - beta1_power)) / (np.sqrt(v) + epsilon)


def adam_with_amsgrad(
    var: Array,
    m: Array,
    v: Array,
    vhat: Array,
    beta1_power: float,
    beta2_power: float,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    grad: Array,
) -> None:
    m += (grad - m) * (1 - beta1)
    v += (grad * grad - v) * (1 - beta2)
    np.maximum(vhat, v, out=vhat)
    var -= m * (lr * (1 - beta2_power) ** 0.5 / (1 - beta1_power)) / (np.sqrt(vhat) + epsilon)


def ada_max(
    var: Array,
    m: Array,
    v: Array,
    beta1_power: float,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    grad: Array,
) -> None:
    m += (grad - m) * (1 - beta1)
    v *= beta2
    np.maximum(v, np.abs(grad), out=v)
    var -= (lr / (1 - beta1_power)) * (m / (v + epsilon))


def rms_prop(
    var: Array,
    ms: Array,
    mom: Array,
    lr: float,
    rho: float,
    momentum: float,
    epsilon: float,
    grad: Array,
) -> None:
    ms += (grad * grad - ms) * (1 - rho)
    mom *= momentum
    mom += (grad * lr) / np.sqrt(ms + epsilon)
    var -= mom


def centered_rms_prop(
    var: Array,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: float,
    rho: float,
    momentum: float,
    epsilon: float,
    grad: Array,
) -> None:
    ms += (grad * grad - ms) * (1 - rho)
    mg += (grad - mg) * (1 - rho)
    mom *= momentum
    mom += (grad * lr) / np.sqrt(ms - mg * mg + epsilon)
    var -= mom


def add_sign(
    var: Array, m: Array, lr: float, alpha: float, sign_decay: float, beta: float, grad: Array
) -> None:
    m *= beta
    m += grad * (1 - beta)
    var -= lr * (alpha + sign_decay * (np.sign(grad) * np.sign(m))) * grad


def power_sign(
    var: Array, m: Array, lr: float, logbase: float, sign_decay: float, beta: float, grad: Array
) -> None:
    m *= beta
    m += grad * (1 - beta)
    var -= lr * np.exp((logbase * sign_decay) * (np.sign(grad) * np.sign(m))) * grad


UPDATES: dict[str, Callable[..., None]] = {
    "ApplyGradientDescent": gradient_descent,
    "ApplyProximalGradientDescent": proximal_gradient_descent,
    "ApplyAdadelta": adadelta,
    "ApplyAdagrad": adagrad,
    "ApplyAdagradV2": adagrad_v2,
    "ApplyAdagradDA": adagrad_da,
    "ApplyProximalAdagrad": proximal_adagrad,
    "ApplyFtrl": ftrl,
    "ApplyFtrlV2": ftrl_v2,
    "ApplyMomentum": momentum,
    "ApplyKerasMomentum": keras_momentum,
    "ApplyAdam": adam,
    "ApplyAdamWithAmsgrad": adam_with_amsgrad,
    "ApplyAdaMax": ada_max,
    "ApplyRMSProp": rms_prop,
    "ApplyCenteredRMSProp": centered_rms_prop,
    "ApplyAddSign": add_sign,
    "ApplyPowerSign": power_sign,
}


class NumPy(Peer):
    name = "numpy"
    modules = ("numpy",)
    distributions = ("numpy",)
    usage = "plain expressions with in-place operators; NumPy runs them on one thread"

    def dense(self, work: DenseWork) -> Subject:
        return self._subject(work, many=False)

    def many(self, work: DenseWork) -> Subject:
        return self._subject(work, many=True)

    def _subject(self, work: DenseWork, many: bool) -> Subject:
        if work.attributes:
            raise Unsupported("plain NumPy is written out for the default attrs only")
        update, arrays = UPDATES[work.op.name], work.arrays()
        values = work.hyperparameters
        given = {
            name: repr(values[name]) if name in values else (f"a[{name!r}]" if many else name)
            for name in work.op.arguments
        }
        call = f"update({', '.join(given.values())})"
        names: dict[str, Any] = {"update": update}
        names |= {"tensors": arrays} if many else arrays[0]
        gradient = work.op.gradient

        def state() -> State:
            return [{k: v for k, v in a.items() if k != gradient} for a in arrays]

        return Subject(f"for a in tensors: {call}" if many else call, names, state)


PEER = NumPy()
