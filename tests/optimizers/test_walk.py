# SPDX-License-Identifier: Apache-2.0
"""Which rooms of the house `apply_gradients` goes through, and that it does not come back."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import Variable, optimizers

# The rooms of a step whose variables are known, in order, as HACKING.md has it.
ROOMS = {
    "current": [
        "slotwise.optimizers.current._described",
        "slotwise.optimizers.current._settings",
        "slotwise._lock",
        "slotwise.optimizers._step",
        "slotwise.optimizers._numbers",
        "slotwise.optimizers._descriptions.adam",
    ],
    "legacy": [
        "slotwise.optimizers.legacy._described",
        "slotwise._lock",
        "slotwise.optimizers.legacy._hyperparameters",
        "slotwise.optimizers._step",
        "slotwise.optimizers._numbers",
        "slotwise.optimizers._descriptions.adam",
    ],
}


def calls_between_modules(function: Any) -> list[tuple[str, str]]:
    """The calls of Python functions of slotwise from one module into another, in order."""
    found: list[tuple[str, str]] = []

    def module(frame: Any) -> str:
        return str(frame.f_globals.get("__name__", ""))

    def record(frame: Any, event: str, argument: Any) -> None:
        callee = module(frame)
        if event != "call" or not callee.startswith("slotwise"):
            return
        caller = frame.f_back
        while caller is not None and not module(caller).startswith("slotwise"):
            caller = caller.f_back
        found.append(("" if caller is None else module(caller), callee))

    gc.disable()  # or what it does for dead optimizers of other tests comes between
    sys.setprofile(record)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    return [(caller, callee) for caller, callee in found if caller != callee]


def returns(calls: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The calls into a room that had gone on into another one before."""
    left: set[str] = set()
    found = []
    for caller, callee in calls:
        left.add(caller)
        if callee in left:
            found.append((caller, callee))
    return found


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("api", [*ROOMS])
def test_a_step_goes_through_six_rooms_and_never_back(api: str, as_zip: bool) -> None:
    opt = {"current": optimizers, "legacy": optimizers.legacy}[api].Adam()
    variables = [Variable(np.ones(size, np.float32)) for size in (3, 64)]
    grads = [np.ones(var.shape, np.float32) for var in variables]

    def step() -> None:
        pairs = zip(grads, variables, strict=True)
        opt.apply_gradients(pairs if as_zip else [*pairs])

    step()
    step()  # what is made once is there
    calls = calls_between_modules(step)
    rooms = [*dict.fromkeys(callee for _, callee in calls)]
    assert returns(calls) == []
    assert rooms == ROOMS[api]
    assert len(rooms) <= 6
    assert int(opt.iterations) == 3


def test_a_return_is_seen() -> None:
    there_and_back = [("", "a"), ("a", "b"), ("b", "c"), ("a", "c"), ("c", "b")]
    assert returns(there_and_back) == [("c", "b")]


def others() -> list[Any]:
    """All classes with a description, except for Nadam.

    It has a number of its own, for which it asks the description before the step does.
    """
    return [
        pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")
        for module in (optimizers.current, optimizers.legacy)
        for name in module.__all__
        if name not in ("Optimizer", "Nadam")
    ]


@pytest.mark.parametrize("cls", others())
def test_no_optimizer_makes_a_step_come_back(cls: type[Any]) -> None:
    opt, var = cls(), Variable(np.ones((2, 2), np.float32))
    pairs = [(np.ones((2, 2), np.float32), var)]
    opt.apply_gradients(pairs)
    opt.apply_gradients(pairs)
    assert returns(calls_between_modules(lambda: opt.apply_gradients(pairs))) == []


def test_nothing_is_tracked_here() -> None:
    assert not slotwise._tracking.is_used(), "or steps go through one room more"
