# SPDX-License-Identifier: Apache-2.0
"""What each op computes, written once in plain NumPy: the oracle of the test-suite.

A rule receives its arrays and hyperparameters as `Vec`s and returns the new (var, *slots).
Arithmetic on a Vec is one IEEE rounding per operation in the dtype of its data, with subnormal
operands and results flushed to zero, so in float32 and float64 a rule gives the very bits that
are expected. float16 and bfloat16 are promoted to float32 and rounded once, when stored.

The rules include the deviations from TensorFlow: where its formula has no value (0/0 and the
like, out of finite input), the gradient contributes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Outputs = tuple["Vec", ...]


class Vec(np.lib.mixins.NDArrayOperatorsMixin):
    """Floating-point numbers that count as zero in arithmetic where they are subnormal."""

    def __init__(self, data: npt.ArrayLike) -> None:
        self.data: Array = np.asarray(data)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any) -> Any:
        assert method == "__call__"
        out = ufunc(*(flush(_data(x, self.data.dtype)) for x in inputs))
        return out if out.dtype == bool else Vec(flush(out))

    def __bool__(self) -> bool:
        raise TypeError("compare with a number instead")


class Exact(Vec):
    """A hyperparameter that was not rounded before `1 - x` is computed in float64."""

    def __init__(self, value: float, dtype: np.dtype[Any]) -> None:
        super().__init__(dtype.type(value))
        self.value = value

    def __rsub__(self, other: float) -> Vec:
        return Vec(self.data.dtype.type(other - self.value))


def flush(x: Array) -> Array:
    return np.where(is_tiny(x), np.copysign(x.dtype.type(0), x), x)


def is_tiny(x: Array) -> Array:
    """Subnormal, or 0."""
    return np.abs(x) < np.finfo(x.dtype).tiny


def _data(x: Any, dtype: np.dtype[Any]) -> Array:
    """The array behind a Vec; a literal becomes a number of the given dtype."""
    return x.data if isinstance(x, Vec) else np.asarray(x, dtype)


def select(condition: Array, yes: Any, no: Vec) -> Vec:
    return Vec(np.where(condition, _data(yes, no.data.dtype), no.data))


def sign(x: Vec) -> Vec:
    """-1, +0 or 1; NaN gives NaN."""
    return select(x > 0, 1, select(x < 0, -1, select(x == 0, 0, x)))


def maximum(a: Vec, b: Any) -> Vec:
    """The larger; the first operand survives ties and comparisons with NaN."""
    return +select(~(a < b), a, Vec(_data(b, a.data.dtype)))


def rsqrt(x: Vec) -> Any:
    return 1 / np.sqrt(x)


def quotient(a: Vec, b: Vec) -> Vec:
    """a / b, where 0/0 is 0."""
    return select((a == 0) & (b == 0), 0, a / b)


def power(x: Vec, exponent: Vec) -> Vec:
    """pow(), for float32 evaluated in float64."""
    wide = np.promote_types(x.data.dtype, np.float64)
    result = np.power(flush(x.data).astype(wide), exponent.data.astype(wide))
    return Vec(flush(result.astype(x.data.dtype)))


def exp(x: Vec) -> Vec:
    """The exponential of a scalar, computed in float64. tests/ops/test_exp.py knows its error."""
    if x.data.dtype == np.longdouble:
        return np.exp(x)
    return Vec(x.data.dtype.type(_exp(float(x.data))))


def _exp(x: float) -> float:
    """2^(x log2(e)), with the bits of the kernels' own function."""
    if not math.isfinite(x):
        return 0.0 if x < 0 else x
    log2_e, rest = float.fromhex("0x1.71547652b82fep+0"), float.fromhex("0x1.777d0ffda0d24p-56")
    x_high, log_high = _leading26(x), _leading26(log2_e)
    power = min(max(x_high * log_high, -1100.0), 1100.0)
    power_low = (x - x_high) * log_high + x * ((log2_e - log_high) + rest)
    n = round(power)
    f = (power - n) + min(max(power_low, -1.0), 1.0)
    polynomial = 0.0
    for coefficient in reversed(_EXP2):
        polynomial = f * polynomial + float.fromhex(coefficient)
    with np.errstate(over="ignore"):
        return float(np.ldexp(f * polynomial + 1.0, n))


