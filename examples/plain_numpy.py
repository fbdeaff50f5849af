# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's optimizer ops as one would write them in plain NumPy, to compare with.

Same names, same arguments and same order of operations as in ``slotwise.raw_ops``, so the examples
can train with either, and ``bench`` can time both. The attrs have their default values, but for
``use_nesterov`` of `ApplyKerasMomentum`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def one_minus(x: float, like: Array) -> Any:
    """1 - x, computed in the dtype of the arrays, as TensorFlow and slotwise do."""
    number = like.dtype.type
    return number(1) - number(x)


def shrink(x: Array, by: Any) -> Array:
    """x moved toward zero, at most to zero."""
    shrunk: Array = np.sign(x) * np.maximum(np.abs(x) - by, 0)
    return shrunk


def ApplyGradientDescent(var: Array, alpha: float, delta: Array) -> Array:
    var -= delta * alpha
    return var


def ApplyProximalGradientDescent(
    var: Array, alpha: float, l1: float, l2: float, delta: Array
) -> Array:
    var -= delta * alpha
    var[...] = shrink(var, alpha * l1) / (1 + l2 * alpha)
    return var


def ApplyAdadelta(
    var: Array,
    accum: Array,
    accum_update: Array,
    lr: float,
    rho: float,
    epsilon: float,
    grad: Array,
) -> Array:
    accum *= rho
    accum += (grad * grad) * one_minus(rho, var)
    update = np.sqrt(accum_update + epsilon) / np.sqrt(accum + epsilon) * grad
    var -= update * lr
    accum_update *= rho
    accum_update += (update * update) * one_minus(rho, var)
    return var


def ApplyAdagrad(var: Array, accum: Array, lr: float, grad: Array) -> Array:
    accum += grad * grad
    var -= grad * lr / np.sqrt(accum)
    return var


def ApplyAdagradV2(var: Array, accum: Array, lr: float, epsilon: float, grad: Array) -> Array:
    accum += grad * grad
    var -= grad * lr / (np.sqrt(accum) + epsilon)
    return var


def ApplyAdagradDA(
    var: Array,
    gradient_accumulator: Array,
    gradient_squared_accumulator: Array,
    grad: Array,
    lr: float,
    l1: float,
    l2: float,
    global_step: int,
) -> Array:
    ga, da = gradient_accumulator, gradient_squared_accumulator
    ga += grad
    da += grad * grad
    var[...] = -lr * shrink(ga, global_step * l1) / (l2 * global_step * lr + np.sqrt(da))
    return var


def ApplyProximalAdagrad(
    var: Array, accum: Array, lr: float, l1: float, l2: float, grad: Array
) -> Array:
    accum += grad * grad
    eta = lr / np.sqrt(accum)
    var -= grad * eta
    var[...] = shrink(var, eta * l1) / (1 + l2 * eta)
    return var


def ApplyFtrl(
    var: Array,
    accum: Array,
    linear: Array,
    grad: Array,
    lr: float,
    l1: float,
    l2: float,
    lr_power: float,
) -> Array:
    new = accum + grad * grad
    power = new**-lr_power
    linear += grad - (power - accum**-lr_power) / lr * var
    quotient = (l1 * np.sign(linear) - linear) / (power / lr + 2 * l2)
    var[...] = np.where(np.abs(linear) > l1, quotient, 0)
    accum[...] = new
    return var


def ApplyFtrlV2(
    var: Array,
    accum: Array,
    linear: Array,
    grad: Array,
    lr: float,
    l1: float,
    l2: float,
    l2_shrinkage: float,
    lr_power: float,
) -> Array:
    new = accum + grad * grad
    power = new**-lr_power
    linear += grad + 2 * l2_shrinkage * var - (power - accum**-lr_power) / lr * var
    quotient = (l1 * np.sign(linear) - linear) / (power / lr + 2 * l2)
    var[...] = np.where(np.abs(linear) > l1, quotient, 0)
    accum[...] = new
    return var


