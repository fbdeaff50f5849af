# SPDX-License-Identifier: Apache-2.0
"""Work in a child of fork: it has the memory of one moment; the system copies what changes.

Python warns of forks where there are threads: the child has copies of their locks, which nobody
will ever release. Ours takes no lock but its own: it has none of the steps' (`_lock`), starts no
thread, runs no kernel, prints and logs nothing, finalizes no object of the program's, and leaves
without the interpreter's cleaning up.
"""

from __future__ import annotations

import builtins
import fcntl
import gc
import json
import os
import re
import select
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from slotwise import _core
from slotwise.state import _threads
from slotwise.state._errors import StateError

_NICE = 19  # a seventieth of a core's time where steps want it all, else all of it
_PIECE = 1 << 16
# Those that stop it or tell of its own faults. All others are for the parent, also those that
# terminals and batch systems send to all processes of a job: a checkpoint that is begun is worth
# most when the job ends.
_OWN_SIGNALS = frozenset(
    getattr(signal, name)
    for name in (
        *("SIGKILL", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT", "SIGCHLD"),
        *("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT", "SIGTRAP", "SIGSYS"),
    )
    if hasattr(signal, name)
)


class Child:
    """A process that does some work.

    Attributes:
        process: its number.
    """

    def __init__(self, process: int, reading: int) -> None:
        self.process, self._reading = process, reading
        self._end: int | None = None
        with suppress(OSError, AttributeError):  # an old system: then the pipe says when it ends
            self._end = os.pidfd_open(process)

    def outcome(self, what: str) -> BaseException | None:
        """Wait until it has ended. What its work raised, or that it was killed; None if neither.

        Args:
            what: the text of an error begins with.
        """
        try:
            said = self._heard()
        except OSError:  # the program has closed descriptors that are not its own
            said = b""
        status: int | None = None
        with suppress(ChildProcessError):  # the program waits for any child, and was faster
            status = os.waitpid(self.process, 0)[1]
        if status == 0:
            return None
        try:
            return _exception(json.loads(said))
        except ValueError:  # nothing, or the half of it
            how = "was ended"
            if status is not None and os.WIFSIGNALED(status):
                how = f"was ended by signal {os.WTERMSIG(status)}"
            return RuntimeError(f"{what}: the process that writes it {how}")

    def _heard(self) -> bytes:
        """All that it says. Others may have inherited the pipe, which ends with the last."""
        said, poll = bytearray(), select.poll()
        handles = [self._reading] if self._end is None else [self._reading, self._end]
        for handle in handles:
            poll.register(handle, select.POLLIN)
        os.set_blocking(self._reading, False)
        try:
            while True:
                has_ended = self._end in dict(poll.poll())  # what it said is in the pipe by now
                try:
                    piece = os.read(self._reading, _PIECE)
                except BlockingIOError:
                    if has_ended:
                        return bytes(said)
                    continue
                if not piece:
                    return bytes(said)
                said += piece
        finally:
            for handle in handles:
                with suppress(OSError):
                    os.close(handle)

    def kill(self) -> None:
        """End it. Call it before `outcome`, after which the number may be another process's."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)


def start(work: Callable[[], object]) -> Child:
    """Do the work in a child. Call it where no signal handler runs (`_threads.undisturbed`).

    Raises:
        OSError, RuntimeError: the system or the interpreter allows no child now.
    """
    if sys.version_info >= (3, 12):  # for good: to take it back could undo what others filter
        text = r"This process .* is multi-threaded"
        warnings.filterwarnings("ignore", text, DeprecationWarning, re.escape(__name__))
    reading, writing = os.pipe()
    kept = _core.owned_by_threads()  # by the child, to its end
    collects = gc.isenabled()
    try:
        # The child runs no handler of the program's, not even at its beginning.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        gc.disable()
        try:
            process = os.fork()
            if process == 0:
                _do(work, writing, kept)
        finally:
            if collects:
                gc.enable()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return Child(process, reading)


def _do(work: Callable[[], object], writing: int, kept: list[Any]) -> NoReturn:
    told: list[Any] | None = ["RuntimeError", "it did not begin"]
    try:
        try:
            writing = fcntl.fcntl(writing, fcntl.F_DUPFD_CLOEXEC, 3)  # it may be a standard one
            _withdraw(writing)
            work()
            told = None
        except BaseException as error:
            told = _told(error)
        said = json.dumps(told).encode()
        while said:
            said = said[os.write(writing, said) :]
    finally:
        os._exit(0 if told is None else 1)


def _withdraw(writing: int) -> None:
    """Have nothing in common with the parent any more but the pipe, and be in nobody's way."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        with suppress(OSError, ValueError):
            if number not in _OWN_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            elif callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Who reads what the parent prints, or is connected to it, waits for the parent's end only.
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != writing:
            with suppress(OSError):
                os.close(int(name))
    with suppress(OSError):  # if memory runs out, training goes on without this checkpoint
        handle = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        try:
            os.write(handle, b"1000")
        finally:
            os.close(handle)
    with suppress(OSError):
        os.nice(_NICE)
    _threads.THREADS = 1


def _told(error: BaseException) -> list[Any]:
    """An exception as JSON can hold it: its kind, and what that is made of."""
    if isinstance(error, OSError) and error.errno is not None:
        place = None if error.filename is None else os.fsdecode(error.filename)
        return ["OSError", error.errno, error.strerror, place]  # which of its kinds, Python knows
    return [type(error).__name__, str(error)]


def _exception(told: list[Any] | None) -> BaseException | None:
    if told is None:
        return None
    name, *given = told
    kind = StateError if name == "StateError" else getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, (OSError, ValueError, TypeError, MemoryError)):
        with suppress(TypeError):  # it is made of more than a text
            return kind(*given)
    return RuntimeError(f"{name}: {given[0]}")
