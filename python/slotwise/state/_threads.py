# SPDX-License-Identifier: Apache-2.0
"""Work in threads, which no interrupt cuts short: chunks of tensors, and what has descriptors."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from _thread import start_new_thread
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from itertools import islice
from typing import Any, ParamSpec, TypeVar

Task = TypeVar("Task")
Given = ParamSpec("Given")
Result = TypeVar("Result")

THREADS = min(4, os.cpu_count() or 1)  # each has a buffer of a chunk, at most
_LONG = 1 << 30  # bytes from which on there is a progress bar on a terminal
_BATCH = 64  # tasks, of a chunk each, say
_LOOK_S = 0.1  # how long an interrupt may wait

_python = ctypes.CDLL(None)  # lets other threads run during a call, as ctypes.pythonapi does not
_python.PyThread_allocate_lock.restype = ctypes.c_void_p
_python.PyThread_acquire_lock.argtypes = (ctypes.c_void_p, ctypes.c_int)
_python.PyThread_release_lock.argtypes = (ctypes.c_void_p,)


class _End:
    """The end of a thread. No signal handler runs during the wait, as it does in `Lock.acquire`."""

    def __init__(self) -> None:
        lock = _python.PyThread_allocate_lock()
        if lock is None:
            raise MemoryError
        self.wait = partial(_python.PyThread_acquire_lock, lock, 1)
        self.set = partial(_python.PyThread_release_lock, lock)


_ends: list[_End] = []  # used again: freeing them takes code that an interrupt can end in silence


class _Stop:
    """Whether those who wait for the work were interrupted."""

    is_set = False


class _Stopped(BaseException):
    """Raised in work that is to stop, and seen by nobody: an interrupt is raised in its place."""


_own = threading.local()  # stop: of the work that this thread does


def check() -> None:
    """Give up here if whoever waits for this work was interrupted."""
    if _stop().is_set:
        raise _Stopped


def _stop() -> _Stop:
    return getattr(_own, "stop", None) or _Stop()


def undisturbed(work: Callable[Given, Result]) -> Callable[Given, Result]:
    """Have a function run in a thread of its own, where no signal handler does.

    In the main thread one may raise at any point, also between a system call and the line that
    keeps the descriptor, or in the middle of cleaning up. Here it asks the work to stop (see
    `check`); once that has ended, whatever else comes meanwhile, the interrupt is raised.
    """

    @wraps(work)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        return _apart(partial(work, *args, **kwargs))

    return call


def _apart(work: Callable[[], Result]) -> Result:
    if hasattr(_own, "stop"):
        return work()
    stop, done = _Stop(), threading.Lock()
    results: list[Result] = []
    errors: list[BaseException] = []
    try:
        end = _ends.pop()
    except IndexError:
        end = _End()

    def body() -> None:
        try:
            _own.stop = stop
            results.append(work())
        except BaseException as error:
            if not stop.is_set:  # else nobody asks for it
                errors.append(error)

    def ended() -> None:
        end.set()
        done.release()

    started: list[int] = []
    end.wait()  # from here on, until the thread sets it
    done.acquire()
    try:
        # What was started is noted in the same call: interrupts come before it or after.
        started.extend(map(start_new_thread, [_do], [([body], ended)]))
        # A signal that comes while the call waits for Python's lock does not wake it: it looks.
        while not done.acquire(timeout=_LOOK_S):
            pass
    except BaseException as error:
        # No handler runs until the next call has returned (since Python 3.11): that is the wait.
        stop.is_set = True
        if started:
            end.wait()
            raise
        if "new thread" not in str(error):
            raise
    if not started:  # no more threads are allowed
        return work()
    _ends.append(end)
    _raise_one(errors)
    return results.pop()


def _do(todo: list[Callable[[], Any]], ended: Callable[[], Any]) -> None:
    """What a thread does: the work, of which it keeps nothing alive on its last steps."""
    try:
        todo.pop()()
    finally:
        # Before Python 3.12, who asks for the current thread has one noted that never ends.
        threading._active.pop(threading.get_ident(), None)  # type: ignore[attr-defined]
        ended()


def _raise_one(errors: list[BaseException]) -> None:
    """The first, if any; tracebacks know the list, which would keep them alive."""
    if errors:
        error = errors[0]
        errors.clear()
        try:
            raise error
        finally:
            del error


@undisturbed
def run(tasks: Iterable[Task], work: Callable[[Task], Any], advance: Callable[[Task], Any]) -> None:
    """Do the work of each task; the first error ends it all, and is raised.

    No thread outlives the call, however it ends.

    Args:
        tasks: taken in order.
        work: called in several threads at once.
        advance: called after each task, by one thread at a time.
    """
    waiting, lock, stop = iter(tasks), threading.Lock(), _stop()
    errors: list[BaseException] = []

    def worker() -> None:
        try:
            while True:
                with lock:
                    task = None if errors or stop.is_set else next(waiting, None)
                if task is None:
                    return
                work(task)
                with lock:
                    advance(task)
        except BaseException as error:
            errors.append(error)

    ends = []
    for _ in range(THREADS - 1):
        end = threading.Lock()
        end.acquire()
        try:
            start_new_thread(_do, ([worker], end.release))
        except RuntimeError:  # as many as are allowed
            break
        ends.append(end)
    worker()
    for end in ends:
        end.acquire()
    _raise_one(errors)
    check()


def in_batches(
    tasks: Iterable[Task], work: Callable[[Task], Any], advance: Callable[[Task], Any]
) -> Iterator[None]:
    """The same bit by bit: it yields after some tasks."""
    waiting = iter(tasks)
    while batch := [*islice(waiting, _BATCH)]:
        run(batch, work, advance)
        yield None


@contextmanager
def progress_bar(what: str, size: int, wanted: bool | None) -> Iterator[Callable[[int], Any]]:
    """A function that is told how many bytes were done.

    The bar is tqdm's, if that is installed. Without a wish, long work on a terminal shows it.
    """
    if wanted is None:
        wanted = size >= _LONG and sys.stderr.isatty()
    if wanted:
        try:
            from tqdm import tqdm
        except ImportError:
            wanted = False
    if not wanted:
        yield lambda count: None
        return
    with tqdm(total=size, desc=what, unit="B", unit_scale=True, unit_divisor=1024) as bar:
        yield bar.update
