"""Writes tensorflow.npz: what the real TensorFlow makes of small inputs, for test_golden.py.

    python tests/golden/make_golden.py

Needs tensorflow-cpu, not slotwise. The same versions on the same processor write the same bytes
(of rsqrt, the processor's estimate decides the last bits).

Per dtype the file has a matrix of bits, each row one array, and the rows' names; `special` has all
combinations of NaN, infinities, zeros, 1 and 0.1 in float32; `about` says with what it was made.
"""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import tensorflow as tf
import tensorflow_ops
from compare import bits
from ops import CASES as ALL_CASES
from ops import DTYPES, SPECIAL, Case
from reference import Array

CASES = [case for case in ALL_CASES if case.op.tf_dtypes]
SIZE = 35  # four of TensorFlow's vectors of eight, and a remainder


def rows(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    results = tensorflow_ops.run(case, arrays)
    given = {f"{case}/given/{name}": bits(np.ascontiguousarray(x)) for name, x in arrays.items()}
    return {**given, **{f"{case}/becomes/{name}": bits(x) for name, x in results.items()}}


def members() -> dict[str, Array]:
    out: dict[str, Array] = {}
    for tag, dtype in DTYPES.items():
        table: dict[str, Array] = {}
        for case in CASES:
            if tag in case.op.tf_dtypes:
                seed = zlib.crc32(f"{case}/{tag}".encode())
                table |= rows(case, case.draw(dtype, SIZE, seed))
        out[tag], out[f"{tag}_names"] = np.stack([*table.values()]), np.array([*table])
    # Here the inputs are the same for all, and not worth storing.
    table = {}
    for case in CASES:
        made = rows(case, case.grid(np.float32, SPECIAL))
        table |= {name: row for name, row in made.items() if "/given/" not in name}
    out["special"], out["special_names"] = np.stack([*table.values()]), np.array([*table])
    about = {
        "tensorflow": tf.__version__,
        "hyper": {str(case): dict(case.hyper) for case in CASES},
    }
    out["about"] = np.array(json.dumps(about))
    return out


if __name__ == "__main__":
    path = Path(__file__).parent / "tensorflow.npz"
    np.savez_compressed(path, **members())
    print(path, path.stat().st_size, "bytes")
