"""Writes keras.npz: what Keras's own optimizers do, for test_keras_golden.py.

    python tests/golden/make_keras_golden.py

Needs tensorflow-cpu and tf_keras, not slotwise. The same versions write the same bytes.

For every configuration of keras_cases.py there is a matrix of states, a row for each step; the
matrices lie one behind the other in `float32` and `float64`. `about` is JSON: the versions, and of
every run its names, shapes, slots and configs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import keras_cases
import keras_tensorflow
from reference import Array

FILE = Path(__file__).parent / "keras.npz"


def members() -> dict[str, Array]:
    out: dict[str, Array] = {}
    about: dict[str, Any] = {"versions": keras_tensorflow.VERSIONS, "runs": []}
    for dtype in (np.float32, np.float64):
        states = []
        for number, config in enumerate(keras_cases.CONFIGS):
            problem = keras_cases.golden_problem(number).astype(dtype)
            run = keras_cases.run(keras_tensorflow, config, problem)
            states.append(run.states.astype(dtype).ravel())
            if dtype == np.float32:
                facts = {**vars(run), "config": str(config)}
                del facts["states"]
                about["runs"].append(facts)
        out[np.dtype(dtype).name] = np.concatenate(states)
    out["about"] = np.array(json.dumps(about))
    return out


if __name__ == "__main__":
    np.savez_compressed(FILE, **members())
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")
