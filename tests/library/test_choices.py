# SPDX-License-Identifier: Apache-2.0
"""Choices that the package makes when it calls the extension: one of a few strings each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from slotwise import _core

TABLE = np.ones((3, 2), np.float32)
IDS = np.array([1])
OPS = "'ScatterAdd' or 'ScatterSub' or 'ScatterMul' or 'ScatterDiv' or 'ScatterMin' or "
OPS += "'ScatterMax' or 'ScatterUpdate'"


def scatter(choice: Any) -> object:
    return _core.scatter(choice, TABLE.copy(), IDS, TABLE[:1], False)


def pool(choice: Any) -> object:
    bags = (np.array([0, 1]), None, choice, True)
    return _core.gather_pooled([(TABLE, IDS, bags)], False, None)


def plan(choice: Any) -> object:
    return _core.RowPlan(IDS, 3, choice)


def step(scope: Any = "rows", around: Any = "rows") -> object:
    var = TABLE.copy()
    update = _core.UpdatePlan("step", "GradientDescent", [(var, "w", var)])
    pairs, numbers = [(TABLE, var)], ((0.5,), None)
    return update.apply(pairs, numbers, (), None, None, None, scope, None, None, around)


CHOICES: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "op": (scatter, "scatter", OPS),
    "mode": (pool, "gather_pooled", "'sum' or 'mean' or 'sqrtn'"),
    "bounds": (plan, "RowPlan", "'raise' or 'skip'"),
    "scope": (lambda choice: step(scope=choice), "step", "'rows', 'slots' or 'whole'"),
    "around": (lambda choice: step(around=choice), "step", "'rows' or 'whole'"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_each_choice_is_taken(name: str) -> None:
    call, _, expected = CHOICES[name]
    for choice in expected.replace(" or ", ", ").split(", "):
        if choice != "'slots'":  # of which the rule has none
            call(choice.strip("'"))


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize(("got", "error"), [("no", ValueError), (0, TypeError), (None, TypeError)])
def test_others_are_named(name: str, got: object, error: type[Exception]) -> None:
    call, op, expected = CHOICES[name]
    with pytest.raises(error) as raised:
        call(got)
    assert str(raised.value) == f"{op}: {name}: expected {expected}, got {got!r}"
