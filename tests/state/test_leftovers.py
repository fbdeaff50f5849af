# SPDX-License-Identifier: Apache-2.0
"""What others have in a folder stays; what dead processes left goes; few files are open."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise.state import Reader, StateError, _atomic, _files, _index

ONES = {"a": np.ones(10), "b": np.ones(10)}
TWOS = {name: 2 * x for name, x in ONES.items()}
INDEX = _index.INDEX


def save(path: Path, variables: Any = TWOS, **arguments: Any) -> None:
    slotwise.save(path, variables=variables, **{"max_shard_size": 80, **arguments})


def tree(folder: Path) -> dict[str, str]:
    """What is in a folder, other than the checkpoint."""
    found = {}
    for place in sorted(folder.rglob("*")):
        name = str(place.relative_to(folder))
        if place.is_symlink():
            found[name] = os.readlink(place)
        elif place.is_dir():
            found[name] = "folder"
        elif name != INDEX and not _index.is_shard(name):
            found[name] = place.read_text()
    return found


OTHERS = {
    **{".hidden": "h", "link": "nowhere", "logs": "folder", "logs/a": "1", "logs/old": "folder"},
    **{"logs/old/b": "2", "tokenizer.json": "{}", "weights.safetensors": "of others"},
}


@pytest.fixture(params=[True, False], ids=["exchanged", "renamed"])
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A checkpoint with files of others, on either kind of file system."""
    if not request.param:
        monkeypatch.setattr(_atomic, "exchange", lambda a, b: False)
    path = tmp_path / "model"
    save(path, ONES)
    for name, text in OTHERS.items():
        if text == "folder":
            (path / name).mkdir()
        elif name == "link":
            (path / name).symlink_to(text)
        else:
            (path / name).write_text(text)
    return path


def check_twos(path: Path, others: dict[str, str]) -> None:
    assert slotwise.load(path).arrays["a"][0] == 2
    assert tree(path) == others
    assert os.listdir(path.parent) == [path.name]


def test_files_of_others_stay(folder: Any) -> None:
    inodes = {name: os.lstat(folder / name).st_ino for name in OTHERS if name.count("/") < 1}
    for _ in range(2):
        save(folder)
        check_twos(folder, OTHERS)
    for name in (".hidden", "tokenizer.json"):
        assert os.lstat(folder / name).st_ino == inodes[name]


def test_files_of_the_old_checkpoint_go(folder: Any) -> None:
    save(folder, max_shard_size=10**9)
    assert {n for n in os.listdir(folder) if _index.is_shard(n)} == {_index.shard(1, 1)}
    check_twos(folder, OTHERS)


def test_a_file_that_an_index_does_not_list_stays(folder: Any) -> None:
    """It may be a part of somebody's other model."""
    (folder / "model-00001-of-00009.safetensors").write_text("theirs")
    save(folder)
    check_twos(folder, OTHERS)
    assert (folder / "model-00001-of-00009.safetensors").read_text() == "theirs"


@pytest.mark.parametrize("mode", [0o700, 0o2770, 0o555])
def test_permissions_stay(folder: Any, mode: Any) -> None:
    (folder / INDEX).chmod(0o640)
    (folder / _index.shard(2, 2)).chmod(0o600)
    (folder / "logs").chmod(0o711)
    folder.chmod(mode)
    if os.getuid() == 0:
        os.chown(folder, 1234, 2345)
    owner = folder.stat().st_uid, folder.stat().st_gid
    save(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == mode
    assert (folder.stat().st_uid, folder.stat().st_gid) == owner
    assert stat.S_IMODE((folder / "logs").stat().st_mode) == 0o711
    assert stat.S_IMODE((folder / _index.shard(2, 2)).stat().st_mode) == 0o600
    for name in (INDEX, _index.shard(1, 2)):
        assert stat.S_IMODE((folder / name).stat().st_mode) in (0o640, 0o644)
    assert stat.S_IMODE((folder / INDEX).stat().st_mode) == 0o640
    check_twos(folder, OTHERS)


def test_permissions_of_a_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save(path, ONES)
    path.chmod(0o600)
    save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nobody_looks_into_what_is_not_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "model", ONES)
    (tmp_path / "model").chmod(0o700)
    modes = []
    sync = _atomic.sync

    def noting(path: Path) -> None:
        modes.extend(p.stat().st_mode & 0o077 for p in tmp_path.iterdir())
        sync(path)

    monkeypatch.setattr(_atomic, "sync", noting)
    save(tmp_path / "model")
    assert modes and not any(modes)


