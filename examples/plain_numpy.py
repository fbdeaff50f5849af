"""Some of TensorFlow's optimizer ops as one would write them in plain NumPy, to compare with.

Same names, same arguments and same order of operations as in ``slotwise.raw_ops``, so ``digits.py``
and ``words.py`` can use either. Hyperparameters are rounded to float32 first, as TensorFlow and
slotwise do.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
f32 = np.float32


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
    one = f32(1)
    alpha = f32(lr) * np.sqrt(one - f32(beta2_power)) / (one - f32(beta1_power))
    m += (grad - m) * (one - f32(beta1))
    v += (grad * grad - v) * (one - f32(beta2))
    var -= (m * alpha) / (np.sqrt(v) + f32(epsilon))
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
    ms += (grad * grad - ms) * (f32(1) - f32(rho))
    mom *= f32(momentum)
    mom += (grad * f32(lr)) / np.sqrt(ms + f32(epsilon))
    var -= mom
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
    if lr_power != -0.5:
        raise ValueError("this example covers the square root, lr_power = -0.5, only")
    new_accum = accum + grad * grad
    root = np.sqrt(new_accum)
    linear += grad - (root - np.sqrt(accum)) / f32(lr) * var
    quotient = (f32(l1) * np.sign(linear) - linear) / (root / f32(lr) + f32(2) * f32(l2))
    var[...] = np.where(np.abs(linear) > f32(l1), quotient, f32(0))
    accum[...] = new_accum
    return var


def ApplyKerasMomentum(
    var: Array,
    accum: Array,
    lr: float,
    grad: Array,
    momentum: float,
    use_nesterov: bool = False,
) -> Array:
    scaled = grad * f32(lr)
    accum *= f32(momentum)
    accum -= scaled
    var += accum * f32(momentum) - scaled if use_nesterov else accum
    return var


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
    rows, inverse = np.unique(indices, return_inverse=True)
    total = np.zeros((len(rows), *grad.shape[1:]), grad.dtype)
    np.add.at(total, inverse, grad)  # in order of appearance, which np.add.reduceat does not keep
    new_accum = accum[rows] + total * total
    var[rows] -= (total * f32(lr)) / (np.sqrt(new_accum) + f32(epsilon))
    accum[rows] = new_accum
    return var
