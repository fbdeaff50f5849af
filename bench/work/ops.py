# SPDX-License-Identifier: Apache-2.0
"""The ops as the benchmark calls them: arguments, hyperparameters, memory traffic.

Hyperparameters are dyadic fractions, so that float16 and bfloat16 hold them exactly and every
peer, whatever type it computes in, is given the same update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Scalar = float | int | bool

HYPERPARAMETERS: dict[str, Scalar] = {
    "lr": 0.125,
    "alpha": 0.125,
    "rho": 0.875,
    "momentum": 0.875,
    "epsilon": 2.0**-10,
    "beta": 0.875,
    "beta1": 0.875,
    "beta2": 1 - 2.0**-8,
    "beta1_power": 0.875,
    "beta2_power": 1 - 2.0**-8,
    "l1": 2.0**-6,
    "l2": 2.0**-6,
    "l2_shrinkage": 2.0**-6,
    "lr_power": -0.5,
    "logbase": 1.0,
    "sign_decay": 0.5,
    "global_step": 8,
}


@dataclass(frozen=True)
class Op:
    """One op. ``signature``: TensorFlow's inputs in order, ``*`` after updated arrays."""

    name: str
    signature: str
    override: Mapping[str, Scalar] = field(default_factory=dict)
    per_row: tuple[str, ...] = ()  # slots of one element per row

    @property
    def arguments(self) -> list[str]:
        return [word.rstrip("*") for word in self.signature.split()]

    @property
    def updated(self) -> list[str]:
        """var and the slots, in order."""
        return [word.rstrip("*") for word in self.signature.split() if word.endswith("*")]

    @property
    def gradient(self) -> str:
        return "delta" if "delta" in self.arguments else "grad"

    @property
    def hyperparameters(self) -> dict[str, Scalar]:
        arrays = {*self.updated, self.gradient}
        return {
            name: self.override.get(name, HYPERPARAMETERS[name])
            for name in self.arguments
            if name not in arrays
        }

    @property
    def reads(self) -> int:
        """Arrays read per call. AdagradDA's var counts: a store brings its line in as well."""
        return len(self.updated) + 1

    @property
    def writes(self) -> int:
        return len(self.updated)


_OVERRIDES: dict[str, dict[str, Scalar]] = {
    # ms - mg*mg cancels once the slots have settled: an epsilon above its rounding error in
    # 16-bit storage keeps the square root away from negative numbers in every peer.
    "ApplyCenteredRMSProp": {"epsilon": 0.125},
    "ApplyAddSign": {"alpha": 1.0},
}

# TensorFlow's dense ops, and the sparse one that has no dense one. (scripts/make_op_tables.py)
# signatures: begin
_SIGNATURES = """
ApplyGradientDescent var* alpha delta
ApplyProximalGradientDescent var* alpha l1 l2 delta
ApplyAdadelta var* accum* accum_update* lr rho epsilon grad
ApplyAdagrad var* accum* lr grad
ApplyAdagradV2 var* accum* lr epsilon grad
ApplyAdagradDA var* gradient_accumulator* gradient_squared_accumulator* grad lr l1 l2 global_step
ApplyProximalAdagrad var* accum* lr l1 l2 grad
ApplyFtrl var* accum* linear* grad lr l1 l2 lr_power
ApplyFtrlV2 var* accum* linear* grad lr l1 l2 l2_shrinkage lr_power
ApplyMomentum var* accum* lr grad momentum
ApplyKerasMomentum var* accum* lr grad momentum
ApplyAdam var* m* v* beta1_power beta2_power lr beta1 beta2 epsilon grad
ApplyAdamWithAmsgrad var* m* v* vhat* beta1_power beta2_power lr beta1 beta2 epsilon grad
ApplyAdaMax var* m* v* beta1_power lr beta1 beta2 epsilon grad
ApplyRMSProp var* ms* mom* lr rho momentum epsilon grad
ApplyCenteredRMSProp var* mg* ms* mom* lr rho momentum epsilon grad
ApplyAddSign var* m* lr alpha sign_decay beta grad
ApplyPowerSign var* m* lr logbase sign_decay beta grad
SparseApplyRowWiseAdagrad var* accum* lr epsilon grad
"""
# signatures: end

_BY_NAME = dict(line.split(" ", 1) for line in _SIGNATURES.split("\n") if line)

OPS: dict[str, Op] = {
    name: Op(name, signature, _OVERRIDES.get(name, {}))
    for name, signature in _BY_NAME.items()
    if name.startswith("Apply")
}

_ROW_WISE = "SparseApplyRowWiseAdagrad"

# The rule of every dense op on rows; and one that has no dense op.
SPARSE_OPS: dict[str, Op] = {
    op.name: op
    for op in (
        *(
            replace(op, name=f"Sparse{op.name}", signature=op.signature.replace("delta", "grad"))
            for op in OPS.values()
        ),
        Op(_ROW_WISE, _BY_NAME[_ROW_WISE], per_row=("accum",)),
    )
}

# What else is done with rows of a table.
ROW_CALLS = ("coalesce", "gather", "gather_pooled")


def short_name(op: str) -> str:
    return op.removeprefix("Sparse").removeprefix("Apply")
