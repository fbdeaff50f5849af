"""Chunks of tensors, dealt out to a few threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

Task = TypeVar("Task")

THREADS = min(4, os.cpu_count() or 1)  # each has a buffer of a chunk, at most
_LONG = 1 << 30  # bytes from which on there is a progress bar on a terminal


def run(tasks: Iterable[Task], work: Callable[[Task], Any], advance: Callable[[Task], Any]) -> None:
    """Do the work of each task; the first error ends it all, and is raised.

    Args:
        tasks: taken in order.
        work: called in several threads at once.
        advance: called after each task, by one thread at a time.
    """
    waiting, lock, failed = iter(tasks), Lock(), False

    def worker() -> None:
        nonlocal failed
        while True:
            with lock:
                task = None if failed else next(waiting, None)
            if task is None:
                return
            try:
                work(task)
            except BaseException:
                failed = True
                raise
            with lock:
                advance(task)

    with ThreadPoolExecutor(THREADS) as pool:
        workers = [pool.submit(worker) for _ in range(THREADS)]
        try:
            for done in workers:
                done.result()
        except BaseException:  # the interrupt of a waiting main thread, too
            failed = True
            raise


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
