"""One file per suite; whatever defines ``SUITE`` in this folder can be run."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from bench.suites.base import Suite


class _Threads(Suite):
    """What reports say about the runs of threads.py."""

    name = "threads"
    title = "Thread scaling"
    about = "The same update with more and more threads, each number in a process of its own."
    limits = True
    rank = 9


THREADS = _Threads()


@cache
def all_suites() -> dict[str, Suite]:
    found = {}
    for module in pkgutil.iter_modules(__path__):
        if module.name != "base":
            suite: Suite = importlib.import_module(f"{__name__}.{module.name}").SUITE
            found[suite.name] = suite
    return dict(sorted(found.items(), key=lambda item: item[1].rank))


def suite_of(record_suite: str) -> Suite:
    """The suite that a record names; thread scaling runs the dense suite, see threads.py."""
    return THREADS if record_suite == THREADS.name else all_suites()[record_suite]
