# SPDX-License-Identifier: Apache-2.0
"""`diff`, by subprocess, and the numbers that it is made of."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import optimizers
from slotwise._cli._compare import Difference
from support.command_line import done, refused, run


def saved(path: Path, **variables: Any) -> Path:
    slotwise.save(path, variables=variables)
    return path


def test_the_same(folder: Path, tmp_path: Path) -> None:
    assert done("diff", "base", "base", folder=folder) == "same: 6 tensors\n"
    deltas = ("--deltas-a", "delta-1", "delta-2")
    assert done("diff", "base", "whole.safetensors", *deltas, folder=folder) == "same: 6 tensors\n"
    found = run("diff", "base", "whole.safetensors", "--deltas-a", "delta-1", folder=folder)
    assert found.returncode == 1  # one delta is not enough
    nan = np.array([np.nan, -0.0], np.float32)
    a, b = saved(tmp_path / "a", x=nan), saved(tmp_path / "b.safetensors", x=nan)
    assert done("diff", a, b) == "same: 1 tensor\n"


def test_differences_largest_first(tmp_path: Path) -> None:
    same, small, large = np.arange(4.0), np.ones((2, 3), np.float32), np.arange(5)
    a = saved(tmp_path / "a", same=same, small=small, large=large, gone=same, kind=small)
    small, large = small.copy(), large.copy()
    small[1, 2], large[3] = 1.5, 10
    b = saved(tmp_path / "b", same=same, small=small, large=large, new=same, kind=same)
    found = run("diff", a, b)
    assert (found.returncode, found.stderr) == (1, "")
    assert found.stdout.splitlines() == [
        f"A: {a}",
        f"B: {b}",
        "only in A: gone",
        "only in B: new",
        "kind: float32 2 x 3 (variable) -> float64 4 (variable)",
        "name          changed  max |B-A|  |B-A|/|A|  NaN, inf  max at",
        "large    1 of 5 (20%)          7          -         -  [3]",
        "small  1 of 6 (16.6%)        0.5      0.204         -  [1, 2]",
        "same: 1 tensor",
    ]
    data = json.loads(run("diff", a, b, "--json").stdout)
    assert [each["name"] for each in data["tensors"]] == ["large", "small"]
    assert data["tensors"][1]["at"] == [1, 2] and data["tensors"][1]["changed"] == 1
    assert data["tensors"][1]["relative"] == pytest.approx(0.5 / math.sqrt(6))
    assert (data["only_in_a"], data["only_in_b"], data["same"]) == (["gone"], ["new"], 1)


def test_settings(tmp_path: Path) -> None:
    for name, rate, extra in (("a", 0.5, {"epoch": 1, "nan": math.nan}), ("b", 0.25, {"epoch": 2})):
        opt = optimizers.SGD(rate)
        w = slotwise.Variable(np.zeros(2), name="w")
        opt.apply_gradients([(np.zeros(2), w)])
        slotwise.save(tmp_path / name, optimizer=opt, variables=[w], extra=extra)
    lines = run("diff", "a", "b", folder=tmp_path).stdout.splitlines()
    assert lines[2:5] == [
        "config.config.learning_rate: 0.5 -> 0.25",
        "extra.epoch: 1 -> 2",
        "extra.nan: NaN -> (missing)",
    ]
    assert lines[6].split() == ["learning_rate", "1", "of", "1", "(100%)", "0.25", "0.5", "-", "-"]


def test_not_finite(tmp_path: Path) -> None:
    a = saved(tmp_path / "a", x=np.array([1.0, np.nan, np.inf, 3.0]), y=np.array([1e9, 1.0]))
    b = saved(tmp_path / "b", x=np.array([1.0, 2.0, -np.inf, 3.5]), y=np.array([0.0, 1.0]))
    lines = run("diff", a, b).stdout.splitlines()
    assert lines[3].split()[:6] == ["x", "3", "of", "4", "(75%)", "0.5"]  # before any number
    assert lines[3].split()[7:] == ["2", "[3]"]
    assert lines[4].split()[:6] == ["y", "1", "of", "2", "(50%)", "1e+09"]


def test_trouble_is_2(folder: Path, tmp_path: Path) -> None:
    assert "no such file" in refused(2, "diff", "base", "none", folder=folder)
    (tmp_path / "x.safetensors").write_bytes(b"12345678")
    assert "damaged" in refused(2, "diff", "base", tmp_path / "x.safetensors", folder=folder)
    text = refused(2, "diff", "delta-1", "base", folder=folder)
    assert "it is a delta since checkpoint" in text and "expected its base" in text


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_floats(dtype: Any) -> None:
    a = np.array([1, 2, 3, 0.0], dtype)
    b = np.array([1, 4, -3, -0.0], dtype)
    found = Difference()
    found.add(a, b)
    assert (found.elements, found.changed, found.largest, found.place) == (4, 3, 6, 2)
    assert (found.squares, found.norm) == (40, 14)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.int8, -128, 127), (np.int64, -(2**63), 2**63 - 1), (np.uint64, 0, 2**64 - 1)],
)
def test_integers_are_exact(dtype: Any, low: int, high: int) -> None:
    found = Difference()
    found.add(np.array([0, low], dtype), np.array([0, high], dtype))
    assert (found.largest, found.place) == (high - low, 1)
    found.add(np.array([high], dtype), np.array([high - 1], dtype))
    assert (found.changed, found.largest, found.place) == (2, high - low, 1)


def test_booleans_and_many_blocks() -> None:
    a, b = np.zeros(200_000, bool), np.zeros(200_000, bool)
    b[[5, 150_000]] = True
    found = Difference()
    found.add(a, b)
    assert (found.changed, found.largest, found.place) == (2, 1, 5)
    wide = Difference()
    wide.add(np.zeros(200_000), np.where(b, np.arange(200_000), 0.0))
    assert (wide.changed, wide.largest, wide.place) == (2, 150_000, 150_000)
