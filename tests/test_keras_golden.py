"""What Keras's own optimizers did (golden/make_keras_golden.py), against what ours do."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import keras_cases
import keras_slotwise
import numpy as np
import pytest
from keras_cases import CONFIGS, GOLDEN_STEPS, Trajectory
from reference import Array

FOLDER = Path(__file__).parent / "golden"


@cache
def golden() -> dict[str, Array]:
    with np.load(FOLDER / "keras.npz") as file:
        return {name: file[name] for name in file.files}


@cache
def expected(dtype: str) -> list[Trajectory]:
    numbers, begin, out = golden()[dtype].astype(np.float64), 0, []
    for facts in json.loads(str(golden()["about"]))["runs"]:
        shapes = [tuple(shape) for shape in facts["shapes"]]
        width = sum(int(np.prod(shape)) for shape in shapes)
        size = GOLDEN_STEPS * width
        states = numbers[begin : begin + size].reshape(GOLDEN_STEPS, width)
        begin += size
        rest = {key: value for key, value in facts.items() if key not in ("shapes", "config")}
        out.append(Trajectory(shapes=shapes, states=states, **rest))
    assert begin == numbers.size
    return out


def test_configurations_are_those_that_keras_was_run_with() -> None:
    """After a change of keras_cases.py, run make_keras_golden.py again."""
    about = json.loads(str(golden()["about"]))
    assert [facts["config"] for facts in about["runs"]] == [str(config) for config in CONFIGS]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("number", range(len(CONFIGS)), ids=[str(config) for config in CONFIGS])
def test_as_keras(number: int, dtype: str) -> None:
    config = CONFIGS[number]
    want = expected(dtype)[number]
    got = keras_cases.run(keras_slotwise, config, keras_cases.golden_problem(number).astype(dtype))
    keras_cases.assert_close(got, want, dtype, config.is_scheduled)
    assert got.config_before == want.config_before
    assert got.config_after == want.config_after
    assert list(got.config_after) == list(want.config_after)
