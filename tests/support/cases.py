"""Parameters that suites over the table of ops share, and rows that one test goes through."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from support.ops import CASES, DTYPES, OPS
from support.rows import MODES, SPARSE_CASES, SPARSE_OPS

every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
every_case = pytest.mark.parametrize("case", CASES, ids=str)
every_sparse_op = pytest.mark.parametrize("case", SPARSE_OPS, ids=lambda case: case.name)
every_sparse_case = pytest.mark.parametrize("case", SPARSE_CASES, ids=str)
every_dtype = pytest.mark.parametrize("tag", DTYPES)
every_mode = pytest.mark.parametrize("mode", MODES)
every_index = pytest.mark.parametrize("index", [np.int32, np.int64])

# `with row(name):`, the fixture of conftest.py.
Row = Callable[[str], AbstractContextManager[None]]
