# SPDX-License-Identifier: Apache-2.0
"""What Keras's own optimizers did (golden/make_keras_golden.py), against what ours do."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support import keras_cases, keras_slotwise
from support.keras_cases import CONFIGS, KEPT_STEPS, Trajectory
from support.reference import Array

FOLDER = Path(__file__).parents[1] / "golden"
CASES = [
    (api, number, position)
    for api, configs in CONFIGS.items()
    for number in range(len(configs))
    for position in range(len(keras_cases.golden_problems(api, number)))
]


@cache
def golden(api: str) -> dict[str, Array]:
    with np.load(FOLDER / f"keras_{api}.npz") as file:
        return {name: file[name] for name in file.files}


@cache
def expected(api: str, dtype: str) -> list[Trajectory]:
    numbers, begin, out = golden(api)[dtype].astype(np.float64), 0, []
    rows = len(KEPT_STEPS[api])
    for facts in json.loads(str(golden(api)["about"]))["runs"]:
        shapes = [tuple(shape) for shape in facts["shapes"]]
        width = sum(int(np.prod(shape)) for shape in shapes)
        states = numbers[begin : begin + rows * width].reshape(rows, width)
        begin += rows * width
        rest = {key: value for key, value in facts.items() if key not in ("shapes", "config")}
        out.append(Trajectory(shapes=shapes, states=states, **rest))
    assert begin == numbers.size
    return out


@pytest.mark.parametrize("api", CONFIGS)
def test_configurations_are_those_that_keras_was_run_with(api: str) -> None:
    """After a change of keras_cases.py, run make_keras_golden.py again."""
    about = json.loads(str(golden(api)["about"]))
    runs = [str(CONFIGS[api][number]) for of, number, _ in CASES if of == api]
    assert [facts["config"] for facts in about["runs"]] == runs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {CONFIGS[c[0]][c[1]]} {c[2]}")
def test_as_keras(case: tuple[str, int, int], dtype: str) -> None:
    api, number, position = case
    config = CONFIGS[api][number]
    want = expected(api, dtype)[[of for of in CASES if of[0] == api].index(case)]
    problem = keras_cases.golden_problems(api, number)[position].astype(dtype)
    got = keras_cases.run(keras_slotwise, config, problem)
    got = replace(got, states=got.states[list(KEPT_STEPS[api])])
    keras_cases.assert_close(got, want, dtype, config.is_scheduled)
    assert keras_cases.rounded_like(got.config_before, want.config_before) == want.config_before
    assert keras_cases.rounded_like(got.config_after, want.config_after) == want.config_after
    assert list(got.config_after) == list(want.config_after)
