# SPDX-License-Identifier: Apache-2.0
"""Run inside of valgrind: calls of one case, and nothing else, under callgrind's eyes.

What comes before them (Python's start, imports) would take far longer than the calls, and differs
from run to run. So callgrind starts blind, and is told when to look: by a request that a function
compiled at run time makes.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

from bench.measure import limit
from bench.measure.in_turn import timer
from bench.peers.slotwise import PEER
from bench.work.base import dense_work

CALLS = 50

_SOURCE = """
#include <valgrind/callgrind.h>
void look(int on) {
  if (on) CALLGRIND_START_INSTRUMENTATION; else CALLGRIND_STOP_INSTRUMENTATION;
}
"""


@cache
def library() -> Path | None:
    """The compiled request, or None if it cannot be compiled here."""
    cc = limit.compiler()
    if cc is None:
        return None
    target = limit.cache_folder() / "callgrind.so"
    command = [*cc.split(), "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(target)]
    done = subprocess.run(command, check=False, input=_SOURCE, capture_output=True, text=True)
    return None if done.returncode else target


def main(library: str, case: str) -> None:
    look = ctypes.CDLL(library).look
    PEER.start(1)
    run = timer(PEER.dense(dense_work(**json.loads(case))))
    run(20)
    look(1)
    run(CALLS)
    look(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