_EXP2 = (  # (2^f - 1) / f
    *("0x1.62e42fefa39efp-1", "0x1.ebfbdff82c599p-3", "0x1.c6b08d704a0c2p-5"),
    *("0x1.3b2ab6fba1c46p-7", "0x1.5d87fe78a51cap-10", "0x1.43091309d97dfp-13"),
    *("0x1.ffcbfc6767e5ap-17", "0x1.62bfd336c69b7p-20", "0x1.b524f9d4ab6c1p-24"),
    *("0x1.e608be3f3fe4fp-28", "0x1.e9d61f0506b56p-32"),
)


def _leading26(x: float) -> float:
    """With the first 26 bits of the significand."""
    return float((np.float64(x).view(np.int64) & (-1 << 27)).view(np.float64))


# ----- the rules, in the order of the table in ops.py ------------------------------------------


def shrink(var: Vec, eta: Vec, l1: Vec, l2: Vec) -> Vec:
    """The proximal step: soft threshold by eta*l1, then scale by 1/(1 + l2*eta)."""
    numerator = sign(var) * maximum(np.abs(var) - eta * l1, 0) if l1 > 0 else var
    return quotient(numerator, 1 + l2 * eta)


def gradient_descent(var: Vec, alpha: Vec, delta: Vec) -> Outputs:
    return (var - delta * alpha,)


def proximal_gradient_descent(var: Vec, alpha: Vec, l1: Vec, l2: Vec, delta: Vec) -> Outputs:
    return (shrink(var - delta * alpha, alpha, l1, l2),)


def adadelta(
    var: Vec, accum: Vec, accum_update: Vec, lr: Vec, rho: Vec, epsilon: Vec, grad: Vec
) -> Outputs:
    accum = accum * rho + (grad * grad) * (1 - rho)
    numerator, denominator = np.sqrt(accum_update + epsilon), accum + epsilon
    nothing = (numerator * grad == 0) & (denominator == 0)
    update = select(nothing, 0, numerator * rsqrt(denominator) * grad)
    return var - update * lr, accum, accum_update * rho + (update * update) * (1 - rho)


def adagrad(var: Vec, accum: Vec, lr: Vec, grad: Vec, update_slots: bool) -> Outputs:
    if update_slots:
        accum = accum + grad * grad
    step = grad * lr
    return var - select((step == 0) & (accum == 0), 0, step * rsqrt(accum)), accum


def adagrad_v2(
    var: Vec, accum: Vec, lr: Vec, epsilon: Vec, grad: Vec, update_slots: bool
) -> Outputs:
    if update_slots:
        accum = accum + grad * grad
    return var - quotient(grad * lr, np.sqrt(accum) + epsilon), accum


def keras_adagrad(var: Vec, accum: Vec, lr: Vec, epsilon: Vec, grad: Vec) -> Outputs:
    accum = accum + grad * grad
    return var - quotient(grad * lr, np.sqrt(accum + epsilon)), accum


def adagrad_da(
    var: Vec,
    gradient_accumulator: Vec,
    gradient_squared_accumulator: Vec,
    grad: Vec,
    lr: Vec,
    l1: Vec,
    l2: Vec,
    global_step: Vec,
) -> Outputs:
    ga = gradient_accumulator + grad
    da = gradient_squared_accumulator + grad * grad
    if l1 > 0:
        numerator = lr * -1 * sign(ga) * maximum(np.abs(ga) - global_step * l1, 0)
    else:
        numerator = lr * ga * -1
    denominator = l2 * (global_step * lr) + np.sqrt(da)
    nothing = (numerator == 0) & (denominator == 0)
    return select(nothing, var, numerator / denominator), ga, da


