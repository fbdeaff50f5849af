# SPDX-License-Identifier: Apache-2.0
"""Kills, a full disk, failing writes: the old state or the new one."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise.state import _atomic
from support.process import program

KILLS = int(os.environ.get("SLOTWISE_CRASH_KILLS", "20"))
ONES: dict[str, Any] = {"a": np.ones(1000), "b": np.ones(3, np.float32)}
TWOS = {name: 2 * x for name, x in ONES.items()}
NAMES = ("x.safetensors", "folder")


def test_kills_at_random_points(tmp_path: Path) -> None:
    done = program("state_crash", tmp_path, KILLS, 0)
    assert done.returncode == 0, done.stdout + done.stderr


def check_ones(path: Path) -> None:
    """The old state is there, and nothing else."""
    for name, x in slotwise.load(path).arrays.items():
        np.testing.assert_array_equal(x, ONES[name])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


class Failing:
    """A function whose n-th call fails."""

    def __init__(self, function: Any, number: int) -> None:
        self.function, self.left = function, number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.EIO, "no luck")
        return self.function(*args, **kwargs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", ["pwrite", "fsync", "replace", "rename", "open", "mkdir"])
def test_any_failing_call_leaves_a_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any, call: Any
) -> None:
    path = tmp_path / name
    monkeypatch.setattr(_atomic, "exchange", lambda a, b: False)
    for number in itertools.count(1):
        slotwise.save(path, variables=ONES, max_shard_size=10)
        assert os.listdir(tmp_path) == [name]
        failing = Failing(getattr(os, call), number)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                slotwise.save(path, variables=TWOS, max_shard_size=10)
            except OSError as error:
                assert "no luck" in str(error)
        found = slotwise.load(path).arrays["a"][0]
        if failing.left > 0:
            assert found == 2
            return
        assert found in (1, 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_grows_too_large(tmp_path: Path, name: Any) -> None:
    """RLIMIT_FSIZE: as a full disk, but anyone may set it."""
    path = tmp_path / name
    slotwise.save(path, variables=ONES)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            slotwise.save(path, variables={"a": np.zeros(1 << 18)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    check_ones(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """A tmpfs of 1 MiB, which only root may mount; CI does.

    For others, the test above and those that fail each system call in turn stand in for it.
    """
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "slotwise", str(tmp_path)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode:
        assert "superuser" in done.stderr or "permission denied" in done.stderr, done.stderr
        pytest.skip(f"only root may mount a disk that is soon full: {done.stderr.splitlines()[0]}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk(small_disk: Any, name: Any) -> None:
    path = small_disk / name
    slotwise.save(path, variables=ONES)
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            slotwise.save(path, variables={"a": np.zeros(1 << 17)}, max_shard_size=1 << 18)
        check_ones(path)


def test_leftovers_of_others_who_still_write_stay(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with _atomic.replacing(path, True) as theirs:
        slotwise.save(path, variables=ONES)
        assert theirs.is_dir()
        (theirs / "model.safetensors.index.json").touch()
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_killed_between_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that cannot exchange, the old folder is beside for a moment."""
    path = tmp_path / "folder"
    slotwise.save(path, variables=ONES)
    os.rename(path, tmp_path / ".folder.01234567.old")
    assert slotwise.load(path).arrays["a"][0] == 1
    assert slotwise.CheckpointManager(tmp_path).latest is None
    slotwise.save(path, variables=TWOS)
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    assert slotwise.load(path).arrays["a"][0] == 2


def test_a_reader_keeps_what_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    slotwise.save(path, variables=ONES)
    with slotwise.state.Reader(path) as reader:
        slotwise.save(path, variables=TWOS)
        assert reader.read("a")[0] == 1


def test_what_other_paths_left_is_not_taken(tmp_path: Path) -> None:
    slotwise.save(tmp_path / "a.b", variables=ONES)
    os.rename(tmp_path / "a.b", tmp_path / ".a.b.01234567.old")
    with pytest.raises(slotwise.state.StateError, match="there is no checkpoint"):
        slotwise.load(tmp_path / "a")


def test_links_stay_links(tmp_path: Path) -> None:
    slotwise.save(tmp_path / "real", variables=ONES)
    (tmp_path / "latest").symlink_to("real")
    slotwise.save(tmp_path / "latest", variables=TWOS)
    assert (tmp_path / "latest").is_symlink()
    assert slotwise.load(tmp_path / "real").arrays["a"][0] == 2
    assert sorted(os.listdir(tmp_path)) == ["latest", "real"]