def test_files_that_come_meanwhile_stay(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the links and the exchange."""
    put = _atomic._put

    def late(partial: Path, path: Path) -> Path | None:
        (path / "new").write_text("n")
        (path / "logs" / "new").write_text("n")
        (path / "tokenizer.json.part").write_text("{1}")
        os.rename(path / "tokenizer.json.part", path / "tokenizer.json")
        with open(path / ".hidden", "a") as file:
            file.write("i")
        return put(partial, path)

    monkeypatch.setattr(_atomic, "_put", late)
    save(folder)
    new = {"new": "n", "logs/new": "n", "tokenizer.json": "{1}", ".hidden": "hi"}
    check_twos(folder, {**OTHERS, **new})


def test_where_there_are_no_links(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    save(folder)
    check_twos(folder, OTHERS)
    os.mkfifo(folder / "pipe")  # what cannot be copied either
    before = sorted(os.listdir(folder))
    with pytest.raises(OSError, match="named pipe"):
        save(folder, ONES)
    assert sorted(os.listdir(folder)) == before
    assert slotwise.load(folder).arrays["a"][0] == 2
    assert os.listdir(folder.parent) == [folder.name]


def test_pipes_and_the_like_stay(folder: Any) -> None:
    os.mkfifo(folder / "pipe")
    save(folder)
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)


@pytest.mark.parametrize("text", ["", "{", '{"metadata":{},"weight_map":[]}'])
def test_a_damaged_checkpoint_is_replaced(folder: Any, text: Any) -> None:
    (folder / INDEX).write_text(text)
    save(folder)
    check_twos(folder, OTHERS)


def left(path: Path, ending: str, number: int = 0) -> Path:
    return path.parent / f".{path.name}.0123456{number}{ending}"


@pytest.mark.parametrize("ending", [".partial", ".old"])
def test_files_of_others_in_leftovers_are_not_lost(tmp_path: Path, ending: Any) -> None:
    """A process was killed after the exchange, before it had moved what came meanwhile."""
    path = tmp_path / "model"
    save(path, ONES)
    save(left(path, ending), ONES)
    for name in ("both", "new"):
        (left(path, ending) / name).write_text("left")
    (left(path, ending) / "logs").mkdir()
    (left(path, ending) / "logs" / "new").write_text("left")
    (path / "logs").mkdir()
    (path / "both").write_text("here")
    save(path)
    check_twos(path, {"both": "here", "new": "left", "logs": "folder", "logs/new": "left"})


def test_half_written_leftovers_give_nothing(tmp_path: Path) -> None:
    """Their files are no others', though no index says so."""
    path = tmp_path / "model"
    save(path, ONES)
    left(path, ".partial").mkdir()
    (left(path, ".partial") / _index.shard(3, 9)).write_text("half")
    save(path)
    check_twos(path, {})


def test_what_was_being_removed_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save(path, ONES)
    left(path, ".gone").mkdir()
    (left(path, ".gone") / "tokenizer.json").touch()
    save(path)
    check_twos(path, {})


def test_a_manager_cleans_up_after_all_steps(tmp_path: Path) -> None:
    manager = slotwise.CheckpointManager(tmp_path, max_to_keep=1)
    for number, ending in enumerate((".partial", ".old", ".gone")):
        save(left(manager.path(number), ending))
        save(left(manager.path(7), ending, number), ONES)
    left(manager.path(8), ".partial").touch()
    for name in (".other.01234567.partial", "step-x", ".step-1.0123456.partial", "step-1.tmp"):
        (tmp_path / name).touch()  # no names of ours
    manager.save(9, variables=ONES)
    assert manager.steps == [9]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["step-9"]
    assert len(list(tmp_path.iterdir())) == 5


def test_a_manager_leaves_the_living_alone(tmp_path: Path) -> None:
    manager = slotwise.CheckpointManager(tmp_path, max_to_keep=1)
    with _atomic.replacing(manager.path(3), True) as theirs:
        manager.save(4, variables=ONES)
        assert theirs.is_dir()
        (theirs / INDEX).touch()
    assert manager.steps == [3, 4]


def test_an_old_state_of_the_living_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is beside for a moment, on a file system that cannot exchange."""
    path, rename = tmp_path / "model", os.rename
    save(path, ONES)
    seen = []

    def between(source: Path, target: Path) -> None:
        rename(source, target)
        if str(target).endswith(".old"):
            _atomic.clean(tmp_path, "model")
            seen.append(slotwise.load(path).arrays["a"][0])

    monkeypatch.setattr(_atomic, "exchange", lambda a, b: False)
    monkeypatch.setattr(os, "rename", between)
    save(path)
    assert seen == [1]
    check_twos(path, {})


def test_a_rename_that_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rename = tmp_path / "model", os.rename
    save(path, ONES)

    def failing(source: Path, target: Path) -> None:
        if target == path and str(source).endswith(".partial"):
            raise OSError(errno.EIO, "no luck")
        rename(source, target)

    monkeypatch.setattr(_atomic, "exchange", lambda a, b: False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing)
        with pytest.raises(OSError, match="no luck"):
            save(path)
    assert os.listdir(tmp_path) == ["model"]
    assert slotwise.load(path).arrays["a"][0] == 1


def test_a_manager_after_a_kill_between_two_renames(tmp_path: Path) -> None:
    """The old state of a step is beside its name, and the step is to be removed."""
    manager = slotwise.CheckpointManager(tmp_path, max_to_keep=2)
    for step in (1, 2):
        manager.save(step, variables=ONES)
    os.rename(manager.path(1), left(manager.path(1), ".old"))
    manager.save(3, variables=ONES)
    assert manager.steps == [2, 3]
    assert sorted(os.listdir(tmp_path)) == ["step-2", "step-3"]


@pytest.mark.parametrize("call", ["_be_like", "_put"])
def test_a_step_that_another_manager_removes_meanwhile(
    folder: Any, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    real = getattr(_atomic, call)

    def late(*args: object) -> object:
        _atomic.discard(folder)
        return real(*args)

    monkeypatch.setattr(_atomic, call, late)
    save(folder)
    assert slotwise.load(folder).arrays["a"][0] == 2
    assert os.listdir(folder.parent) == [folder.name]


def test_another_manager_may_be_faster(tmp_path: Path) -> None:
    _atomic.discard(tmp_path / "step-1")
    assert not list(tmp_path.iterdir())


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    manager = slotwise.CheckpointManager(tmp_path / "job", max_to_keep=1)
    save(tmp_path / "kept", ONES)
    (tmp_path / "kept").chmod(0o750)
    manager.folder.mkdir()
    manager.path(1).symlink_to(tmp_path / "kept")
    manager.save(2, variables=ONES)
    assert os.listdir(manager.folder) == ["step-2"]
    assert slotwise.load(tmp_path / "kept").arrays["a"][0] == 1
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o750


def test_leftovers_that_are_no_files_are_not_opened(tmp_path: Path) -> None:
    """A pipe of such a name is nobody's that we know."""
    path = tmp_path / "model"
    os.mkfifo(left(path, ".old"))
    left(path, ".partial", 1).symlink_to("/dev/tty")
    save(path)
    assert slotwise.load(path).arrays["a"][0] == 2


@pytest.fixture
def few_descriptors() -> Iterator[Any]:
    """So many that a save or load can be, and no more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 24, before[1]))
    yield used + 24
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_files_than_may_be_open(tmp_path: Path, few_descriptors: Any) -> None:
    given = {f"v{n}": np.full(100, n, np.int16) for n in range(150)}
    path = tmp_path / "many"
    for _ in range(2):
        save(path, given, max_shard_size=1)
    assert len(os.listdir(path)) == 151
    into = {name: np.zeros_like(x) for name, x in given.items()}
    slotwise.load(path, variables=into)
    alone, views = slotwise.load(path).arrays, slotwise.load(path, mmap=True).arrays
    for name, x in given.items():
        for found in (into[name], alone[name], views[name]):
            np.testing.assert_array_equal(found, x)
    with Reader(path) as reader:
        assert reader.read("v149")[0] == 149
        before = len(os.listdir("/proc/self/fd"))
    assert before - len(os.listdir("/proc/self/fd")) <= few_descriptors // 8


def test_more_deltas_than_files_that_may_be_open(tmp_path: Path, few_descriptors: Any) -> None:
    emb = slotwise.Variable(np.zeros((100, 2), np.float32), name="emb")
    touched = slotwise.track(emb)
    paths = [tmp_path / "base", *(tmp_path / f"{n}.safetensors" for n in range(60))]
    slotwise.save(paths[0], variables=[emb])
    for number, (since, path) in enumerate(itertools.pairwise(paths)):
        emb.value[number] = number + 1
        touched.mark([number])
        slotwise.save_delta(path, since=since, variables=[emb])
    found = slotwise.load(paths[0], deltas=paths[1:]).arrays["emb"]
    np.testing.assert_array_equal(found, emb.numpy())


def test_a_file_that_is_opened_again_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that stay open are read as they were, see above; of others it is an error."""
    monkeypatch.setattr(_files, "_MOST", 0)
    save(tmp_path / "model", ONES)
    with Reader(tmp_path / "model") as reader:
        assert reader.read("a")[0] == 1
        save(tmp_path / "model")
        with pytest.raises(StateError, match="it was replaced while it was read"):
            reader.read("a")


def test_a_folder_that_is_replaced_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened again."""
    path = tmp_path / "model"
    save(path, ONES)
    opened = []
    read = _index.read

    def slow(name: str, folder: int) -> _index.Index:
        found = read(name, folder)
        if not opened:
            opened.append(name)
            save(path, max_shard_size=10**9)
        return found

    monkeypatch.setattr(_index, "read", slow)
    assert slotwise.load(path).arrays["a"][0] == 2
