# SPDX-License-Identifier: Apache-2.0
"""`export`, by subprocess: values, what is replaced, and how much memory it takes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import slotwise
from support.command_line import COMMAND, ENVIRONMENT, ROWS, done, refused, run

GOLDEN = Path(__file__).parents[1] / "golden"
DELTAS = ("--deltas", "delta-1", "delta-2")


def test_npz(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    found = run("export", "base", out, *DELTAS, folder=folder)
    assert found.returncode == 0
    assert found.stdout == f"{out}: 6 tensors, 664 B\n"
    assert found.stderr == (
        "slotwise: note: 2 bfloat16 tensors: written as float32 of the same values\n"
    )
    expected = slotwise.load(folder / "whole.safetensors").arrays
    with np.load(out) as arrays:
        assert {*arrays} == {*expected}
        for name, array in expected.items():
            np.testing.assert_array_equal(arrays[name], array.astype(arrays[name].dtype))
        assert arrays["w"].dtype == np.float32 and arrays["emb"].dtype == np.float32
        assert arrays["emb"][ROWS[0], 0] == -1.125 and arrays["iterations"] == 3


def test_names_that_numpy_takes_for_another(tmp_path: Path) -> None:
    """It reads `a` where `a.npy` is asked for."""
    slotwise.save(
        tmp_path / "x", variables={"a": np.ones(2), "a.npy": np.zeros(2), "b.npy": np.ones(1)}
    )
    text = refused(2, "export", "x", "x.npz", folder=tmp_path)
    assert text.startswith("'a.npy': a .npz file cannot have this name")
    run("export", "x", "x.npz", "--only", "a", "b.npy", folder=tmp_path)
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["a"].tolist() == [1, 1] and arrays["b.npy"].tolist() == [1]


def test_bits_of_bfloat16(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    run("export", "base", out, "--only", "w", "--bfloat16", "bits", folder=folder)
    with np.load(out) as arrays:
        assert [*arrays] == ["w"] and arrays["w"].dtype == np.uint16
        assert arrays["w"].view(ml_dtypes.bfloat16).tolist() == [0.5] * 3


def test_safetensors_is_a_whole_checkpoint(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    done("export", "base", out, *DELTAS, folder=folder)
    assert done("verify", out) == f"{out}: good: 6 tensors, 664 B\n"
    assert done("diff", out, "whole.safetensors", folder=folder) == "same: 6 tensors\n"
    own = {"emb": np.zeros((20, 4), np.float32), "w": np.zeros(3, ml_dtypes.bfloat16)}
    loaded = slotwise.load(out, optimizer="saved", variables=own)
    assert loaded.extra == {"epoch": 3} and int(loaded.optimizer.iterations) == 3
    assert safetensors.numpy.load_file(out)["emb"].shape == (20, 4)
    done("export", out, tmp_path / "some.safetensors", "--only", "emb/m", "emb")
    with slotwise.state.Reader(tmp_path / "some.safetensors") as reader:
        assert {*reader.names} == {"emb", "emb/m"} and reader.metadata["config"] is None


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"x": np.arange(3), "empty": np.zeros((0, 4))}, path)
    done("export", path, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["x"].tolist() == [0, 1, 2] and arrays["empty"].shape == (0, 4)


@pytest.mark.parametrize("name", ["out.npz", "out.safetensors"])
def test_tables_of_ranks(name: str, tmp_path: Path) -> None:
    base, delta = GOLDEN / "state-2" / "base", GOLDEN / "state-2" / "delta"
    done("export", base, tmp_path / name, "--deltas", delta)
    expected = slotwise.load(base, deltas=[delta]).arrays
    load = np.load if name.endswith("npz") else safetensors.numpy.load_file
    found = load(tmp_path / name)
    assert {*found} == {*expected}
    for each, array in expected.items():
        np.testing.assert_array_equal(found[each], array)


def test_what_is_there_is_kept(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    out.write_text("mine")
    text = refused(2, "export", "base", out, folder=folder)
    assert text == f"{out}: it exists: --force replaces it"
    assert out.read_text() == "mine"
    assert run("export", "base", out, "--force", folder=folder).returncode == 0
    assert {*np.load(out)} == {*slotwise.load(folder / "base").arrays}
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"]
    assert "expected a name that ends in" in refused(2, "export", "base", "x.zip", folder=folder)
    assert "there is no folder" in refused(2, "export", "base", "no/x.npz", folder=folder)
    assert "expected its base" in refused(2, "export", "delta-1", "x.npz", folder=folder)
    assert "no tensor 'y'" in refused(2, "export", "base", "x.npz", "--only", "y", folder=folder)


@pytest.mark.parametrize("name", ["out.npz", "out.safetensors"])
def test_damage_leaves_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    slotwise.save(path, variables={"w": np.arange(1000)})
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "'w' is damaged" in refused(1, "export", path, tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints with a tensor of 96 MiB, the second of which is a base and a delta."""
    found = tmp_path_factory.mktemp("large")
    w = slotwise.Variable(np.zeros((96 << 10, 256), np.float32), name="w")
    slotwise.track(w)
    slotwise.save(found / "base", variables=[w])
    w.value[70_000] = 3
    slotwise.track(w).mark(np.array([70_000]))
    slotwise.save_delta(found / "delta", since=found / "base", variables=[w])
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "base", "out.npz", "--force", "--deltas", "delta"],
        ["export", "base", "out.safetensors", "--force", "--deltas", "delta"],
        ["diff", "base", "base", "--deltas-b", "delta"],
        ["get", "base", "w", "--rows", "70000", "--deltas", "delta"],
    ],
    ids=lambda arguments: " ".join(arguments[:3]),
)
def test_memory_stays_small(arguments: list[str], large: Path) -> None:
    """Far below the 96 MiB of the tensor, beyond what the library itself takes."""
    code = (
        "import resource, sys; from slotwise._cli import main; "
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = peak(); "
        "main(sys.argv[1:]); print((peak() - before) // 1024)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        cwd=large,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
    )
    *lines, megabytes = found.stdout.splitlines()
    assert int(megabytes) < 64
    if arguments[0] == "diff":
        assert lines[3].split()[:7] == ["w", "256", "of", "25,165,824", "(<0.1%)", "3", "-"]
    if arguments[0] == "get":
        assert lines == [" ".join(["3.0"] * 256)]
    if arguments[2] == "out.npz":
        with np.load(large / "out.npz") as arrays:
            assert arrays["w"][70_000, 5] == 3 and not arrays["w"][:70_000].any()


def test_an_interrupt_leaves_nothing_or_all(large: Path) -> None:
    """Nothing, unless it comes when the complete file is put in place, or later."""
    out = large / "other.npz"
    for _ in range(20):
        with subprocess.Popen(
            [*COMMAND, "export", "base", out.name, "--progress"],
            cwd=large,
            env=ENVIRONMENT,
            stderr=subprocess.PIPE,
        ) as process:
            process.stderr.read(10)
            process.send_signal(signal.SIGINT)
            error = process.communicate(timeout=60)[1]
        left = [path.name for path in large.iterdir() if "other" in path.name]
        if not left:
            break
        assert left == [out.name]
        with np.load(out) as arrays:
            assert arrays["w"].shape == (96 << 10, 256) and not arrays["w"].any()
        out.unlink()
    assert not left
    assert process.returncode == 130
    assert error.endswith(b"\nslotwise: interrupted\n") and b"Traceback" not in error
