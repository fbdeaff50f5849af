# SPDX-License-Identifier: Apache-2.0
"""Updating tables of arrays by an UpdatePlan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from slotwise import _core
from support.ops import DTYPES, OPS, Op
from support.reference import Array

RULES = {rule["name"]: rule for rule in _core.RULES if rule["has_dense"]}


def rule_of(op: Op) -> dict[str, Any]:
    return RULES[op.name.removeprefix("Apply")]


def scopes_of(op: Op) -> tuple[str, ...]:
    """What a sparse gradient may change: slots alone only where an optimizer asks for that."""
    return ("rows", "slots", "whole") if rule_of(op)["sweeps_slots"] else ("rows", "whole")


OPS_AND_DTYPES = [(op, tag) for op in OPS for tag in DTYPES]


def _params(has: str) -> list[Any]:
    """Parameters of pytest: ops whose rule has that, with dtypes."""
    return [
        pytest.param(op, tag, id=f"{op.name}-{tag}")
        for op, tag in OPS_AND_DTYPES
        if rule_of(op)[has]
    ]


DENSE, SPARSE = _params("has_dense"), _params("has_sparse")

Table = dict[str, Array]


def plan(op: Op, tables: list[Table], averages: Any = None, decays: Any = None) -> Any:
    rule = rule_of(op)
    entries = [
        (x["var"], f"'v{i}'", x["var"], *(x[name] for name in rule["slots"]))
        for i, x in enumerate(tables)
    ]
    return _core.UpdatePlan("step", rule["name"], entries, averages, decays)


def numbers(op: Op, hyper: Mapping[str, float]) -> tuple[tuple[float, ...], ...]:
    """Hyperparameters in the rule's order, rounded as the raw ops do it."""
    values = [hyper[name] for name in rule_of(op)["hypers"]]
    rounded = tuple(x if isinstance(x, int) else float(np.float32(x)) for x in values)
    return rounded, tuple(values)


def apply(
    op: Op,
    plan: Any,
    pairs: Any,
    scope: str = "rows",
    clips: Sequence[Any] = (None,) * 3,
    hypers: Any = None,
    **around: Any,
) -> bool:
    attrs = tuple(op.attrs[name] for name in rule_of(op)["attrs"])
    if not plan.matches(pairs):
        return False
    plan.apply(pairs, hypers or numbers(op, op.hyper), attrs, *clips, scope, **around)
    return True
