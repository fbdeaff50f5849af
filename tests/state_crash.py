"""A process that saves again and again, and is killed: `python state_crash.py FOLDER KILLS SEED`.

It ends with 1 if anything but a whole state, the last one known or the next, was found.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slotwise
from slotwise.state import _atomic

SHAPES = {"emb": (3000, 64), "bias": (17,), "w": (100, 100)}
FORMS = ("one.safetensors", "folder", "renamed")  # the last on a file system without exchange


def state(number: int) -> dict[str, np.ndarray]:
    return {name: np.full(shape, number, np.float32) for name, shape in SHAPES.items()}


def save(path: Path, number: int) -> None:
    slotwise.save(path, variables=state(number), extra=number, max_shard_size=100_000)


def save_for_ever(path: Path, first: int, acknowledged: int) -> None:
    """Writes the number of each state that is on the disk to a pipe."""
    if path.name == "renamed":
        _atomic.exchange = lambda a, b: False
    number = first
    while True:
        save(path, number)
        os.write(acknowledged, number.to_bytes(8, "little"))
        number += 1


CALLS = ("mkdir", "open", "pwrite", "fsync", "rename", "replace", "unlink", "rmdir", "close")


def save_up_to_call(path: Path, number: int, last: int) -> None:
    """Ends the process by a kill before its last-th call of the system."""
    left = last

    def ending(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, ending(getattr(os, name)))
    _atomic.exchange = ending(_atomic.exchange)
    save(path, number)
    os._exit(0)


def kill_at_each_call(folder: str) -> int:
    """The old state or the new one, wherever it ends; returns how many places there were."""
    places = 0
    for form in FORMS:
        path = Path(folder, form)
        for last in itertools.count(1):
            save(path, 1)
            child = os.fork()
            if child == 0:
                if form == "renamed":
                    _atomic.exchange = lambda a, b: False
                save_up_to_call(path, 2, last)
            _, status = os.waitpid(child, 0)
            check(path, 1)
            if status == 0:
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
    with os.fdopen(read, "rb") as pipe:
        numbers = np.frombuffer(pipe.read(), np.int64)
    return int(numbers[-1]) if numbers.size else first - 1


def check(path: Path, last: int) -> int:
    """The number of the state that is there: the last one known, or the one after it."""
    found = slotwise.load(path)
    assert found.extra in (last, last + 1), (
        f"{path}: expected {last} or one more, got {found.extra}"
    )
    for name, x in state(found.extra).items():
        np.testing.assert_array_equal(found.arrays[name], x)
    return int(found.extra)


def main(folder: str, kills: str, seed: str) -> None:
    rng = random.Random(int(seed))
    places = kill_at_each_call(folder)
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
    rest = sorted(os.listdir(folder))
    assert rest == sorted(FORMS), rest  # what was left was removed by the next save
    print(f"{places} kills at calls; {kills} at random: {sum(last.values())} states, {left} left")


if __name__ == "__main__":
    main(*sys.argv[1:])