def proximal_adagrad(var: Vec, accum: Vec, lr: Vec, l1: Vec, l2: Vec, grad: Vec) -> Outputs:
    accum = accum + grad * grad
    eta = lr * rsqrt(accum)
    nothing = (accum == 0) & (grad == 0)
    return select(nothing, var, shrink(var - grad * eta, eta, l1, l2)), accum


def ftrl(
    var: Vec,
    accum: Vec,
    linear: Vec,
    grad: Vec,
    lr: Vec,
    l1: Vec,
    l2: Vec,
    lr_power: Vec,
    multiply_linear_by_lr: bool,
    l2_shrinkage: Vec | None = None,
) -> Outputs:
    if lr == 0 and not multiply_linear_by_lr:
        return var, accum, linear

    def p(x: Vec) -> Vec:
        return np.sqrt(x) if lr_power == -0.5 else power(x, -lr_power)

    shrunk = grad if l2_shrinkage is None else grad + (2 * l2_shrinkage) * var
    n = accum + grad * grad
    change = select((n == 0) & (accum == 0), 0, p(n) - p(accum))
    if multiply_linear_by_lr:
        linear = linear + (shrunk * lr - change * var)
        bound, denominator = l1 * lr, p(n) + (2 * l2) * lr
    else:
        linear = linear + (shrunk - change / lr * var)
        bound, denominator = l1, p(n) / lr + 2 * l2
    solution = quotient(bound * sign(linear) - linear, denominator)
    return select(~(np.abs(linear) > bound), 0, solution), n, linear


def ftrl_terms(
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    hyper: Mapping[str, float],
    attrs: Mapping[str, bool],
) -> dict[str, Array]:
    """How large the powers are that ftrl subtracts, as they enter linear, and through it var.

    With an inexact pow that is the size at which the error of a result can be judged: the
    difference may be as small as one likes.
    """
    wide = after["accum"].dtype
    lr, l2, exponent = (wide.type(hyper[name]) for name in ("lr", "l2", "lr_power"))
    by_lr = attrs["multiply_linear_by_lr"]
    old, new = (x["accum"].astype(wide) ** -exponent for x in (before, after))
    scale = 1 if by_lr else lr
    term = (old + new) / scale * np.abs(before["var"].astype(wide))
    return {"linear": term, "var": term / (new / scale + 2 * l2 * (lr if by_lr else 1))}


def momentum(
    var: Vec, accum: Vec, lr: Vec, grad: Vec, momentum: Vec, use_nesterov: bool
) -> Outputs:
    accum = accum * momentum + grad
    step = grad * lr + (accum * momentum) * lr if use_nesterov else accum * lr
    return var - step, accum


def keras_momentum(
    var: Vec, accum: Vec, lr: Vec, grad: Vec, momentum: Vec, use_nesterov: bool
) -> Outputs:
    accum = accum * momentum - grad * lr
    return var + (accum * momentum - grad * lr if use_nesterov else accum), accum


def adam_alpha(beta1_power: Vec, beta2_power: Vec, lr: Vec) -> Vec:
    return quotient(lr * np.sqrt(1 - beta2_power), 1 - beta1_power)


def moments(m: Vec, v: Vec, beta1: Vec, beta2: Vec, grad: Vec) -> tuple[Vec, Vec]:
    return m + (grad - m) * (1 - beta1), v + (grad * grad - v) * (1 - beta2)


def adam(
    var: Vec,
    m: Vec,
    v: Vec,
    beta1_power: Vec,
    beta2_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    grad: Vec,
    use_nesterov: bool,
) -> Outputs:
    alpha = adam_alpha(beta1_power, beta2_power, lr)
    m, v = moments(m, v, beta1, beta2, grad)
    numerator = grad * (1 - beta1) + beta1 * m if use_nesterov else m
    return var - quotient(numerator * alpha, np.sqrt(v) + epsilon), m, v


