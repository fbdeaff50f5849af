# SPDX-License-Identifier: Apache-2.0
"""Compiled kernels of slotwise (written by scripts/make_stub.py)."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Var = TypeVar("_Var")

RULES: tuple[dict[str, Any], ...]

def targets() -> list[str]: ...
def active_target() -> str: ...
def set_target(name: str) -> bool: ...
def num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def share_team_of(library: str) -> bool: ...
def owned_by_threads() -> list[Any]: ...
def build_config() -> dict[str, Any]: ...
def allocate(bytes: int) -> NDArray[np.uint8]: ...
def are_all(numbers: list[NDArray[Any]], value: float) -> bool: ...
def are_held(
    tensors: list[Any],
    states: list[dict[str, Any]],
    names: tuple[str, ...],
    arrays: list[NDArray[Any]],
) -> bool: ...
def as_array(op: str, name: str, value: Any) -> NDArray[Any]: ...
def gather(table: Any, ids: Any, out: Any) -> NDArray[Any]: ...
def gather_pooled(tables: list[tuple[Any, Any, Any]], many: bool, out: Any) -> NDArray[Any]: ...
def check_bags(grads: Any, ids: Any, bags: Any) -> None: ...
def expand_bags(grads: Any, ids: Any, bags: Any) -> NDArray[Any]: ...
def pooled_weight_gradient(grads: Any, table: Any, ids: Any, bags: Any) -> NDArray[Any]: ...
def coalesce(
    ids: Any, grads: Any, num_rows: int, exact: bool, bags: Any = None
) -> tuple[NDArray[np.int64], NDArray[Any], RowPlan]: ...
def place_rows(
    op: str, ids: Any, num_rows: int, owners: Any, starts: Any
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]: ...
def exact_terms(
    plan: RowPlan, grads: Any, order: Any, bags: Any = None
) -> tuple[NDArray[np.int64], NDArray[Any]]: ...
def require_current(op: str, name: str, array: Any, known: list[Deferral]) -> None: ...
def clip(
    gradients: list[Any],
    clipvalue: Any,
    clipnorm: Any,
    global_clipnorm: Any,
    sums: list[float] | None = None,
) -> list[NDArray[Any]]: ...
def sums_of_squares(arrays: list[Any]) -> list[float]: ...
def decay_weights(op: str, var: Any, rows: Any, decay: tuple[Any, Any]) -> None: ...
def average_weights(
    op: str, average: Any, var: Any, rows: Any, settings: tuple[Any, bool]
) -> None: ...
def apply_all(
    steps: list[tuple[Any, ...]],
    after: tuple[tuple[NDArray[Any] | list[NDArray[Any]], Any], ...] = (),
    only_check: bool = False,
) -> None: ...
def scatter(op: str, var: _Var, indices: Any, updates: Any, use_locking: bool) -> _Var: ...

class RowPlan:
    def __init__(self, ids: Any, num_rows: int, bounds: str) -> None: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def unique(self) -> NDArray[np.int64]: ...
    @property
    def counts(self) -> NDArray[np.int64]: ...
    @property
    def inverse(self) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...

class Deferral:
    def __init__(
        self,
        op: str,
        rule: str,
        arrays: tuple[Any, ...],
        scope: str,
        average: Any,
        last: NDArray[np.int32],
        rows: int,
    ) -> None: ...
    @property
    def arrays(self) -> tuple[NDArray[Any], ...]: ...
    @property
    def last(self) -> NDArray[np.int32]: ...
    @property
    def clock(self) -> NDArray[np.float64]: ...
    def restore(self, last: NDArray[np.int32], clock: NDArray[np.float64]) -> None: ...
    @property
    def is_behind(self) -> bool: ...
    @property
    def flushes(self) -> int: ...
    @property
    def now(self) -> int: ...
    def flush(self) -> None: ...
    def read(self, which: int = -1, ids: Any = None, out: Any = None) -> NDArray[Any]: ...

class UpdatePlan:
    def __init__(
        self,
        op: str,
        rule: str,
        entries: list[tuple[Any, ...]],
        averages: list[Any] | None = None,
        decays: list[bool] | None = None,
        deferrals: list[Any] | None = None,
    ) -> None: ...
    @property
    def flushes(self) -> int: ...
    def matches(self, pairs: list[Any]) -> bool: ...
    def apply(
        self,
        pairs: list[Any],
        hypers: tuple[tuple[Any, ...] | None, ...],
        attrs: tuple[bool, ...],
        clipvalue: Any,
        clipnorm: Any,
        global_clipnorm: Any,
        scope: str,
        decay: tuple[tuple[float, float] | None, ...] | None = None,
        average: tuple[float, bool] | None = None,
        around: str = "rows",
        gradient: tuple[float, float] | None = None,
        after: tuple[tuple[NDArray[Any], Any], ...] = (),
    ) -> None: ...

def ApplyGradientDescent(
    var: _Var,
    delta: Any,
    alpha: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyProximalGradientDescent(
    var: _Var,
    delta: Any,
    alpha: Any,
    l1: Any,
    l2: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdadelta(
    var: _Var,
    accum: Any,
    accum_update: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdagrad(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    update_slots: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdagradV2(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    epsilon: Any,
    update_slots: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyKerasAdagrad(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdagradDA(
    var: _Var,
    gradient_accumulator: Any,
    gradient_squared_accumulator: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    global_step: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyProximalAdagrad(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyFtrl(
    var: _Var,
    accum: Any,
    linear: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    lr_power: Any,
    multiply_linear_by_lr: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyFtrlV2(
    var: _Var,
    accum: Any,
    linear: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    l2_shrinkage: Any,
    lr_power: Any,
    multiply_linear_by_lr: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyMomentum(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    momentum: Any,
    use_nesterov: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyKerasMomentum(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    momentum: Any,
    use_nesterov: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdam(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_nesterov: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdamWithAmsgrad(
    var: _Var,
    m: Any,
    v: Any,
    vhat: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdaMax(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyTorchAdaMax(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyRMSProp(
    var: _Var,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyCenteredRMSProp(
    var: _Var,
    mg: Any,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyKerasRMSProp(
    var: _Var,
    rms: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    epsilon_in_root: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyKerasCenteredRMSProp(
    var: _Var,
    rms: Any,
    mg: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    epsilon_in_root: bool,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyTorchRMSProp(
    var: _Var,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyTorchCenteredRMSProp(
    var: _Var,
    mg: Any,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAddSign(
    var: _Var,
    m: Any,
    grad: Any,
    lr: Any,
    alpha: Any,
    sign_decay: Any,
    beta: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyPowerSign(
    var: _Var,
    m: Any,
    grad: Any,
    lr: Any,
    logbase: Any,
    sign_decay: Any,
    beta: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyRprop(
    var: _Var,
    prev: Any,
    step_size: Any,
    grad: Any,
    etaminus: Any,
    etaplus: Any,
    step_size_min: Any,
    step_size_max: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyNadam(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    momentum: Any,
    momentum_next: Any,
    momentum_product: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyLion(
    var: _Var,
    m: Any,
    grad: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdaBelief(
    var: _Var,
    m: Any,
    s: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyRAdam(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    sma: Any,
    sma_threshold: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyLamb(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    weight_decay: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyAdafactor(
    var: _Var,
    r: Any,
    c: Any,
    v: Any,
    grad: Any,
    lr: Any,
    beta2: Any,
    epsilon_1: Any,
    epsilon_2: Any,
    clip_threshold: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def ApplyTorchAdafactor(
    var: _Var,
    r: Any,
    c: Any,
    v: Any,
    grad: Any,
    lr: Any,
    one_minus_beta2: Any,
    epsilon_1: Any,
    epsilon_2: Any,
    clip_threshold: Any,
    use_locking: bool,
    /,
) -> _Var: ...
def SparseApplyGradientDescent(
    var: _Var,
    delta: Any,
    alpha: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyProximalGradientDescent(
    var: _Var,
    delta: Any,
    alpha: Any,
    l1: Any,
    l2: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdadelta(
    var: _Var,
    accum: Any,
    accum_update: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdagrad(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    update_slots: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdagradV2(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    epsilon: Any,
    update_slots: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyKerasAdagrad(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdagradDA(
    var: _Var,
    gradient_accumulator: Any,
    gradient_squared_accumulator: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    global_step: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyProximalAdagrad(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyFtrl(
    var: _Var,
    accum: Any,
    linear: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    lr_power: Any,
    multiply_linear_by_lr: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyFtrlV2(
    var: _Var,
    accum: Any,
    linear: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    l2_shrinkage: Any,
    lr_power: Any,
    multiply_linear_by_lr: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyMomentum(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    momentum: Any,
    use_nesterov: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyKerasMomentum(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    momentum: Any,
    use_nesterov: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdam(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_nesterov: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdamWithAmsgrad(
    var: _Var,
    m: Any,
    v: Any,
    vhat: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdaMax(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyTorchAdaMax(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyRMSProp(
    var: _Var,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyCenteredRMSProp(
    var: _Var,
    mg: Any,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyKerasRMSProp(
    var: _Var,
    rms: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    epsilon_in_root: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyKerasCenteredRMSProp(
    var: _Var,
    rms: Any,
    mg: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    epsilon_in_root: bool,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyTorchRMSProp(
    var: _Var,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyTorchCenteredRMSProp(
    var: _Var,
    mg: Any,
    ms: Any,
    mom: Any,
    grad: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAddSign(
    var: _Var,
    m: Any,
    grad: Any,
    lr: Any,
    alpha: Any,
    sign_decay: Any,
    beta: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyPowerSign(
    var: _Var,
    m: Any,
    grad: Any,
    lr: Any,
    logbase: Any,
    sign_decay: Any,
    beta: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyRprop(
    var: _Var,
    prev: Any,
    step_size: Any,
    grad: Any,
    etaminus: Any,
    etaplus: Any,
    step_size_min: Any,
    step_size_max: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyNadam(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    momentum: Any,
    momentum_next: Any,
    momentum_product: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyLion(
    var: _Var,
    m: Any,
    grad: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyAdaBelief(
    var: _Var,
    m: Any,
    s: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyRAdam(
    var: _Var,
    m: Any,
    v: Any,
    grad: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    sma: Any,
    sma_threshold: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
def SparseApplyRowWiseAdagrad(
    var: _Var,
    accum: Any,
    grad: Any,
    lr: Any,
    epsilon: Any,
    use_locking: bool,
    indices: Any,
    duplicates: str,
    bounds: str,
    offsets: Any,
    weights: Any,
    mode: Any,
    include_last_offset: Any,
    /,
) -> _Var | int: ...
