# SPDX-License-Identifier: Apache-2.0
"""Saves in the background: a process with the memory of the moment writes, while steps go on."""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slotwise import _tracking
from slotwise._arguments import refused
from slotwise._identity import memory_of
from slotwise._overlap import Spans, span_of
from slotwise.optimizers._kinds import Number
from slotwise.state import _fork, _mappings, _threads
from slotwise.state._errors import StateError
from slotwise.state._memory import Source, WholeArray
from slotwise.state._snapshot import Snapshot
from slotwise.state._writer import changed

Release = Callable[[str, int, int], None]  # of bytes of a tensor that are written

_SECONDS = Number(at_least=0, optional=True)


class BackgroundSave:
    """A checkpoint that is being written; `slotwise.save` returns it with ``background=True``.

    Attributes:
        id: the checkpoint's.
        path: where it will be, once it is complete.
        is_background: False if it could not be written in the background, so that it was complete
            when `save` returned.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> w = slotwise.Variable(np.zeros(3), name="w")
        >>> saving = slotwise.save(tempfile.mkdtemp() + "/x", variables=[w], background=True)
        >>> _ = w.assign(np.ones(3))
        >>> saving.result() == saving.id
        True
        >>> slotwise.load_array(saving.path, "w")
        array([0., 0., 0.])
    """

    def __init__(self, identity: str, path: Path, is_background: bool) -> None:
        self.id, self.is_background = identity, is_background
        self.path = Path(os.path.abspath(path))
        self._process = os.getpid()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._is_told = False  # whether somebody has been told the error
        if not is_background:
            self._ended.set()

    def __repr__(self) -> str:
        how = "is being written"
        if self.done():
            how = "complete" if self._failure is None else "failed"
        return f"<BackgroundSave {str(self.path)!r}: {how}>"

    def __reduce__(self) -> Any:
        expected = "its id and path: only the process that called save waits for it"
        raise refused("BackgroundSave", "a copy", expected, self)

    def done(self) -> bool:
        """Whether it has ended, complete or with an error."""
        return self._ended.is_set()

    def result(self, timeout: float | None = None) -> str:
        """Wait until it is complete.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Returns:
            The id of the checkpoint.

        Raises:
            TypeError, ValueError: ``timeout`` is no number of 0 or more.
            TimeoutError: it is not complete by then.
            RuntimeError: the process that writes it was killed; or this one is a child of ``fork``.
            Others as of `slotwise.save`. What was at the path is still there.
        """
        timeout = None if timeout == math.inf else _SECONDS("result", "timeout", timeout)
        if not self.done() and os.getpid() != self._process:
            expected = "the process that called save"
            raise RuntimeError(f"BackgroundSave: expected {expected}, got a child of fork")
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX)
        if not self._ended.wait(timeout):
            raise TimeoutError(f"save: {self.path}: it is still being written")
        if self._failure is not None:
            self._is_told = True
            raise self._failure
        return self.id

    def _follow(
        self, child: _fork.Child, undo: Callable[[], None], spans: list[_mappings.Span]
    ) -> None:
        """What a thread does: wait for the end, and have the memory as it was."""
        try:
            try:
                self._failure = child.outcome(f"save: {self.path}")
            except BaseException as error:
                self._failure = error
            if self._failure is not None:
                undo()
        finally:
            self._ended.set()  # whatever happens: others wait for it
        _mappings.mend(spans, lambda: _latest is self and threading.main_thread().is_alive())


_latest: BackgroundSave | None = None  # of this process
_beginning = threading.Lock()


class Busy(Exception):
    """Another thread's save is being written: wait for it (see `settle`), and begin anew.

    With nothing locked: steps are not to wait for it.
    """


def settle(saving: BackgroundSave | None = None) -> None:
    """Wait for a save in the background, the latest one; its error is raised, if nobody knows it.

    Every save does so first: one is written at a time, and its error does not get lost.
    """
    saving = saving or _latest
    if saving is not None and saving._process == os.getpid():
        saving._ended.wait()
        if saving._failure is not None and not saving._is_told:
            saving.result()


def begin(
    op: str,
    identity: str,
    path: Path,
    ranks: int,
    found: Snapshot,
    sources: Mapping[str, Source],
    write: Callable[[Release], object],
) -> BackgroundSave | None:
    """Have a moment written, while it lasts; None, after a warning, if it is not possible.

    Tracked rows count from the checkpoint on; if it fails, as before.

    Args:
        write: is called in another process, with what it is to call of bytes that it has written.

    Raises:
        Busy: as it says.
    """
    begun: list[tuple[BackgroundSave, _fork.Child]] = []
    try:
        why = _hindrance(ranks, found)
        if why is None:
            why = _start(identity, path, found, sources, write, begun)
    except BaseException:  # an interrupt: nobody will have the handle
        for saving, child in begun:
            saving._is_told = True
            child.kill()
        raise
    if why is None:
        return begun[0][0]
    text = f"{op}: background: {why}: it is saved in the foreground"
    warnings.warn(text, UserWarning, stacklevel=_level_of_the_caller())
    return None


