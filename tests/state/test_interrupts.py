# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, also twice: no thread, descriptor or file outlives the call, and no state is lost."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise import distributed
from slotwise.state import _threads
from slotwise.state._reader import Reader
from support.spread import even

TRIES = max(12, int(os.environ.get("SLOTWISE_FUZZ", "0")) // 4)
SEED = os.environ.get("SLOTWISE_FUZZ_SEED", "0")


class Interrupts:
    """Has a handler raise in the main thread, at times of our choice."""

    def __init__(self) -> None:
        self.raised = self._left = 0

    @contextmanager
    def at(self, first: float, then: float, count: int = 2) -> Iterator[None]:
        """So many seconds after now, then after each other."""
        self.raised, self._left = 0, count
        try:
            signal.setitimer(signal.ITIMER_REAL, max(first, 1e-6), then)
            yield
        finally:
            self._left = 0
            signal.setitimer(signal.ITIMER_REAL, 0)

    def handle(self, *_: object) -> None:
        if self._left:
            self._left -= 1
            self.raised += 1
            raise KeyboardInterrupt


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    found = Interrupts()
    before = signal.signal(signal.SIGALRM, found.handle)
    yield found
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # that of the listing
            continue
    return found


def check_threads(before: set[Any]) -> None:
    """The system takes a moment to end one."""
    deadline = time.monotonic() + 5
    while threads() - before:
        assert time.monotonic() < deadline
        time.sleep(1e-3)


def threads() -> set[Any]:
    """Those that the system runs, and those that Python knows."""
    return {*os.listdir("/proc/self/task"), *threading.enumerate()}


STATE = {f"v{n}": np.full(100_000, 7.0) for n in range(10)}


def check_nothing_goes_on(
    folder: Path, call: Callable[[], object], interrupts: Interrupts, is_closed_at_once: bool = True
) -> None:
    """Whenever it is interrupted, and again soon after."""
    rng = random.Random(SEED)
    call()
    began = time.perf_counter()
    call()
    typical = time.perf_counter() - began
    before, running, count = descriptors(), threads(), 0
    for _ in range(TRIES):
        again = rng.choice((1e-4, 1e-3, 1e-2)) * rng.uniform(0.5, 1)
        try:
            with interrupts.at(rng.uniform(0, typical), again):
                call()
        except KeyboardInterrupt:
            assert not is_closed_at_once or descriptors() == before
        count += bool(interrupts.raised)
        with open(folder / "other", "xb") as other:  # a descriptor that was just in use
            check_threads(running)
            assert os.fstat(other.fileno()).st_size == 0
        os.remove(folder / "other")
        assert descriptors() == before
        assert os.listdir(folder) == ["state"]
        for x in slotwise.load(folder / "state").arrays.values():
            assert (x == 7).all()
    assert count


@pytest.mark.parametrize("shard", [10**9, 10**6])
def test_saves(tmp_path: Path, interrupts: Interrupts, shard: Any) -> None:
    def save() -> None:
        slotwise.save(tmp_path / "state", variables=STATE, max_shard_size=shard)

    check_nothing_goes_on(tmp_path, save, interrupts)


def test_saves_of_what_is_spread(tmp_path: Path, interrupts: Interrupts) -> None:
    state = {**STATE, "emb": even(distributed.local(), np.full((300_000, 4), 7.0))}

    def save() -> None:
        slotwise.save(tmp_path / "state", variables=state)

    check_nothing_goes_on(tmp_path, save, interrupts)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_loads(tmp_path: Path, interrupts: Interrupts) -> None:
    """What an interrupt of the ``with`` statement leaves open is closed with the traceback."""
    slotwise.save(tmp_path / "state", variables=STATE, max_shard_size=10**6)
    into = {name: np.zeros_like(x) for name, x in STATE.items()}

    def load() -> None:
        with Reader(tmp_path / "state") as reader:
            for name, x in into.items():
                x[:] = reader.read(name)

    check_nothing_goes_on(tmp_path, load, interrupts, is_closed_at_once=False)


def test_the_wait_outlasts_interrupts(interrupts: Interrupts) -> None:
    """However many there are."""
    ended = []

    @_threads.undisturbed
    def work() -> None:
        try:
            while True:
                _threads.check()
                time.sleep(1e-3)
        finally:
            time.sleep(0.2)
            ended.append(threading.get_ident())

    with pytest.raises(KeyboardInterrupt), interrupts.at(0.01, 0.01, 10):
        work()
    assert ended and ended != [threading.get_ident()]


def test_an_interrupt_that_does_not_wake_the_wait(interrupts: Interrupts) -> None:
    """A signal that comes before the wait, or to another thread, is seen nevertheless."""

    def tell() -> None:
        time.sleep(0.2)
        signal.raise_signal(signal.SIGALRM)  # to this thread

    @_threads.undisturbed
    def work() -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            _threads.check()
            time.sleep(1e-3)

    interrupts._left = 1
    thread = threading.Thread(target=tell)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        work()
    thread.join()


def test_an_interrupt_ends_work_between_tasks(interrupts: Interrupts) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts.at(0.05, 0):
        _threads.run(range(10**6), lambda task: time.sleep(1e-3), done.append)
    count = len(done)
    assert 0 < count < 10**4
    time.sleep(0.05)
    assert len(done) == count


def test_errors_come_through_and_keep_nothing_alive() -> None:
    class Data(np.ndarray):
        pass

    data = np.zeros(3).view(Data)
    seen = weakref.ref(data)

    def work(task: int, data: np.ndarray = data) -> None:
        if task == 5:
            raise ValueError(f"{task}: {data.size}")

    gc.disable()
    try:
        with pytest.raises(ValueError, match="5: 3") as error:
            _threads.run(range(100), work, lambda task: None)
        assert error.value.__context__ is None
        del error, work, data
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_where_no_more_threads_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: Any
) -> None:
    """The work is done by those that there are."""
    start: Any = vars(_threads)["start_new_thread"]
    began: list[Any] = []

    def refused(*args: object) -> Any:
        if len(began) >= allowed:
            raise RuntimeError("can't start new thread")
        began.append(args)
        return start(*args)

    monkeypatch.setattr(_threads, "start_new_thread", refused)
    slotwise.save(tmp_path / "x", variables=STATE)
    began.clear()
    for x in slotwise.load(tmp_path / "x").arrays.values():
        assert (x == 7).all()


def test_nothing_is_started_for_an_interrupt_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt that comes as the thread is started is not taken for a refusal."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(_threads, "start_new_thread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _threads.run([1], print, print)
