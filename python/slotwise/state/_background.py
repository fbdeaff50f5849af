# SPDX-License-Identifier: Apache-2.0
"""Saves in the background: a process with the memory of the moment writes, while steps go on."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from slotwise._identity import memory_of
from slotwise._overlap import Spans, span_of
from slotwise.state import _fork, _mappings, _threads
from slotwise.state._errors import StateError
from slotwise.state._memory import Source, WholeArray
from slotwise.state._snapshot import Snapshot

Release = Callable[[str, int, int], None]  # of bytes of a tensor that are written

_FRAMES = 5  # from the warning to who calls `save`


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
        self.id, self.path, self.is_background = identity, path, is_background
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
            TimeoutError: it is not complete by then.
            RuntimeError: the process that writes it was killed; or this one is a child of ``fork``.
            Others as of `slotwise.save`. What was at the path is still there.
        """
        if not self.done() and os.getpid() != self._process:
            expected = "the process that called save"
            raise RuntimeError(f"BackgroundSave: expected {expected}, got a child of fork")
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
        error = child.outcome(f"save: {self.path}")
        if error is not None:
            undo()
        self._failure = error
        self._ended.set()
        _mappings.mend(spans, lambda: _latest is self and threading.main_thread().is_alive())


_latest: BackgroundSave | None = None  # of this process
_beginning = threading.Lock()


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

    Args:
        write: is called in another process, with what it is to call of bytes that it has written.
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
        found.count_from(identity)
        return begun[0][0]
    text = f"{op}: background: {why}: it is saved in the foreground"
    warnings.warn(text, UserWarning, stacklevel=_FRAMES)
    return None


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
    undo = _Counting(identity, found).undo

    def work() -> None:
        regions = _mappings.Regions()
        for name, span in spans.items():
            if not regions.have(span):
                expected = "memory that a child of fork has, too"
                raise StateError(f"save: '{name}': expected {expected} (see MADV_DONTFORK)")
        write(_releasing(found, sources, spans))

    with _beginning:
        settle()  # another thread may have begun one just now
        _threads.check()
        try:
            child = _fork.start(work)
        except (OSError, RuntimeError) as error:  # no memory for it, say
            return f"fork: {error}"
        saving = BackgroundSave(identity, path, True)
        begun.append((saving, child))
        _latest = saving
        arguments = (child, undo, [*spans.values()])
        try:
            # It is waited for when the interpreter ends, as all threads are that are no daemons.
            threading.Thread(
                target=saving._follow, args=arguments, name="slotwise.save", daemon=False
            ).start()
        except RuntimeError:  # no more threads are allowed
            saving._follow(*arguments)
    return None


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
    if saving is not None and saving._failure is not None and not saving._is_told:
        text = f"save: {saving.path}: it failed in the background: {saving._failure!r}"
        warnings.warn(text, RuntimeWarning, stacklevel=1)


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