def _level_of_the_caller() -> int:
    """Of who calls this library, as `warnings.warn` counts frames where this is called."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("slotwise."):
        frame, level = frame.f_back, level + 1
    return level


def _hindrance(ranks: int, found: Snapshot) -> str | None:
    """Why there can be no snapshot of memory, if so."""
    if sys.platform != "linux":
        return "expected Linux, which copies memory that changes"
    if ranks > 1:
        return "expected state of this process, got what is spread over ranks"
    try:
        regions = _mappings.Regions()
    except OSError as error:
        return f"expected a system that tells which memory is shared: {error}"
    for name, array in found.arrays.items():
        if regions.share(span_of(memory_of(array))):
            return f"'{name}' is in shared memory, or a memory map of a file, which is not copied"
    return None


@_threads.undisturbed
def _start(
    identity: str,
    path: Path,
    found: Snapshot,
    sources: Mapping[str, Source],
    write: Callable[[Release], object],
    begun: list[tuple[BackgroundSave, _fork.Child]],
) -> str | None:
    global _latest
    spans = {name: span_of(memory_of(array)) for name, array in found.arrays.items()}
    parent = os.getpid()

    def work() -> None:
        _refuse_what_is_not_there(found, spans, parent)
        write(_releasing(found, sources, spans))

    with _beginning:
        if _latest is not None and not _latest.done():
            raise Busy  # another thread has begun it just now
        settle()
        _threads.check()
        undo = _Counting(identity, found).undo
        try:
            child = _fork.start(work)
        except (OSError, RuntimeError) as error:  # no memory for it, say
            return f"fork: {error}"
        saving = BackgroundSave(identity, path, True)
        begun.append((saving, child))
        _latest = saving
        found.count_from(identity)  # before anybody may undo it
        _wait_in_children_of_multiprocessing()
        arguments = (child, undo, [*spans.values()])
        try:
            # It is waited for when the interpreter ends, as all threads are that are no daemons.
            threading.Thread(
                target=saving._follow, args=arguments, name="slotwise.save", daemon=False
            ).start()
        except RuntimeError:  # no more threads are allowed
            saving._follow(*arguments)
    return None


def _refuse_what_is_not_there(
    found: Snapshot, spans: Mapping[str, _mappings.Span], parent: int
) -> None:
    """In the child: refuse memory that is not that of the moment, or was half changed then."""
    regions, wiped, under_way = _mappings.Regions(), _mappings.wiped(), _tracking.under_way(parent)
    for name, array in found.arrays.items():
        begin, end = spans[name]
        if not regions.have((begin, end)) or any(a < end and begin < b for a, b in wiped):
            expected = "memory that a child of fork has, too"
            flags = "MADV_DONTFORK, MADV_WIPEONFORK"
            raise StateError(f"save: '{name}': expected {expected} (see {flags})")
        if any(True for _ in under_way.sharing(memory_of(array))):
            raise changed(name)


class _Counting:
    """How tracked rows were counted before a checkpoint, which may fail."""

    def __init__(self, identity: str, found: Snapshot) -> None:
        self._identity = identity
        self._before = [
            (touched, rows, touched.since, touched.names) for touched, rows in found.touched.items()
        ]

    def undo(self) -> None:
        for touched, rows, since, names in self._before:
            touched.count_again(self._identity, rows, since, names)


def _releasing(
    found: Snapshot, sources: Mapping[str, Source], spans: Mapping[str, _mappings.Span]
) -> Release:
    """Free memory of arrays that is written, unless others are there, too."""
    arrays = found.arrays
    known, begins = Spans(map(memory_of, arrays.values())), {}
    for name, array in arrays.items():
        is_whole = isinstance(sources.get(name), WholeArray) and array.flags.c_contiguous
        if is_whole and len([*known.sharing(memory_of(array))]) == 1:
            begins[name] = spans[name][0]

    def release(name: str, begin: int, end: int) -> None:
        if name in begins:
            _mappings.give_up((begins[name] + begin, begins[name] + end))

    return release


def _after_fork() -> None:
    """A child of the program's own has no save in the background."""
    global _latest, _beginning
    _latest, _beginning = None, threading.Lock()


def _at_exit() -> None:
    saving = _latest
    if saving is not None:
        saving._ended.wait()  # it was begun at the end, perhaps
    if saving is not None and saving._failure is not None and not saving._is_told:
        saving._is_told = True
        text = f"save: {saving.path}: it failed in the background: {saving._failure!r}"
        warnings.warn(text, RuntimeWarning, stacklevel=1)


_processes_that_wait: set[int] = set()


def _wait_in_children_of_multiprocessing() -> None:
    """Have `_at_exit` run at the end of these, too, which run no function of atexit."""
    if "multiprocessing" in sys.modules and os.getpid() not in _processes_that_wait:
        from multiprocessing import parent_process, util

        if parent_process() is not None:
            _processes_that_wait.add(os.getpid())
            util.Finalize(None, _at_exit, exitpriority=0)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
