# SPDX-License-Identifier: Apache-2.0
"""The example that trains a DLRM: its data, and that both ways give the same losses."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = [10, 1000, *[50] * 24]


@pytest.fixture
def dlrm(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("dlrm")


def line(label: str = "1", integers: str = "5", category: str = "ff") -> str:
    return "\t".join([label, *[integers] * 13, *[category] * 26]) + "\n"


def batches(dlrm: Any, path: Path, text: str, *sizes: int) -> list[Any]:
    path.write_text(text)
    return [*dlrm.Criteo(path, ROWS).batches(iter(sizes))]


def test_criteo_lines_become_bags_of_one_or_none(dlrm: Any, tmp_path: Path) -> None:
    text = line() + line("0", "", "") + line("0", "-2", "68fd1e64")
    (batch,) = batches(dlrm, tmp_path / "train.txt", text, 3)
    assert batch.clicked.tolist() == [1, 0, 0]
    assert batch.numbers.shape == (3, 13)
    assert batch.numbers[:, 0].tolist() == pytest.approx([math.log(6), 0, 0])
    assert [len(own) for own in batch.ids] == [2] * 26  # none of the second line
    assert batch.ids[0].tolist() == [255 % 10, 0x68FD1E64 % 10]
    assert batch.ids[1].tolist() == [255, 0x68FD1E64 % 1000]
    assert all(own.tolist() == [0, 1, 1] for own in batch.offsets)
    assert batch.logit is None


def test_criteo_batches_end_with_the_file(dlrm: Any, tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    found = batches(dlrm, path, line() * 5, 2, 2, 2, 2)
    assert [len(batch.clicked) for batch in found] == [2, 2, 1]
    assert batches(dlrm, path, line() * 4, 2, 2, 2)[-1].clicked.shape == (2,)
    assert batches(dlrm, path, "", 2) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("\n", "line 2: label: expected 0 or 1, got ''"),
        (line("2"), "line 2: label: expected 0 or 1, got '2'"),
        (line()[:-4] + "\n", "line 2: expected 40 fields, got 39"),
        (line(integers="x"), "line 2: invalid literal for int"),
        (line(category="xyz"), "line 2: invalid literal for int"),
    ],
)
def test_criteo_lines_that_are_wrong_are_named(
    dlrm: Any, tmp_path: Path, bad: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        batches(dlrm, tmp_path / "train.txt", line() + bad, 2)


def test_the_world_draws_what_it_says(dlrm: Any) -> None:
    rng = np.random.default_rng(3)
    rows = [min(n, 2000) for n in dlrm.CATEGORIES]
    batch = dlrm.World(rows, 20, rng).draw(4000, rng)
    for n, own, ids, offsets in zip(dlrm.CATEGORIES, rows, batch.ids, batch.offsets, strict=True):
        sizes = np.diff(offsets.numpy(), append=len(ids))
        assert ids.min() >= 0 and ids.max() < own
        most = 20 if n >= dlrm.BAGS_FROM else 1
        assert (sizes.min(), sizes.max()) == (0 if most > 1 else 1, most)
        assert sizes.mean() == pytest.approx(max(1, most / 2), rel=0.05)
    frequent = np.bincount(batch.ids[0]) / len(batch.ids[0])
    assert frequent.max() == pytest.approx(math.log(2) / math.log(rows[0] + 1), rel=0.05)
    probability = 1 / (1 + np.exp(-batch.logit))
    assert float(batch.clicked.mean()) == pytest.approx(float(probability.mean()), abs=0.03)


@pytest.mark.parametrize("options", [(), ("--fuse",)], ids=["step", "fuse"])
def test_both_ways_have_the_same_losses(tmp_path: Path, options: tuple[str, ...]) -> None:
    for name in ("matplotlib", "tqdm"):
        pytest.importorskip(name)
    sizes = ("--batches", "12", "--batch", "256", "--rows", "1000", "--held-out", "500")
    script, out = str(EXAMPLES / "dlrm_torch.py"), str(tmp_path)
    command = [sys.executable, script, *sizes, "--out", out, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert "losses differ by" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "dlrm_torch.png").stat().st_size > 10_000
