# SPDX-License-Identifier: Apache-2.0
"""`info`, `show`, `verify` and `get`, by subprocess."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import slotwise
from support.command_line import COMMAND, ENVIRONMENT, done, refused, run

GOLDEN = Path(__file__).parents[1] / "golden"


def damage(path: Path, at: int) -> None:
    """Flip a bit, counted from the end."""
    data = bytearray(path.read_bytes())
    data[-at] ^= 1
    path.write_bytes(data)


# ----- info, help ---------------------------------------------------------------------------------


def test_info() -> None:
    text = done("info")
    assert text.startswith(f"slotwise {slotwise.__version__}\n")
    for what in ("targets built:", "active target:", "threads:", "Python:", "NumPy:", "not found:"):
        assert f"\n  {what}" in text
    data = json.loads(done("info", "--json"))
    assert data["numpy"] == np.__version__
    assert data["active_target"] in data["targets"]
    assert data["optional"]["safetensors"] == safetensors.__version__


def test_help_says_the_exit_codes() -> None:
    text = done("--help")
    assert "exit codes:" in text and "130" in text
    for command in ("info", "show", "verify", "diff", "get", "export", "convert"):
        assert f"    {command} " in text
    assert "exit codes:" in done("diff", "--help")
    assert done("--version") == f"slotwise {slotwise.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [(), ("shew",), ("get", "x"), ("get", "x", "y", "--rows", "a")]
)
def test_wrong_usage(arguments: Any) -> None:
    found = run(*arguments)
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("usage: slotwise")
    assert "Traceback" not in found.stderr


def test_importing_the_library_does_not_import_the_command_line() -> None:
    code = "import slotwise, sys; print([m for m in sys.modules if '_cli' in m or m == 'argparse'])"
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert "_cli" not in found.stdout


# ----- show ---------------------------------------------------------------------------------------


def test_show(folder: Path) -> None:
    lines = done("show", "base", folder=folder).splitlines()
    assert lines[0] == "base: a checkpoint, 6 tensors, 664 B"
    assert '  extra     {"epoch": 1}' in lines
    assert lines[2].startswith("  optimizer SGD(name='SGD', ")
    rows = [line.split() for line in lines[lines.index("") + 1 :]]
    assert rows[0] == ["name", "role", "dtype", "shape", "size"]
    assert rows[1] == ["emb", "variable", "float32", "20", "x", "4", "320", "B"]
    assert rows[2] == ["w", "variable", "bfloat16", "3", "6", "B"]
    assert ["iterations", "state", "int64", "scalar", "8", "B"] in rows
    assert ["emb/m", "state", "float32", "20", "x", "4", "320", "B"] in rows


def test_show_json_and_deltas(folder: Path) -> None:
    base = json.loads(done("show", "base", "--json", folder=folder))
    assert base["config"]["class_name"] == "SGD" and base["parent"] is None
    assert base["tensors"][0] == {
        "name": "emb",
        "role": "variable",
        "dtype": "float32",
        "shape": [20, 4],
        "bytes": 320,
        "rows": None,
    }
    delta = json.loads(done("show", "delta-1", "--json", folder=folder))
    assert delta["parent"] == base["id"]
    emb = {**delta["tensors"][0]}
    assert (emb["shape"], emb["rows"]) == ([2, 4], "emb@rows")
    assert delta["tensors"][-1]["name"] == "emb@rows"
    both = ("show", "base", "--json", "--deltas", "delta-1", "delta-2")
    whole = json.loads(done(*both, folder=folder))
    assert whole["extra"] == {"epoch": 3}
    assert whole["tensors"] == base["tensors"]
    assert "a delta" in done("show", "delta-1", folder=folder).splitlines()[0]


def test_show_of_several_optimizers(tmp_path: Path) -> None:
    opts = {"gen": slotwise.optimizers.SGD(0.1), "disc": slotwise.optimizers.Adam(0.2)}
    w = slotwise.Variable(np.ones(2), name="w")
    opts["gen"].apply_gradients([(np.ones(2), w)])
    slotwise.save(tmp_path / "both", optimizer=opts, variables=[w])
    text = done("show", tmp_path / "both")
    assert "  optimizer gen SGD(" in text and "  optimizer disc Adam(" in text


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"x\x1b[31m": np.arange(3)}, path)
    lines = done("show", path).splitlines()
    assert "that slotwise did not write" in lines[0]
    assert lines[-1].split() == [r"x\x1b[31m", "int64", "3", "24", "B"]  # no colours
    assert done("get", path, "x\x1b[31m", "--rows", "1:") == "1\n2\n"
    found = run("verify", path)
    assert found.returncode == 1 and "not verified" in found.stdout
    assert "slotwise did not write it" in refused(1, "show", path, "--deltas", path)


# ----- verify -------------------------------------------------------------------------------------


def test_verify(folder: Path) -> None:
    assert done("verify", "base", folder=folder) == "base: good: 6 tensors, 664 B\n"
    deltas = ("--deltas", "delta-1", "delta-2")
    lines = done("verify", "base", *deltas, folder=folder).splitlines()
    assert [line.split(":")[:2] for line in lines] == [
        ["base", " good"],
        ["delta-1", " good"],
        ["delta-2", " good"],
    ]
    text = refused(1, "verify", "base", "--deltas", "delta-2", folder=folder)
    assert text.startswith("delta-2: expected a delta since ")


def test_verify_shows_a_bar(folder: Path) -> None:
    found = run("verify", "base", "--progress", folder=folder)
    assert found.returncode == 0
    assert "verify base [########################] 100% 664 B of 664 B, " in found.stderr


def test_verify_names_all_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    slotwise.save(path, variables={"a": np.arange(2), "b": np.arange(3), "c": np.arange(4)})
    with slotwise.state.Reader(path) as reader:
        size = path.stat().st_size
        for name in ("a", "c"):
            damage(path, size - reader.tensor(name).begin)
    found = run("verify", path)
    assert found.returncode == 1 and found.stderr == ""
    *lines, last = found.stdout.splitlines()
    assert sorted(line.split(": ")[1][:14] for line in lines) == [
        "'a' is damaged",
        "'c' is damaged",
    ]
    assert last == f"{path}: 2 of 3 tensors damaged"
    assert done("get", path, "b") == "0\n1\n2\n"
    assert "'a' is damaged" in refused(1, "get", path, "a")


# ----- paths and damage ---------------------------------------------------------------------------


def test_bad_paths(tmp_path: Path) -> None:
    assert (
        refused(2, "show", tmp_path / "none") == f"{tmp_path}/none: there is no such file or folder"
    )
    assert "no checkpoint" in refused(2, "show", tmp_path)
    manager = slotwise.CheckpointManager(tmp_path / "job")
    for step in (9, 10):
        manager.save(step, variables={"w": np.ones(1)})
    text = refused(2, "show", tmp_path / "job")
    assert text.endswith("a folder of checkpoints: expected one of step-9, step-10")
    assert refused(2, "show", "x" * 5000).endswith("File name too long")


def test_other_kinds_of_files(folder: Path) -> None:
    assert "expected a file or folder" in refused(2, "show", "/dev/null")
    with open("/dev/full", "w") as full:
        found = subprocess.run(
            [*COMMAND, "show", "base"],
            check=False,
            cwd=folder,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert found.returncode == 1
    assert found.stderr == b"slotwise: [Errno 28] No space left on device\n"


def test_damaged_files(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes((folder / "whole.safetensors").read_bytes()[:-1])
    assert "it is cut off" in refused(1, "show", path)
    path.write_text("no checkpoint at all, but some text")
    assert "damaged" in refused(1, "verify", path)
    path.write_bytes(b"")
    assert "damaged" in refused(1, "get", path, "w")


# ----- get ----------------------------------------------------------------------------------------


def test_get(folder: Path) -> None:
    assert done("get", "base", "emb", "--rows", "2:4", folder=folder) == (
        "1.0 1.0 1.0 1.0\n0.5 0.5 0.5 0.5\n"
    )
    assert done("get", "base", "iterations", folder=folder) == "1\n"
    assert done("get", "base", "w", "--rows", "0", folder=folder) == "0.5\n"
    assert done("get", "base", "w", "--rows=-1", folder=folder) == "0.5\n"
    assert done("get", "base", "w", "--rows", "5:", folder=folder) == ""
    assert len(done("get", "base", "emb", folder=folder).splitlines()) == 20
    values = slotwise.load_array(folder / "whole.safetensors", "emb", rows=slice(2, 8))
    deltas = ("--deltas", "delta-1", "delta-2")
    text = done("get", "base", "emb", "--rows", "2:8", *deltas, folder=folder)
    found = np.array([line.split() for line in text.splitlines()], np.float32)
    np.testing.assert_array_equal(found, values)
    assert values[1, 0] == -1.125  # after three steps of momentum


def test_get_gives_each_number_exactly(tmp_path: Path) -> None:
    values = np.array([0.1, 1 / 3, np.nan, -np.inf, 1e-45, -0.0], np.float32)
    path = tmp_path / "w.safetensors"
    slotwise.save(path, variables={"w": values, "b": np.array([True, False])})
    lines = done("get", path, "w").splitlines()
    assert lines == ["0.1", "0.33333334", "nan", "-inf", "1e-45", "-0.0"]
    assert done("get", path, "b") == "True\nFalse\n"


def test_get_of_a_delta_alone_says_so(folder: Path) -> None:
    found = run("get", "delta-1", "emb", folder=folder)
    assert found.returncode == 0 and len(found.stdout.splitlines()) == 2
    assert "a delta has only some rows of 'emb': 'emb@rows' says which" in found.stderr
    assert done("get", "delta-1", "emb@rows", folder=folder) == "3\n7\n"


def test_get_of_what_is_not_there(folder: Path) -> None:
    text = refused(2, "get", "base", "embb", folder=folder)
    assert text == "base: no tensor 'embb'; similar: 'emb', 'emb/m'"
    assert "is a scalar" in refused(2, "get", "base", "iterations", "--rows", "1", folder=folder)
    for row in ("20", "-21", "99999999999999999999"):
        text = refused(2, "get", "base", "emb", f"--rows={row}", folder=folder)
        assert text == f"--rows: 'emb' has 20 rows, got {row}"


def test_tables_of_ranks_come_in_order() -> None:
    base, delta = GOLDEN / "state-2" / "base", GOLDEN / "state-2" / "delta"
    assert done("get", base, "emb", "--rows", "2:4") == "6.0 7.0 8.0\n9.0 10.0 11.0\n"
    text = done("get", base, "emb", "--rows", "2:4", "--deltas", delta)
    assert text == "6.0 7.0 8.0\n-9.0 -10.0 -11.0\n"


# ----- pipes and interrupts -----------------------------------------------------------------------


@pytest.fixture
def printing(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has printed its first line and waits for whoever reads the rest."""
    path = tmp_path / "w.safetensors"
    slotwise.save(path, variables={"w": np.arange(300_000)})
    with subprocess.Popen(
        [*COMMAND, "get", str(path), "w"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"0\n"
        yield process


def test_a_closed_pipe_is_no_error(printing: subprocess.Popen[bytes]) -> None:
    printing.stdout.close()
    assert printing.wait(60) == 141
    assert printing.stderr.read() == b""


def test_an_interrupt(printing: subprocess.Popen[bytes]) -> None:
    printing.send_signal(signal.SIGINT)
    _, error = printing.communicate(timeout=60)
    assert (printing.returncode, error) == (130, b"slotwise: interrupted\n")


def test_rows_that_are_behind_are_refused(tmp_path: Path) -> None:
    table = slotwise.Variable(np.ones((6, 2), np.float32), name="table")
    opt = slotwise.optimizers.Adam(0.1, sparse="deferred")
    for ids in ([1], [2], [2]):
        rows = slotwise.IndexedSlices(np.ones((1, 2), np.float32), np.array(ids), (6, 2))
        opt.apply_gradients([(rows, table)])
    slotwise.save(tmp_path / "ckpt", optimizer=opt, variables=[table])
    assert "table" in done("show", "ckpt", folder=tmp_path)
    for command in (("get", "ckpt", "table"), ("export", "ckpt", "out.npz")):
        assert "steps to make up for" in refused(1, *command, folder=tmp_path)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("command", ["show", "verify", "diff"])
def test_characters_that_the_terminal_lacks(tmp_path: Path, command: str) -> None:
    for name in ("ü", "空"):
        slotwise.save(tmp_path / name, variables={f"{name}/w": np.ones(2)}, extra={name: "é"})
    others = ["空"] if command == "diff" else []
    found = run(command, "ü", *others, folder=tmp_path, PYTHONIOENCODING="ascii")
    assert (found.returncode, found.stderr) == (1 if others else 0, "")
    assert "\\xfc" in found.stdout


def test_a_progress_bar_fits_the_terminal(folder: Path) -> None:
    found = run("verify", "base", "--progress", folder=folder, COLUMNS="40")
    lines = [line.removesuffix("\033[K") for line in found.stderr.splitlines()]
    assert found.returncode == 0 and lines[-1].startswith("verify base [###")
    assert max(map(len, lines)) < 40
