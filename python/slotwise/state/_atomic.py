"""Files and folders that take another's place whole, or not at all."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)

PARTIAL, OLD = ".partial", ".old"


def _beside(path: Path, ending: str) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(4)}{ending}"


def _left(path: Path, ending: str) -> list[Path]:
    """What earlier processes left beside a path, the newest last."""
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}{re.escape(ending)}")
    found = [path.parent / name for name in names if pattern.fullmatch(name)]
    return sorted(found, key=lambda p: p.stat().st_mtime)


def current(path: Path) -> Path:
    """Where the path's content is: a process that was killed while it replaced a folder, on a file
    system that cannot exchange two, leaves it beside."""
    if not path.exists() and (old := _left(path, OLD)):
        return old[-1]
    return path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _clean(path: Path) -> None:
    """Remove what killed processes left; whoever still writes holds a lock."""
    if not path.exists() and (old := _left(path, OLD)):
        os.rename(old[-1], path)
    for left in (*_left(path, PARTIAL), *_left(path, OLD)):
        try:
            with _locked(left):
                _remove(left)
        except OSError:  # someone's, or gone already
            continue


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path, is_folder: bool) -> Iterator[Path]:
    """A place beside the path to write to, and to sync; it takes the path's place at the end.

    On an error it is removed, and the path stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path)
    partial = _beside(path, PARTIAL)
    if is_folder:
        partial.mkdir()
    else:
        partial.touch()
    try:
        with _locked(partial):
            yield partial
            sync(partial)
            old = _put(partial, path)
            sync(path.parent)
    except BaseException:
        _remove(partial)
        raise
    if old is not None:
        _remove(old)


def _put(partial: Path, path: Path) -> Path | None:
    """Rename; returns where a folder that was there before is now."""
    if not (path.is_dir() and partial.is_dir()):
        os.replace(partial, path)
        return None
    if exchange(partial, path):
        return partial
    old = _beside(path, OLD)
    os.rename(path, old)
    os.rename(partial, path)
    return old


def exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step; False where the file system cannot."""
    rename = getattr(_libc, "renameat2", None)
    return (
        rename is not None and rename(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE) == 0
    )


def discard(path: Path) -> None:
    """Remove a file or folder; killed meanwhile, it is either there or not."""
    gone = _beside(path, PARTIAL)
    os.rename(path, gone)
    _remove(gone)
