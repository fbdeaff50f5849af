# SPDX-License-Identifier: Apache-2.0
"""One file per suite; whatever defines ``SUITE`` in this folder can be run."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from bench.suites.base import Suite


@cache
def all_suites() -> dict[str, Suite]:
    """Every suite by name, in the order of reports."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            suite: Suite = importlib.import_module(f"{__name__}.{module.name}").SUITE
            found[suite.name] = suite
    return dict(sorted(found.items(), key=lambda item: item[1].rank))