def adam_with_amsgrad(
    var: Vec,
    m: Vec,
    v: Vec,
    vhat: Vec,
    beta1_power: Vec,
    beta2_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    grad: Vec,
) -> Outputs:
    alpha = adam_alpha(beta1_power, beta2_power, lr)
    m, v = moments(m, v, beta1, beta2, grad)
    vhat = maximum(vhat, v)
    return var - quotient(m * alpha, np.sqrt(vhat) + epsilon), m, v, vhat


def ada_max(
    var: Vec,
    m: Vec,
    v: Vec,
    beta1_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    grad: Vec,
) -> Outputs:
    m = m + (grad - m) * (1 - beta1)
    v = maximum(beta2 * v, np.abs(grad))
    return var - quotient(lr, 1 - beta1_power) * quotient(m, v + epsilon), m, v


def torch_ada_max(
    var: Vec,
    m: Vec,
    v: Vec,
    beta1_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    grad: Vec,
) -> Outputs:
    m = m + (grad - m) * (1 - beta1)
    v = maximum(beta2 * v, np.abs(grad) + epsilon)
    return var - quotient(lr, 1 - beta1_power) * quotient(m, v), m, v


def mean_square(ms: Vec, grad: Vec, rho: Vec) -> Vec:
    """One that has overflowed stays infinite."""
    change = grad * grad - ms
    lowest = np.finfo(change.data.dtype).min
    return ms + select(change < lowest, lowest, change) * (1 - rho)


def rms_prop(
    var: Vec, ms: Vec, mom: Vec, lr: Vec, rho: Vec, momentum: Vec, epsilon: Vec, grad: Vec
) -> Outputs:
    ms = mean_square(ms, grad, rho)
    mom = mom * momentum + quotient(grad * lr, np.sqrt(ms + epsilon))
    return var - mom, ms, mom


def centered_rms_prop(
    var: Vec,
    mg: Vec,
    ms: Vec,
    mom: Vec,
    lr: Vec,
    rho: Vec,
    momentum: Vec,
    epsilon: Vec,
    grad: Vec,
) -> Outputs:
    ms = mean_square(ms, grad, rho)
    mg = mg + (grad - mg) * (1 - rho)
    denominator = (ms - mg * mg) + epsilon
    negative = (denominator < 0) & (np.abs(mg) < np.inf)  # by rounding; an infinite mean stays one
    step = select(negative, 0, quotient(grad * lr, np.sqrt(denominator)))
    mom = mom * momentum + step
    return var - mom, mg, ms, mom


def keras_rms_prop(
    var: Vec, rms: Vec, lr: Vec, rho: Vec, epsilon: Vec, grad: Vec, epsilon_in_root: bool
) -> Outputs:
    rms = rms * rho + (grad * grad) * (1 - rho)
    root = np.sqrt(rms + epsilon) if epsilon_in_root else np.sqrt(rms) + epsilon
    return var - quotient(grad * lr, root), rms


def keras_centered_rms_prop(
    var: Vec, rms: Vec, mg: Vec, lr: Vec, rho: Vec, epsilon: Vec, grad: Vec, epsilon_in_root: bool
) -> Outputs:
    rms = rms * rho + (grad * grad) * (1 - rho)
    mg = mg * rho + grad * (1 - rho)
    variance = rms - mg * mg
    root_of = variance + epsilon if epsilon_in_root else variance
    root = np.sqrt(root_of) if epsilon_in_root else np.sqrt(root_of) + epsilon
    negative = (root_of < 0) & (np.abs(mg) < np.inf)  # by rounding; an infinite mean stays one
    return var - select(negative, 0, quotient(grad * lr, root)), rms, mg


def torch_rms_prop(
    var: Vec, ms: Vec, mom: Vec, lr: Vec, rho: Vec, momentum: Vec, epsilon: Vec, grad: Vec
) -> Outputs:
    ms = ms * rho + (grad * grad) * (1 - rho)
    mom = mom * momentum + quotient(grad, np.sqrt(ms) + epsilon)
    return var - mom * lr, ms, mom


