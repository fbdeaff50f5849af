# SPDX-License-Identifier: Apache-2.0
"""What tensorflow.npz holds and how: for make_golden.py, which writes it, and test_golden.py.

Needs neither TensorFlow nor slotwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from support.compare import bits
from support.ops import CASES as ALL_CASES
from support.reference import Array
from support.rows import TF_CASES, SparseCase

PATH = Path(__file__).parent / "tensorflow.npz"

CASES = tuple(case for case in ALL_CASES if case.op.tf_dtypes)
SIZE = 35  # four of TensorFlow's vectors of eight, and a remainder

# For tables: TensorFlow computes rows of one element apart; 11 is a vector and a remainder.
WIDTHS = (1, 3, 11)
ROWS = 3
REPEATED, DISTINCT = (2, 0, 2, 2), (2, 0)  # row 1 never
SCATTERS = ("Add", "Sub", "Mul", "Div", "Min", "Max", "Update")
UPDATES = ("rows", "one")  # an update for each element, or one for all


def ids_of(case: SparseCase) -> Array:
    """TensorFlow's Adagrad ops split the ids among threads and may lose updates of equal ids."""
    may_lose = case.op.name in ("ApplyAdagrad", "ApplyAdagradV2")
    return np.array(DISTINCT if may_lose else REPEATED)


def about() -> dict[str, Any]:
    """What the results depend on, but for the arrays, which are in the file."""
    return {
        "hyper": {str(case): dict(case.hyper) for case in CASES},
        "ids": {str(case): ids_of(case).tolist() for case, _ in TF_CASES},
        "tables": {"widths": WIDTHS, "rows": ROWS, "repeated": REPEATED},
    }


def pack(member: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The bits of arrays of one dtype, one after the other, and their names and shapes."""
    index = json.dumps({name: x.shape for name, x in arrays.items()})
    data = np.concatenate([bits(np.ascontiguousarray(x).reshape(-1)) for x in arrays.values()])
    return {member: data, f"{member}_index": np.frombuffer(index.encode(), np.uint8)}


def unpack(file: Mapping[str, Array], member: str, dtype: np.dtype[Any]) -> dict[str, Array]:
    shapes = json.loads(file[f"{member}_index"].tobytes())
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
    parts = np.split(file[member].view(dtype), ends[:-1])
    return {name: x.reshape(shapes[name]) for name, x in zip(shapes, parts, strict=True)}
