# SPDX-License-Identifier: Apache-2.0
"""Files and folders that take another's place whole, or not at all."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Container, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from slotwise.state import _index, _threads

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)

# What is beside a path for a while: a new state; the old one; what is to be removed, whole.
PARTIAL, OLD, GONE = ".partial", ".old", ".gone"
_TRIES = 10


def _beside(path: Path, ending: str) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(4)}{ending}"


class _Left(NamedTuple):
    """What was left beside a path."""

    place: Path
    path: Path
    ending: str


def _left(folder: Path, names: str) -> list[_Left]:
    """All in a folder, beside paths of such names (a pattern); old states first, the newest first.

    This order restores one that is alone.
    """
    pattern = re.compile(rf"\.({names})\.[0-9a-f]{{8}}(\.partial|\.old|\.gone)")
    found = []
    for name in os.listdir(folder) if folder.is_dir() else []:
        if match := pattern.fullmatch(name):
            with suppress(FileNotFoundError):  # whose it is was just done
                time = (folder / name).lstat().st_mtime
                found.append((time, _Left(folder / name, folder / match[1], match[2])))
    found.sort(key=lambda each: (each[1].ending != OLD, -each[0]))
    return [left for _, left in found]


def current(path: Path) -> Path:
    """Where the path's content is.

    A process that was killed while it replaced a folder leaves it beside, on a file system that
    cannot exchange two.
    """
    if not path.exists():
        for left in _left(path.parent, re.escape(path.name)):
            if left.ending == OLD and left.place.is_dir():
                return left.place
    return path


def clean(folder: Path, names: str) -> None:
    """Remove what dead processes left beside paths of such names (a pattern).

    Whoever is alive holds a lock. Files of others in a folder that was being replaced are not lost.
    """
    for left in _left(folder, names):
        with suppress(OSError), ExitStack() as stack:
            if not _hold(left.place, stack):
                continue
            if left.ending == OLD and left.place.is_dir() and not left.path.exists():
                os.rename(left.place, left.path)
                continue
            if left.ending != GONE and left.place.is_dir() and left.path.is_dir():
                shards = {name for name in os.listdir(left.place) if _index.is_shard(name)}
                _hand_over(left.place, left.path, shards | _index.files(left.place), None)
            discard(left.place, left.path)


def _hold(path: Path, stack: ExitStack) -> bool:
    """Lock a file or folder until the stack ends; False if another does, or it is none."""
    try:
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return False
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        stack.callback(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


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

    On an error it is removed, and the path stays as it was. Owner and permissions stay, and in a
    folder the files that are not of the checkpoint: the new one has them, too, before it is put in
    place. No signal handler may interrupt this, see `slotwise.state._threads.undisturbed`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clean(path.parent, re.escape(path.name))
    with ExitStack() as locks:
        partial = _new(path, is_folder, locks)
        with suppress(OSError):  # there may be nothing
            _hold(path, locks)  # it is beside for a while
        taken: set[int] = set()
        try:
            yield partial
            with suppress(FileNotFoundError):  # there is none, or another process removed it
                _be_like(path, partial, taken)
            sync(partial)
            _threads.check()
            old = _put(partial, path)
        except BaseException:
            _remove(partial)
            raise
        try:
            sync(path.parent)
        finally:
            if old is not None:
                with suppress(FileNotFoundError):  # another saver of the path has done it
                    _hand_over(old, path, _index.files(old) | _index.files(path), taken)
                discard(old, path)


def _new(path: Path, is_folder: bool, locks: ExitStack) -> Path:
    """An empty place beside the path, locked; closed to others until it is like the old one."""
    mode = 0o700 if path.exists() else 0o777
    for _ in range(_TRIES):
        partial = _beside(path, PARTIAL)
        if is_folder:
            partial.mkdir(mode)
        else:
            partial.touch(mode & 0o666, exist_ok=False)
        if _hold(partial, locks):  # or another process took it for a leftover
            return partial
    raise BlockingIOError(f"save: {path}: other processes remove what is written beside it")


def _put(partial: Path, path: Path) -> Path | None:
    """Rename; returns where a folder that was there before is now."""
    if not partial.is_dir():
        os.replace(partial, path)
        return None
    for _ in range(_TRIES):
        if exchange(partial, path):
            return partial
        old = _beside(path, OLD)
        with suppress(FileNotFoundError):  # there is none
            os.rename(path, old)
        try:
            os.rename(partial, path)
        except BaseException as error:
            with suppress(OSError):
                os.rename(old, path)
            if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue  # another saver has put its own there meanwhile
            raise
        return old if old.exists() else None
    raise BlockingIOError(f"save: {path}: other processes write the same path")


def exchange(a: Path, b: Path) -> bool:
    """Swap two names in one step; False where the file system cannot."""
    rename = getattr(_libc, "renameat2", None)
    return (
        rename is not None and rename(_HERE, os.fsencode(a), _HERE, os.fsencode(b), _EXCHANGE) == 0
    )


def _be_like(old: Path, new: Path, taken: set[int]) -> None:
    """Have the owner and permissions of what will be replaced, and the files of others in it."""
    if new.is_dir():
        own = os.listdir(new)
        for name in own:
            _permit(old / name if (old / name).is_file() else old / _index.INDEX, new / name)
        _take_along(old, new, {*own, *_index.files(old)}, taken)
    _permit(old, new)


_ACCESS_LISTS = ("system.posix_acl_access", "system.posix_acl_default")


def _permit(old: Path, new: Path) -> None:
    """Permit the same to the same people, as far as this one may say so."""
    found = os.stat(old)
    for owner in ((found.st_uid, -1), (-1, found.st_gid)):
        with suppress(PermissionError):
            os.chown(new, *owner)
    os.chmod(new, stat.S_IMODE(found.st_mode))
    for name in _ACCESS_LISTS if hasattr(os, "getxattr") else ():
        with suppress(OSError):  # there is none
            os.setxattr(new, name, os.getxattr(old, name))


def _take_along(old: Path, new: Path, but: Container[str], taken: set[int]) -> None:
    """Give a new folder the files that an old one has, which keeps them; their inodes are noted."""
    with os.scandir(old) as entries:
        for entry in entries:
            if entry.name in but:
                continue
            source, place = Path(entry.path), new / entry.name
            with suppress(FileNotFoundError):  # it was removed meanwhile
                if entry.is_dir(follow_symlinks=False):
                    place.mkdir(0o700)
                    _take_along(source, place, (), taken)
                    _permit(source, place)
                    sync(place)
                else:
                    _link(source, place)
                    taken.add(entry.inode())


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # the file system has no links, or it is another's file
        shutil.copy2(source, place, follow_symlinks=False)
        if not place.is_symlink():
            sync(place)


def _hand_over(old: Path, new: Path, but: Container[str], taken: Container[int] | None) -> None:
    """Move the files of others that a new folder has not.

    Args:
        but: names that are not of others.
        taken: the inodes of those that the new one was given, if they are known: a file that came
            in their place since is moved. Otherwise, what the new one has counts.
    """
    with os.scandir(old) as entries:
        for entry in entries:
            source, place = Path(entry.path), new / entry.name
            if entry.name in but:
                continue
            if entry.is_dir(follow_symlinks=False) and place.is_dir():
                _hand_over(source, place, (), taken)
            elif not os.path.lexists(place) if taken is None else entry.inode() not in taken:
                with suppress(FileNotFoundError):  # another saver has moved it
                    os.replace(source, place)
                sync(new)


def discard(place: Path, path: Path | None = None) -> None:
    """Remove a file or folder; killed meanwhile, it is either there or not.

    Args:
        place: where it is; if it is gone already, that is well.
        path: beside which it is, if that is another one.
    """
    gone = _beside(path or place, GONE)
    with suppress(FileNotFoundError):
        os.rename(place, gone)
        _remove(gone)


def _remove(place: Path) -> None:
    if place.is_symlink() or not place.is_dir():
        place.unlink(missing_ok=True)
        return
    for folder, _, _ in os.walk(place):  # links to files of others may be in read-only folders
        with suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(place, ignore_errors=True)
