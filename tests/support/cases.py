# SPDX-License-Identifier: Apache-2.0
"""Parameters that suites share, and rows that one case of pytest goes through.

A case takes pytest a few milliseconds where a call takes a few microseconds: so dtypes, shapes and
the like are rows, of which those that fail are reported by name, as subtests, and all run.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from support.ops import CASES, DTYPES, OPS
from support.rows import MODES, SPARSE_CASES, SPARSE_OPS

Test = Callable[..., None]


@contextmanager
def row(subtests: pytest.Subtests, name: str) -> Iterator[None]:
    """One row. If it passes, nothing is reported: that, too, would take longer than the row."""
    try:
        yield
    except (Exception, pytest.fail.Exception, pytest.skip.Exception):
        with subtests.test(name):
            raise


def in_rows(**parameters: Iterable[Any]) -> Callable[[Test], Test]:
    """As ``pytest.mark.parametrize``, where each combination is a row. May be repeated."""

    def decorate(test: Test) -> Test:
        inner, more = getattr(test, "in_rows", (test, {}))
        axes = {**{name: list(values) for name, values in parameters.items()}, **more}

        @functools.wraps(test)
        def every(subtests: pytest.Subtests, **fixtures: Any) -> None:
            for values in itertools.product(*axes.values()):
                named = dict(zip(axes, values, strict=True))
                with row(subtests, ", ".join(f"{name}={_shown(x)}" for name, x in named.items())):
                    inner(**fixtures, **named)

        signature = inspect.signature(inner)
        fixtures = [x for name, x in signature.parameters.items() if name not in axes]
        own = inspect.Parameter("subtests", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        vars(every)["in_rows"] = inner, axes
        vars(every)["__signature__"] = signature.replace(parameters=[own, *fixtures])
        return every

    return decorate


def _shown(value: Any) -> str:
    name = getattr(value, "__name__", None)  # of a class or a function
    return str(value) if name is None else str(name)


every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_sparse_op = pytest.mark.parametrize("case", SPARSE_OPS, ids=lambda case: case.name)
every_sparse_case = pytest.mark.parametrize("case", SPARSE_CASES, ids=str)
every_dtype = in_rows(tag=DTYPES)
every_mode = in_rows(mode=MODES)
every_index = in_rows(index=(np.int32, np.int64))
