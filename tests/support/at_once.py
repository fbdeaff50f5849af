# SPDX-License-Identifier: Apache-2.0
"""Work that several threads do at once."""

from __future__ import annotations

import threading
from collections.abc import Callable


def in_threads(work: Callable[[int], object], count: int) -> None:
    """Call ``work(0)``, ``work(1)``, ... in a thread each; returns when all have ended."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
