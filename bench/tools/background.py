# SPDX-License-Identifier: Apache-2.0
"""``python -m bench background``: what a save costs a loop of training that goes on meanwhile.

A table with sparse steps, and nothing between them, which is the hardest for a save, or a network.
Beside it a plain save, one in the background, and what others do, which is to copy all arrays and
have a thread write the copies (here, too, by `slotwise.save`). In turn; the median counts.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import slotwise
from rich.console import Console
from rich.table import Table
from slotwise import IndexedSlices, Variable, optimizers
from slotwise.state import BackgroundSave

from bench.results.units import show_bytes, show_time
from bench.work.base import Array
from bench.work.rows import Batch

_BATCH = Batch(rows=1, width=64, count=1 << 14, zipf=1.2)
_BATCHES = 64
_FIELDS, _HIDDEN = 16, 256  # of the network
_ALONE_S = 3.0  # of steps without a save
_SAMPLE_S = 0.25

IsDone = Callable[[], bool]


class Turn(NamedTuple):
    """What one save was like for the loop.

    Attributes:
        stall: seconds that the call took.
        until: seconds until it was complete.
        alone: seconds of a step before it, the mean.
        beside: of one while it was written, the mean.
        longest: the longest of these.
        memory: bytes that were taken beyond those of before.
    """

    stall: float
    until: float
    alone: float
    beside: float
    longest: float
    memory: int


def background(console: Console, threads: int, size: int, repeats: int, has_network: bool) -> int:
    """Measure and show."""
    slotwise.set_num_threads(threads)
    folder = Path(tempfile.mkdtemp(prefix="slotwise-bench-"))
    try:
        loop = _Loop(size, has_network)
        turns: dict[str, list[Turn]] = {name: [] for name in _SAVES}
        for _ in range(repeats):
            for name, save in _SAVES.items():
                turns[name].append(_turn(loop, save, folder / "state"))
    finally:
        shutil.rmtree(folder)
    ids = f"{_BATCH.count:,} ids, {_BATCH.law}"
    network = ", with a network" if has_network else ""
    title = f"{show_bytes(size)} of table, as much of slot; steps of {ids}{network}"
    headers = ("save", "stall", "complete after", "step", "step meanwhile", "memory")
    table = Table(*headers, title=title)
    for name, found in turns.items():
        stall, until, alone, beside, longest, memory = np.median(np.array(found), axis=0).tolist()
        ratio = f" ({beside / alone:.2f}x, longest {show_time(longest)})" if beside else ""
        table.add_row(
            name,
            show_time(stall),
            show_time(until),
            show_time(alone),
            (show_time(beside) + ratio) if beside else "-",
            show_bytes(int(memory)),
        )
    console.print(table)
    return 0


class _Loop:
    """Steps of an optimizer that moves the touched rows alone, and all of its memory there."""

    def __init__(self, size: int, has_network: bool = False) -> None:
        batch = replace(_BATCH, rows=max(1, size // (4 * _BATCH.width)))
        self.table = Variable(slotwise.full((batch.rows, batch.width), 0.5), name="table")
        self.opt = optimizers.legacy.Adagrad(0.01)
        grads = np.full((batch.count, batch.width), 0.1, np.float32)
        self._batches = [
            IndexedSlices(grads, replace(batch, seed=n).ids, self.table.shape)
            for n in range(_BATCHES)
        ]
        random = np.random.default_rng(0)
        inputs = _FIELDS * batch.width
        self._weights = (
            random.standard_normal((inputs, _HIDDEN), np.float32) if has_network else None
        )
        self._steps = 0
        self.step()  # makes the slots

    def step(self) -> float:
        """Seconds that it took."""
        slices = self._batches[self._steps % _BATCHES]
        self._steps += 1
        start = time.perf_counter()
        rows = slotwise.gather(self.table, slices.indices)
        if self._weights is not None:
            slices = replace(slices, values=self._gradient(rows, self._weights))
        self.opt.apply_gradients([(slices, self.table)])
        return time.perf_counter() - start

    def _gradient(self, rows: Array, weights: Array) -> Array:
        """Of the rows, through a network of one hidden layer; that of the weights as well."""
        inputs = rows.reshape(-1, weights.shape[0])
        hidden = inputs @ weights
        error = (hidden > 0).astype(np.float32)
        weights -= 1e-6 * (inputs.T @ error)
        gradient: Array = np.tanh(error @ weights.T).reshape(rows.shape)
        return gradient

    @property
    def state(self) -> dict[str, Any]:
        return {"optimizer": self.opt, "variables": [self.table]}


def _plainly(loop: _Loop, path: Path) -> IsDone:
    slotwise.save(path, **loop.state)
    return lambda: True


def _behind(loop: _Loop, path: Path) -> IsDone:
    saving: BackgroundSave = slotwise.save(path, **loop.state, background=True)
    return saving.done


def _copied(loop: _Loop, path: Path) -> IsDone:
    copies = {name: np.copy(x) for name, x in loop.opt.state_dict().items() if name != "config"}
    copies[loop.table.name] = loop.table.numpy().copy()
    thread = threading.Thread(target=slotwise.save, args=(path,), kwargs={"variables": copies})
    thread.start()
    return lambda: not thread.is_alive()


_SAVES = {"plain": _plainly, "background": _behind, "copies, by a thread": _copied}


def _turn(loop: _Loop, save: Callable[[_Loop, Path], IsDone], path: Path) -> Turn:
    alone = [loop.step()]
    while sum(alone) < _ALONE_S:
        alone.append(loop.step())
    beside = []
    with _watched() as memory:
        start = time.perf_counter()
        is_done = save(loop, path)
        stall = time.perf_counter() - start
        while not is_done():
            beside.append(loop.step())
        until = time.perf_counter() - start
    mean = float(np.mean(beside)) if beside else 0.0
    return Turn(stall, until, float(np.mean(alone)), mean, max(beside, default=0.0), memory())


@contextmanager
def _watched() -> Iterator[Callable[[], int]]:
    """Yields what tells by how much memory grew at most: ours, and that of children alone."""
    own, is_over, most = psutil.Process(), threading.Event(), 0
    before = own.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not is_over.wait(_SAMPLE_S):
            now = own.memory_info().rss
            for child in own.children():
                with suppress(psutil.Error):  # it has just ended
                    now += child.memory_full_info().uss
            most = max(most, now - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: most
    finally:
        is_over.set()
        thread.join()