def torch_centered_rms_prop(
    var: Vec,
    mg: Vec,
    ms: Vec,
    mom: Vec,
    lr: Vec,
    rho: Vec,
    momentum: Vec,
    epsilon: Vec,
    grad: Vec,
) -> Outputs:
    ms = ms * rho + (grad * grad) * (1 - rho)
    mg = mg + (grad - mg) * (1 - rho)
    variance = ms - mg * mg
    negative = (variance < 0) & (np.abs(mg) < np.inf)  # by rounding; an infinite mean stays one
    step = select(negative, 0, quotient(grad, np.sqrt(variance) + epsilon))
    mom = mom * momentum + step
    return var - mom * lr, mg, ms, mom


def add_sign(
    var: Vec, m: Vec, lr: Vec, alpha: Vec, sign_decay: Vec, beta: Vec, grad: Vec
) -> Outputs:
    m = m * beta + grad * (1 - beta)
    return var - (lr * (alpha + sign_decay * (sign(grad) * sign(m)))) * grad, m


def power_sign(
    var: Vec, m: Vec, lr: Vec, logbase: Vec, sign_decay: Vec, beta: Vec, grad: Vec
) -> Outputs:
    m = m * beta + grad * (1 - beta)
    signs, rate = sign(grad) * sign(m), logbase * sign_decay
    scale = select(signs == 0, exp(rate * 0), signs)  # NaN stays NaN
    scale = select(signs > 0, exp(rate), select(signs < 0, exp(-rate), scale))
    return var - (lr * scale) * grad, m


def rprop(
    var: Vec,
    prev: Vec,
    step_size: Vec,
    etaminus: Vec,
    etaplus: Vec,
    step_size_min: Vec,
    step_size_max: Vec,
    grad: Vec,
) -> Outputs:
    signs = sign(grad) * sign(prev)
    factor = select(signs > 0, etaplus, select(signs < 0, etaminus, select(signs == 0, 1, signs)))
    step_size = maximum(step_size * factor, step_size_min)
    step_size = -maximum(-step_size, -step_size_max)
    prev = select(signs < 0, 0, grad)
    return var - sign(prev) * step_size, prev, step_size


def nadam(
    var: Vec,
    m: Vec,
    v: Vec,
    beta2_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    momentum: Vec,
    momentum_next: Vec,
    momentum_product: Vec,
    grad: Vec,
) -> Outputs:
    m, v = moments(m, v, beta1, beta2, grad)
    c1 = (1 - momentum) / (1 - momentum_product)
    c2 = momentum_next / (1 - momentum_product * momentum_next)
    bar = grad * c1 + m * c2
    return var - quotient(bar * lr, np.sqrt(v / (1 - beta2_power)) + epsilon), m, v


def lion(var: Vec, m: Vec, lr: Vec, beta1: Vec, beta2: Vec, grad: Vec) -> Outputs:
    direction = sign(m * beta1 + grad * (1 - beta1))
    return var - lr * direction, m * beta2 + grad * (1 - beta2)


