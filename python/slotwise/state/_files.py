# SPDX-License-Identifier: Apache-2.0
"""Regular files, opened for reading: a pipe of that name is not waited for."""

from __future__ import annotations

import os
import resource
import stat
import threading
import weakref
from io import FileIO

from slotwise.state._errors import StateError

AnyPath = str | os.PathLike[str]

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MOST = 128  # that are kept open at a time
_kept: list[weakref.ref[FileIO]] = []
_lock = threading.Lock()
os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined]


def open_regular(path: str, place: str, folder: int | None = None) -> FileIO:
    """Open a file.

    Args:
        path: named in errors.
        place: where it is: the path; in a folder, the name.
        folder: the descriptor of the folder.

    Raises:
        StateError: there is none, or something else.
    """
    try:
        mode = os.stat(place, dir_fd=folder).st_mode
        if stat.S_ISREG(mode):
            file = FileIO(place, opener=lambda p, _: os.open(p, _FLAGS, dir_fd=folder))
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode):
                return file
            file.close()
    except FileNotFoundError:
        raise StateError(f"{path}: the file is missing") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    raise StateError(f"{path}: expected a file, got something else ({stat.filemode(mode)})")


def unreadable(what: str, error: Exception) -> StateError:
    return StateError(f"{what}: it cannot be read: {getattr(error, 'strerror', None) or error}")


def may_keep(file: FileIO) -> bool:
    """Whether a file may stay open: all that do leave most descriptors to others."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = _MOST if allowed == resource.RLIM_INFINITY else min(_MOST, allowed // 8)
    with _lock:
        _kept[:] = [ref for ref in _kept if (other := ref()) is not None and not other.closed]
        may = len(_kept) < most
        if may:
            _kept.append(weakref.ref(file))
    return may
