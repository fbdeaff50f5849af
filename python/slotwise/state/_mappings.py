# SPDX-License-Identifier: Apache-2.0
"""The memory of this process as Linux has it: what a snapshot of it is of, pages, huge pages."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

Span = tuple[int, int]  # the first byte, and the one behind the last

_PAGE = mmap.PAGESIZE
_DONTNEED, _COLLAPSE = 4, 25
_EXCLUSIVE = 56  # the bit of a page that one process has
_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_HUGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")


class _Region(NamedTuple):
    """What the system maps in one way."""

    begin: int
    end: int
    is_copied: bool  # when it changes after a fork


class Regions:
    """All of this process, now."""

    def __init__(self) -> None:
        self._all = []
        with open("/proc/self/maps", "rb") as file:
            for line in file:
                bounds, kinds, _, _, file_number = line.split(None, 5)[:5]
                begin, end = (int(bound, 16) for bound in bounds.split(b"-"))
                # Of a private map of a file, pages that nobody wrote to still change with the file.
                is_copied = kinds[3:4] == b"p" and file_number == b"0"
                self._all.append(_Region(begin, end, is_copied))
        self._begins = [region.begin for region in self._all]

    def _of(self, span: Span) -> Iterator[_Region]:
        place = max(0, bisect_right(self._begins, span[0]) - 1)
        while place < len(self._all) and self._all[place].begin < span[1]:
            if self._all[place].end > span[0]:
                yield self._all[place]
            place += 1

    def share(self, span: Span) -> bool:
        """Whether some of it is shared: with a file, or with other processes."""
        return any(not region.is_copied for region in self._of(span))

    def have(self, span: Span) -> bool:
        """Whether all of it is there."""
        at = span[0]
        for region in self._of(span):
            if region.begin > at:
                return False
            at = region.end
        return at >= span[1]


def wiped() -> list[Span]:
    """The memory that is zeros in a child of fork (see MADV_WIPEONFORK)."""
    return [*_flagged(b"wf")]


def give_up(span: Span) -> None:
    """Free the pages that are wholly in a span, whose content is lost.

    A child of fork does so with what it has written: no step of the parent must copy it any more.
    """
    begin, end = -(-span[0] // _PAGE) * _PAGE, span[1] // _PAGE * _PAGE
    if begin < end:
        _libc.madvise(begin, end - begin, _DONTNEED)  # else they are freed when the process ends


def mend(spans: Iterable[Span], goes_on: Callable[[], bool]) -> None:
    """Make huge pages again, where memory asked for them, of those that a fork split.

    The first write to a huge page after a fork splits it, so that no more than 4 KiB are copied,
    and the system takes hours to join gigabytes again. Steps of large tables are slower until then.
    They go on meanwhile: a quarter of the time is taken. Linux can do it since 6.1. Pages that
    other processes have, too, are left: they would be copied.
    """
    try:
        size, advised = int(_HUGE.read_text()), [*_flagged(b"hg")]
        handle = os.open("/proc/self/pagemap", os.O_RDONLY)
    except (OSError, ValueError):  # it has no such pages, or does not say
        return
    try:
        for first, last in spans:
            for begin, end in advised:
                at = -(-max(first, begin) // size) * size
                while at + size <= min(last, end):
                    if not goes_on():
                        return
                    began = time.perf_counter()
                    if _is_own(handle, at, size):
                        _libc.madvise(at, size, _COLLAPSE)  # a wish, as the first one was
                    time.sleep(3 * (time.perf_counter() - began))
                    at += size
    finally:
        os.close(handle)


def _is_own(pagemap: int, begin: int, size: int) -> bool:
    """Whether all pages are there, and no other process has them."""
    pages = np.frombuffer(os.pread(pagemap, size // _PAGE * 8, begin // _PAGE * 8), np.uint64)
    return bool((pages >> np.uint64(_EXCLUSIVE) & np.uint64(1)).all())


def _flagged(flag: bytes) -> Iterator[Span]:
    """The memory that has a flag of the system's."""
    span = (0, 0)
    with open("/proc/self/smaps", "rb") as file:
        for line in file:
            words = line.split()
            if words[0] == b"VmFlags:":
                if flag in words:
                    yield span
            elif not words[0].endswith(b":"):
                begin, end = words[0].split(b"-")
                span = int(begin, 16), int(end, 16)