def interleaved_sum(terms: Vec) -> Vec:
    """Along the last axis: 16 interleaved sums, folded in halves."""
    *others, width = terms.data.shape
    height = -(-width // 16)
    padded = np.zeros((*others, height * 16), terms.data.dtype)
    padded[..., :width] = terms.data
    partial = running_sum(Vec(padded.reshape(*others, height, 16)), -2)
    for half in (8, 4, 2, 1):
        partial = Vec(partial.data[..., :half]) + Vec(partial.data[..., half:])
    return Vec(partial.data[..., 0])


def running_sum(terms: Vec, axis: int) -> Vec:
    """One after the other along an axis."""
    parts = flush(np.moveaxis(terms.data, axis, 0))
    zero = np.zeros((1, *parts.shape[1:]), parts.dtype)
    totals = np.add.accumulate(np.concatenate([zero, parts]))
    if not (is_tiny(totals) & (totals != 0)).any():  # none would have been flushed
        return Vec(totals[-1])
    total = Vec(zero[0])
    for part in parts:
        total = total + Vec(part)
    return total


def in_parts(x: Vec, size: int, axis: int) -> list[Vec]:
    """Consecutive parts of that size; the last one is what is left."""
    steps = range(size, x.data.shape[axis], size)
    return [Vec(part) for part in np.split(x.data, steps, axis)]


def stacked(parts: list[Vec], axis: int) -> Vec:
    return Vec(np.stack([part.data for part in parts], axis))


def wide(x: Vec) -> Vec:
    """In float64, or what is wider."""
    data = np.asarray(x.value) if isinstance(x, Exact) else x.data
    return Vec(data.astype(np.promote_types(x.data.dtype, np.float64)))


def like(x: Vec, other: Vec) -> Vec:
    return Vec(x.data.astype(other.data.dtype))


def mean_of_squares(grad: Vec) -> Vec:
    """The mean of each row, in the type of the gradient."""
    squares = grad * grad
    width = int(np.prod(squares.data.shape[1:]))
    return interleaved_sum(Vec(squares.data.reshape(-1, width))) / width


def row_wise_adagrad(var: Vec, accum: Vec, lr: Vec, epsilon: Vec, grad: Vec) -> Outputs:
    """Row by row of the first axis; accum has one element for each."""
    accum = accum + mean_of_squares(grad)
    denominator = np.sqrt(accum) + epsilon
    rate = quotient(lr, denominator).data.reshape(-1, *[1] * (grad.data.ndim - 1))
    nothing = (grad == 0) & np.isinf(rate)
    return var - select(nothing, 0, grad * Vec(rate)), accum


def corrected(beta1_power: Vec, beta2_power: Vec, epsilon: Vec, factor: Any) -> tuple[Vec, Vec]:
    """What factor / (1 - beta1_power) and epsilon are next to a root that is not corrected."""
    root = np.sqrt(1 - beta2_power)
    return quotient(factor * root, 1 - beta1_power), epsilon * root


def ada_belief(
    var: Vec,
    m: Vec,
    s: Vec,
    beta1_power: Vec,
    beta2_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    grad: Vec,
) -> Outputs:
    alpha, small = corrected(beta1_power, beta2_power, epsilon, lr)
    m = m + (grad - m) * (1 - beta1)
    surprise = grad - m
    s = s + (surprise * surprise - s) * (1 - beta2) + epsilon
    return var - quotient(m * alpha, np.sqrt(s) + small), m, s


def r_adam(
    var: Vec,
    m: Vec,
    v: Vec,
    beta1_power: Vec,
    beta2_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    sma: Vec,
    sma_threshold: Vec,
    grad: Vec,
) -> Outputs:
    m, v = moments(m, v, beta1, beta2, grad)
    sma, b = wide(sma), wide(beta2)
    if not ((sma >= wide(sma_threshold)) & (sma > 4) & (5 * beta2 > 3)):
        return var - m * quotient(lr, 1 - beta1_power), m, v
    of_length = (sma - 4) * (sma - 2) / sma
    r = np.sqrt(of_length * (1 + b) * (1 - b) / ((5 * b - 3) * (3 * b - 1)))
    alpha, _ = corrected(beta1_power, beta2_power, epsilon, lr * like(r, lr))
    return var - quotient(m * alpha, np.sqrt(v) + epsilon), m, v


def norm(x: Vec) -> Vec:
    """The norm, summed in float64 over blocks of 1024 elements."""
    flat = wide(Vec(x.data.reshape(-1)))
    sums = [interleaved_sum(part) for part in in_parts(flat * flat, 1024, 0)]
    return np.sqrt(running_sum(stacked(sums, 0), 0))


def lamb(
    var: Vec,
    m: Vec,
    v: Vec,
    beta1_power: Vec,
    beta2_power: Vec,
    lr: Vec,
    beta1: Vec,
    beta2: Vec,
    epsilon: Vec,
    weight_decay: Vec,
    grad: Vec,
) -> Outputs:
    alpha, small = corrected(beta1_power, beta2_power, epsilon, 1)
    m, v = moments(m, v, beta1, beta2, grad)
    direction = quotient(m * alpha, np.sqrt(v) + small) + weight_decay * var
    of_var, of_direction = norm(var), norm(direction)
    ratio = 1 if of_var == 0 or of_direction == 0 else like(of_var / of_direction, var)
    return var - (lr * ratio) * direction, m, v


def tiles(matrices: Vec) -> tuple[int, int]:
    """How many rows and columns of a matrix are summed at a time."""
    _, rows, columns = matrices.data.shape
    width = max(1, min(columns, 1024))
    return min(rows, max(64, 65536 // width)), width


def sums_of_rows(matrices: Vec) -> Vec:
    _, width = tiles(matrices)
    return running_sum(stacked([*map(interleaved_sum, in_parts(matrices, width, -1))], -1), -1)


def sums_of_columns(matrices: Vec) -> Vec:
    height, _ = tiles(matrices)
    parts = [running_sum(part, -2) for part in in_parts(matrices, height, -2)]
    return running_sum(stacked(parts, 0), 0)


def root_mean_square(matrices: Vec) -> Vec:
    """The root of the mean of all, by tiles."""
    height, width = tiles(matrices)
    squares = wide(matrices) * wide(matrices)
    sums = [
        running_sum(interleaved_sum(part), -1)
        for tile_row in in_parts(squares, height, -2)
        for part in in_parts(tile_row, width, -1)
    ]
    total = running_sum(Vec(stacked(sums, -1).data.reshape(-1)), 0)
    return like(np.sqrt(total / squares.data.size), matrices)


def matrices_of(shape: tuple[int, ...], size: int) -> tuple[int, int, int]:
    """The shape of a stack of matrices; one row, where there is no matrix."""
    return (-1, shape[-2], shape[-1]) if len(shape) >= 2 else (1, 1, size)


def factored(
    square: Vec, r: Vec, c: Vec, average: Callable[[Vec, Vec], Vec], divisor: Callable[[Vec], Vec]
) -> tuple[Vec, Vec, Vec]:
    """The product of the new means of rows and columns, and both of them."""
    shape = square.data.shape
    squares = wide(Vec(square.data.reshape(matrices_of(shape, square.data.size))))
    of_rows = Vec(r.data.reshape(-1, shape[-2]))
    of_columns = Vec(c.data.reshape(-1, shape[-1]))
    of_rows = average(of_rows, like(sums_of_rows(squares) / shape[-1], square))
    of_columns = average(of_columns, like(sums_of_columns(squares) / shape[-2], square))
    mean = divisor(like(interleaved_sum(wide(of_rows)) / shape[-2], square))
    factor = quotient(of_rows, Vec(mean.data[:, None]))
    v = Vec(factor.data[:, :, None]) * Vec(of_columns.data[:, None, :])
    r, c = Vec(of_rows.data.reshape(r.data.shape)), Vec(of_columns.data.reshape(c.data.shape))
    return Vec(v.data.reshape(shape)), r, c


def step_of_length(
    var: Vec,
    measured: Vec,
    x: Vec,
    lr: Vec,
    epsilon_2: Vec,
    clip_threshold: Vec,
    larger: Callable[[Any, Vec], Vec],
) -> Vec:
    """var after a step in a direction of the length that follows from both as a whole."""
    matrices = matrices_of(var.data.shape, var.data.size)
    excess = quotient(root_mean_square(Vec(x.data.reshape(matrices))), clip_threshold)
    alpha = larger(epsilon_2, root_mean_square(Vec(measured.data.reshape(matrices)))) * lr
    return var - alpha * (x / larger(1, excess))


def adafactor(
    var: Vec,
    r: Vec,
    c: Vec,
    v: Vec,
    lr: Vec,
    beta2: Vec,
    epsilon_1: Vec,
    epsilon_2: Vec,
    clip_threshold: Vec,
    grad: Vec,
) -> Outputs:
    if var.data.size == 0:
        return var, r, c, v

    def average(old: Vec, now: Vec) -> Vec:
        return beta2 * old + (1 - beta2) * now

    def larger(bound: Any, x: Vec) -> Vec:
        return select(x < bound, bound, x)  # NaN stays NaN

    square = grad * grad + epsilon_1
    if var.data.ndim < 2:
        v = average(v, square)
    else:
        v, r, c = factored(square, r, c, average, lambda mean: mean)
    x = quotient(grad, np.sqrt(v))
    return step_of_length(var, var, x, lr, epsilon_2, clip_threshold, larger), r, c, v


def torch_adafactor(
    var: Vec,
    r: Vec,
    c: Vec,
    v: Vec,
    lr: Vec,
    one_minus_beta2: Vec,
    epsilon_1: Vec,
    epsilon_2: Vec,
    clip_threshold: Vec,
    grad: Vec,
    measured: Vec | None = None,
) -> Outputs:
    """v is empty where r and c are not. `measured` is var before it decayed, if it did."""
    if var.data.size == 0:
        return var, r, c, v

    def average(old: Vec, now: Vec) -> Vec:
        if 1 - one_minus_beta2 < one_minus_beta2:
            return now + (old - now) * (1 - one_minus_beta2)
        return old + (now - old) * one_minus_beta2

    def larger(bound: Any, x: Vec) -> Vec:
        return select(~(x > bound), bound, x)  # NaN counts as small

    square = grad * grad
    if var.data.ndim < 2:
        moments = v = average(v, square)
    else:
        moments, r, c = factored(square, r, c, average, lambda mean: maximum(mean, epsilon_1))
    least = like(wide(epsilon_1) * wide(epsilon_1), epsilon_1)
    x = quotient(grad, np.sqrt(maximum(moments, least)))
    scale = var if measured is None else measured
    return step_of_length(var, scale, x, lr, epsilon_2, clip_threshold, larger), r, c, v


# ----- evaluation ------------------------------------------------------------------------------


def compute_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The dtype that the arithmetic of an array of this dtype is done in."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def scalar(name: str, value: float, dtype: np.dtype[Any]) -> Vec:
    """A hyperparameter, rounded to the compute type."""
    return Vec(dtype.type(np.float32(value) if name == "global_step" else value))


def decay(var: Vec, weight_decay: Vec, rate: Vec) -> Outputs:
    """Before an update."""
    return (var - (var * weight_decay) * rate,)


def average(var: Vec, mean: Vec, momentum: Vec) -> Outputs:
    """After an update. Returns the average alone."""
    return (momentum * mean + (1 - momentum) * var,)


def evaluate(
    rule: Callable[..., Outputs],
    arrays: Mapping[str, Array],
    hyper: Mapping[str, float],
    attrs: Mapping[str, bool],
    outputs: tuple[str, ...],
    compute: npt.DTypeLike | None = None,
    exact: bool = False,
) -> dict[str, Array]:
    """Apply a rule to copies of `arrays`; return the new values of the arrays named `outputs`.

    With `compute` the arithmetic is done in that dtype and the results are left in it: a wider one
    makes this the oracle that the error of a narrower computation is measured against. Numbers are
    rounded first, unless they are `exact`.
    """
    number = (lambda _, value, dtype: Exact(value, dtype)) if exact else scalar
    stored = arrays["var"].dtype
    work = np.dtype(compute) if compute else compute_dtype(stored)
    with np.errstate(all="ignore"):
        loaded = {name: Vec(array.astype(work)) for name, array in arrays.items()}
        numbers = {name: number(name, value, work) for name, value in hyper.items()}
        results = rule(**loaded, **numbers, **attrs)
        return {
            name: result.data.astype(work if compute else stored)
            for name, result in zip(outputs, results, strict=True)
        }
