# SPDX-License-Identifier: Apache-2.0
"""One build of slotwise in a process of its own: the guard holds two against each other."""

from __future__ import annotations

from typing import Any

from bench.measure.apart import serve
from bench.peers.slotwise import PEER
from bench.work.base import dense_work
from bench.work.contestant import Subject


def _start(threads: int) -> dict[str, Any]:
    import slotwise

    PEER.start(threads)
    return {"version": slotwise.__version__, "file": slotwise.__file__}


def _prepare(**case: Any) -> Subject:
    return PEER.dense(dense_work(**case))


if __name__ == "__main__":
    serve(_start, _prepare)
