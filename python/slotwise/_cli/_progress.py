# SPDX-License-Identifier: Apache-2.0
"""A line on the terminal that says how far long work has come."""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slotwise._cli import _text

_PAUSE = 0.1  # seconds between two lines
_WIDTH = 24


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show a progress bar on stderr (default: if that is a terminal)",
    )


@contextmanager
def shown(what: str, total: int, wanted: bool | None) -> Iterator[Callable[[int], None]]:
    """A function that is told how many bytes were done.

    It needs no library, so that the bar is there wherever the command is.
    """
    if wanted is None:
        wanted = sys.stderr.isatty()
    if not wanted:
        yield lambda count: None
        return
    done, begin, next_line = 0, time.monotonic(), 0.0
    lock = threading.Lock()  # files are read in threads

    def draw() -> None:
        share = done / total if total else 1.0
        bar = ("#" * round(share * _WIDTH)).ljust(_WIDTH, ".")
        speed = _text.size(round(done / max(1e-6, time.monotonic() - begin)))
        text = f"{what} [{bar}] {share:4.0%} {_text.size(done)} of {_text.size(total)}, {speed}/s"
        text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps would stay
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)

    def advance(count: int) -> None:
        nonlocal done, next_line
        with lock:
            done += count
            if time.monotonic() >= next_line:
                draw()
                next_line = time.monotonic() + _PAUSE

    try:
        yield advance
        draw()
    finally:
        print(file=sys.stderr)