def ApplyMomentum(var: Array, accum: Array, lr: float, grad: Array, momentum: float) -> Array:
    accum *= momentum
    accum += grad
    var -= accum * lr
    return var


def ApplyKerasMomentum(
    var: Array,
    accum: Array,
    lr: float,
    grad: Array,
    momentum: float,
    use_nesterov: bool = False,
) -> Array:
    scaled = grad * lr
    accum *= momentum
    accum -= scaled
    var += accum * momentum - scaled if use_nesterov else accum
    return var


def ApplyAdam(
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
) -> Array:
    alpha = lr * np.sqrt(one_minus(beta2_power, var)) / one_minus(beta1_power, var)
    m += (grad - m) * one_minus(beta1, var)
    v += (grad * grad - v) * one_minus(beta2, var)
    var -= (m * alpha) / (np.sqrt(v) + epsilon)
    return var


def ApplyAdamWithAmsgrad(
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
) -> Array:
    alpha = lr * np.sqrt(one_minus(beta2_power, var)) / one_minus(beta1_power, var)
    m += (grad - m) * one_minus(beta1, var)
    v += (grad * grad - v) * one_minus(beta2, var)
    np.maximum(vhat, v, out=vhat)
    var -= (m * alpha) / (np.sqrt(vhat) + epsilon)
    return var


def ApplyAdaMax(
    var: Array,
    m: Array,
    v: Array,
    beta1_power: float,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    grad: Array,
) -> Array:
    m += (grad - m) * one_minus(beta1, var)
    v *= beta2
    np.maximum(v, np.abs(grad), out=v)
    var -= (lr / one_minus(beta1_power, var)) * (m / (v + epsilon))
    return var


def ApplyRMSProp(
    var: Array,
    ms: Array,
    mom: Array,
    lr: float,
    rho: float,
    momentum: float,
    epsilon: float,
    grad: Array,
) -> Array:
    ms += (grad * grad - ms) * one_minus(rho, var)
    mom *= momentum
    mom += (grad * lr) / np.sqrt(ms + epsilon)
    var -= mom
    return var


def ApplyCenteredRMSProp(
    var: Array,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: float,
    rho: float,
    momentum: float,
    epsilon: float,
    grad: Array,
) -> Array:
    ms += (grad * grad - ms) * one_minus(rho, var)
    mg += (grad - mg) * one_minus(rho, var)
    mom *= momentum
    mom += (grad * lr) / np.sqrt(ms - mg * mg + epsilon)
    var -= mom
    return var


def ApplyAddSign(
    var: Array, m: Array, lr: float, alpha: float, sign_decay: float, beta: float, grad: Array
) -> Array:
    m *= beta
    m += grad * one_minus(beta, var)
    var -= lr * (alpha + sign_decay * (np.sign(grad) * np.sign(m))) * grad
    return var


def ApplyPowerSign(
    var: Array, m: Array, lr: float, logbase: float, sign_decay: float, beta: float, grad: Array
) -> Array:
    m *= beta
    m += grad * one_minus(beta, var)
    var -= lr * np.exp((logbase * sign_decay) * (np.sign(grad) * np.sign(m))) * grad
    return var


def coalesce(ids: npt.NDArray[np.int64], grads: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """The distinct ids, ascending, and the sums of their rows."""
    rows, inverse = np.unique(ids, return_inverse=True)
    total = np.zeros((len(rows), *grads.shape[1:]), grads.dtype)
    np.add.at(total, inverse, grads)  # in order of appearance, which np.add.reduceat does not keep
    return rows, total


def SparseApplyAdagradV2(
    var: Array,
    accum: Array,
    lr: float,
    epsilon: float,
    grad: Array,
    indices: npt.NDArray[np.int64],
    duplicates: str,
) -> Array:
    if duplicates != "sum":
        raise ValueError("this example covers the sum of duplicates only")
    rows, total = coalesce(indices, grad)
    new_accum = accum[rows] + total * total
    var[rows] -= (total * lr) / (np.sqrt(new_accum) + epsilon)
    accum[rows] = new_accum
    return var
