# SPDX-License-Identifier: Apache-2.0
"""The optimizers of both APIs, as parameters of tests, and what they hold."""

from __future__ import annotations

from typing import Any

import pytest
from slotwise import optimizers
from slotwise.optimizers import _registry, legacy

APIS = (optimizers, legacy)
LEGACY = tuple(_registry.described("legacy"))
DESCRIPTIONS = {name: cls.description for name, cls in _registry.described("current").items()}
CURRENT = tuple(DESCRIPTIONS)
LAZY = tuple(name for name, each in DESCRIPTIONS.items() if not each.is_whole)
EVERY = [(api, name) for api, names in zip(APIS, (CURRENT, LEGACY), strict=True) for name in names]
both = pytest.mark.parametrize("api", APIS, ids=["current", "legacy"])
every = pytest.mark.parametrize(
    ("api", "name"), EVERY, ids=[f"{api.__name__.split('.')[-1]}-{name}" for api, name in EVERY]
)


def states(opt: Any) -> list[Any]:
    """The arrays of an optimizer's state, as its API lists them."""
    opt = getattr(opt, "inner_optimizer", opt)
    return list(opt.variables if isinstance(opt, optimizers.Optimizer) else opt.weights)
