# SPDX-License-Identifier: Apache-2.0
"""Saves again and again, and is killed: `python -m support.state_crash FOLDER KILLS SEED`.

It ends with 1 if anything but a whole state, the last one known or the next, was found; if a file
of others in the folder was lost; or if something is left after the next save.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import slotwise
from slotwise.state import _atomic

# Files of others in a folder, as they were put there.
OTHERS = {"tokenizer.json": "{}", "logs/events": "1 2", "logs/old/events": "0", ".hidden": ""}
SHAPES = {"emb": (300, 64), "bias": (17,), "w": (100, 100)}
# Of "renamed" on a file system without exchange; of "behind" in the background.
FORMS = ("one.safetensors", "folder", "renamed", "behind", "behind.safetensors")


def state(number: int) -> dict[str, np.ndarray]:
    return {name: np.full(shape, number, np.float32) for name, shape in SHAPES.items()}


def save(path: Path, number: int) -> None:
    given: dict[str, Any] = {"variables": state(number), "extra": number}
    if path.stem == "behind":
        slotwise.save(path, **given, max_shard_size=100_000, background=True).result()
    else:
        slotwise.save(path, **given, max_shard_size=100_000)


def add_others(path: Path) -> None:
    for name, text in OTHERS.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    (path / "link").symlink_to("tokenizer.json")
    path.chmod(0o750)


def check_others(path: Path) -> None:
    for name, text in OTHERS.items():
        assert (path / name).read_text() == text, name
    assert os.readlink(path / "link") == "tokenizer.json"
    assert path.stat().st_mode & 0o777 == 0o750


def save_for_ever(path: Path, first: int, acknowledged: int) -> None:
    """Writes the number of each state that is on the disk to a pipe."""
    if path.name == "renamed":
        _atomic.exchange = lambda a, b: False
    number = first
    while True:
        save(path, number)
        os.write(acknowledged, number.to_bytes(8, "little"))
        number += 1


CALLS = (
    *("mkdir", "open", "pwrite", "fsync", "rename", "replace", "unlink", "rmdir", "close"),
    *("link", "symlink", "chmod", "chown"),
)


def killing(last: int) -> None:
    """Have this process killed before its last-th call of the system."""
    left = itertools.count(last - 1, -1)

    def ending(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, ending(getattr(os, name)))
    _atomic.exchange = ending(_atomic.exchange)


_SUBREAPER = 36  # of `prctl`


def adopt() -> None:
    """Be who waits for processes whose parent was killed, as those that save in the background."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def await_orphans() -> None:
    """Wait for them: they write to the end, or die of the same call as their parent."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


SECONDS = 60  # that a forked process may take


def has_hung(status: int) -> bool:
    """Whether its alarm ended a process, which then is to be made anew."""
    if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM):
        return False
    # Allocators of ASan and TSan stay locked if a thread has one when the process forks.
    assert {"ASAN_OPTIONS", "TSAN_OPTIONS"} & {*os.environ}, "a process hung"
    return True


def end_at_call(work: Callable[[], Any], last: int, is_renamed: bool) -> bool:
    """Do it in a process that is killed before its last-th call of the system; whether it was."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        await_orphans()
        return end_at_call(work, last, is_renamed) if has_hung(status) else status != 0
    signal.alarm(SECONDS)
    if is_renamed:
        _atomic.exchange = lambda a, b: False
    killing(last)
    try:
        work()
    except RuntimeError as error:  # what writes in the background was killed
        assert "was ended by signal 9" in str(error)
        os._exit(1)
    os._exit(0)


def kill_at_each_call(folder: str) -> int:
    """The old state or the new one, wherever it ends; returns how many places there were."""
    places = 0
    for form in FORMS:
        path = Path(folder, form)
        save(path, 1)
        if path.is_dir():
            add_others(path)
        for last in itertools.count(1):
            save(path, 1)
            was_killed = end_at_call(partial(save, path, 2), last, form == "renamed")
            check(path, 1)
            if not was_killed:
                break
            places += 1
    return places


