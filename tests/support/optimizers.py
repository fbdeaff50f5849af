"""The optimizers of both APIs, as parameters of tests, and what they hold."""

from __future__ import annotations

from typing import Any

import pytest
from slotwise import optimizers
from slotwise.optimizers import legacy

APIS = (optimizers, legacy)
LEGACY = ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam", "Ftrl")
CURRENT = (*LEGACY, "AdamW", "Adafactor", "Lion", "Lamb", "AdaBelief")
EVERY = [(api, name) for api, names in zip(APIS, (CURRENT, LEGACY), strict=True) for name in names]
both = pytest.mark.parametrize("api", APIS, ids=["current", "legacy"])
every = pytest.mark.parametrize(
    ("api", "name"), EVERY, ids=[f"{api.__name__.split('.')[-1]}-{name}" for api, name in EVERY]
)


def states(opt: Any) -> list[Any]:
    """The arrays of an optimizer's state, as its API lists them."""
    opt = getattr(opt, "inner_optimizer", opt)
    return list(opt.variables if isinstance(opt, optimizers.Optimizer) else opt.weights)
