# SPDX-License-Identifier: Apache-2.0
"""Writes keras_legacy.npz and keras_current.npz: what Keras's own optimizers do.

They are for test_keras_golden.py.

    python tests/golden/make_keras_golden.py

Needs tensorflow-cpu and tf_keras, not slotwise. The same versions write the same bytes.

For every configuration of keras_cases.py and each of its problems there is a matrix of states, a
row for each step that is kept; the matrices lie one behind the other in `float32` and `float64`.
`about` is JSON: the versions, and of every run its names, shapes, slots and configs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from support import keras_cases, keras_tensorflow
from support.reference import Array

FOLDER = Path(__file__).parent


def members(api: str) -> dict[str, Array]:
    out: dict[str, Array] = {}
    about: dict[str, Any] = {"versions": keras_tensorflow.VERSIONS, "runs": []}
    for dtype in (np.float32, np.float64):
        states = []
        for number, config in enumerate(keras_cases.CONFIGS[api]):
            for problem in keras_cases.golden_problems(api, number):
                run = keras_cases.run(keras_tensorflow, config, problem.astype(dtype))
                kept = run.states[list(keras_cases.KEPT_STEPS[api])]
                states.append(kept.astype(dtype).ravel())
                if dtype == np.float32:
                    facts = {**vars(run), "config": str(config)}
                    del facts["states"]
                    about["runs"].append(facts)
        out[np.dtype(dtype).name] = np.concatenate(states)
    out["about"] = np.array(json.dumps(about))
    return out


if __name__ == "__main__":
    for api in keras_cases.CONFIGS:
        file = FOLDER / f"keras_{api}.npz"
        np.savez_compressed(file, **members(api))
        print(f"{file.name}: {file.stat().st_size} bytes")