def kill_manager_at_each_call(folder: Path) -> int:
    """A manager that replaces a step, then saves the next and removes it."""
    places = 0
    manager = slotwise.CheckpointManager(folder, max_to_keep=1)

    def work(is_behind: bool) -> None:
        with slotwise.CheckpointManager(folder, 1, background=is_behind) as own:
            for step, number in ((1, 2), (2, 3)):
                own.save(step, variables=state(number), extra=number, max_shard_size=100_000)

    for is_renamed, is_behind in itertools.product((False, True), repeat=2):
        for last in itertools.count(1):
            shutil.rmtree(folder, ignore_errors=True)
            save(manager.path(1), 1)
            was_killed = end_at_call(partial(work, is_behind), last, is_renamed)
            found = manager.restore_latest()
            assert found is not None and found.extra in (1, 2, 3)
            manager.save(7, variables=state(0), extra=0)
            assert os.listdir(folder) == ["step-7"], os.listdir(folder)
            if not was_killed:
                break
            places += 1
    return places


def killed(path: Path, first: int, seconds: float) -> int:
    """Runs it for so long; returns the number of the last state that it knew to be complete."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        save_for_ever(path, first, write)
    os.close(write)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    await_orphans()
    with os.fdopen(read, "rb") as pipe:
        numbers = np.frombuffer(pipe.read(), np.int64)
    return int(numbers[-1]) if numbers.size else first - 1


def check(path: Path, last: int) -> int:
    """The number of the state that is there: the last one known, or the one after it."""
    found = slotwise.load(path)
    place = _atomic.current(path)
    if place.is_dir():
        check_others(place)
    assert found.extra in (last, last + 1), (
        f"{path}: expected {last} or one more, got {found.extra}"
    )
    for name, x in state(found.extra).items():
        np.testing.assert_array_equal(found.arrays[name], x)
    return int(found.extra)


def manage_for_ever(folder: Path, first: int, started: int, is_behind: bool) -> None:
    manager = slotwise.CheckpointManager(folder, max_to_keep=1, background=is_behind)
    for number in itertools.count(first):
        manager.save(number, variables=state(number), extra=number, max_shard_size=100_000)
        os.write(started, b"x")


def kill_managers(folder: Path, kills: int, rng: random.Random) -> int:
    """Nothing is left after the next save but what it keeps; returns how much was there before."""
    left = 0
    for kill in range(kills):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            if kill % 2:
                _atomic.exchange = lambda a, b: False
            manage_for_ever(folder, 1000 * kill, write, kill % 4 > 1)
        os.close(write)
        os.read(read, 1)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        await_orphans()
        os.close(read)
        found = slotwise.CheckpointManager(folder).restore_latest()
        assert found is not None
        for name, x in state(found.extra).items():
            np.testing.assert_array_equal(found.arrays[name], x)
        left = max(left, len(os.listdir(folder)) - 1)
    path = slotwise.CheckpointManager(folder, 1).save(10**6, variables=state(0), extra=0)
    assert os.listdir(folder) == [path.name], os.listdir(folder)
    return left


def main(folder: str, kills: str, seed: str) -> None:
    rng = random.Random(int(seed))
    adopt()
    places = kill_at_each_call(folder) + kill_manager_at_each_call(Path(folder, "managed"))
    shutil.rmtree(Path(folder, "managed"))
    last = dict.fromkeys(FORMS, 0)
    began = time.perf_counter()
    for form in FORMS:
        save(Path(folder, form), 0)
    typical = (time.perf_counter() - began) / len(FORMS)
    left = 0
    for kill in range(int(kills)):
        form = FORMS[kill % len(FORMS)]
        path = Path(folder, form)
        known = killed(path, last[form] + 1, rng.uniform(0, 2.5 * typical))
        last[form] = check(path, known)
        left += sum(name.startswith(".") for name in os.listdir(folder))
    for form in FORMS:
        save(Path(folder, form), last[form])
        check(Path(folder, form), last[form])
    rest = sorted(os.listdir(folder))
    assert rest == sorted(FORMS), rest  # what was left was removed by the next save
    print(f"{places} kills at calls; {kills} at random: {sum(last.values())} states, {left} left")
    count = max(4, int(kills) // 10)
    left = kill_managers(Path(folder, "managed"), count, rng)
    print(f"{count} kills of a manager: at most {left} left before the next save, then none")


if __name__ == "__main__":
    main(*sys.argv[1:])
