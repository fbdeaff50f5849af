"""A process that saves again and again, and is killed: `python state_crash.py FOLDER KILLS SEED`.

It ends with 1 if anything but a whole state, the last one known or the next, was found.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

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
    last = dict.fromkeys(FORMS, 0)
    for form in FORMS:
        save(Path(folder, form), 0)
    left = 0
    for kill in range(int(kills)):
        form = FORMS[kill % len(FORMS)]
        path = Path(folder, form)
        known = killed(path, last[form] + 1, rng.uniform(0, 0.15))
        last[form] = check(path, known)
        left += sum(name.startswith(".") for name in os.listdir(folder))
    for form in FORMS:
        save(Path(folder, form), last[form])
    rest = sorted(os.listdir(folder))
    assert rest == sorted(FORMS), rest  # what was left was removed by the next save
    print(f"{kills} kills: {sum(last.values())} states, {left} times something was left beside")


if __name__ == "__main__":
    main(*sys.argv[1:])
