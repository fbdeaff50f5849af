# SPDX-License-Identifier: Apache-2.0
"""`convert` without the other libraries; with them, see tests/parity and tests/pytorch."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import slotwise
from support.command_line import refused


def test_what_cannot_be_converted(tmp_path: Path) -> None:
    assert "no such file" in refused(2, "convert", "none.pt", "out", folder=tmp_path)
    slotwise.save(tmp_path / "w.safetensors", variables={"w": np.ones(1)})
    slotwise.save(tmp_path / "w", variables={"w": np.ones(1)})
    for name in ("w", "w.safetensors"):
        assert "can be read as it is" in refused(2, "convert", name, "out", folder=tmp_path)
    text = refused(2, "convert", "w.safetensors", "w", folder=tmp_path)
    assert text == "w: it exists: --force replaces it"
    (tmp_path / "x.txt").write_text("x")
    assert "--from says which" in refused(2, "convert", "x.txt", "out", folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("x.pt", "torch"),
        ("x.data", "torch"),
        ("x.h5", "h5py"),
        ("x.keras", "h5py"),
        ("t", "tensorflow"),
    ],
)
def test_a_library_that_is_missing(name: str, library: str, tmp_path: Path) -> None:
    (tmp_path / f"{library}.py").write_text("raise ImportError('no such library')")
    if name == "t":
        (tmp_path / "t.index").write_text("")
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr("archive/data.pkl", "")
    text = refused(2, "convert", name, "out", folder=tmp_path)
    assert text == f"convert: expected {library} to be installed: no such library"
