# SPDX-License-Identifier: Apache-2.0
"""What others take of the machine while we measure."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

_STEPS = 0.1  # seconds that counters cannot fail to see


class ForeignLoad:
    """The share of all cores' time that others took inside its ``with`` blocks.

    From the kernel's counters, which count in steps of 10 ms or so: only the sum over a round says
    something.

    Args:
        own: what else tells the seconds that we computed, in other processes.
    """

    def __init__(self, own: Sequence[Callable[[], float]] = ()) -> None:
        self.clocks = [time.process_time, *own]
        self.busy = self.own = self.wall = 0.0
        self.before: tuple[float, float, float] | None = None

    def _now(self) -> tuple[float, float, float] | None:
        try:
            with open("/proc/stat") as file:
                ticks = [int(word) for word in file.readline().split()[1:9]]
        except (OSError, ValueError):
            return None
        # user, nice, system, idle, iowait, irq, softirq, steal
        busy = sum(ticks) - ticks[3] - ticks[4]
        own = sum(clock() for clock in self.clocks)
        return busy / os.sysconf("SC_CLK_TCK"), own, time.perf_counter()

    def __enter__(self) -> None:
        self.before = self._now()

    def __exit__(self, *_: object) -> None:
        after = self._now()
        if self.before is not None and after is not None:
            busy, own, wall = (b - a for a, b in zip(self.before, after, strict=True))
            self.busy, self.own, self.wall = self.busy + busy, self.own + own, self.wall + wall

    @property
    def share(self) -> float | None:
        """None where there are no counters, or they do not even count our own time."""
        if not self.wall or (self.busy == 0 and self.own > _STEPS):
            return None
        return max(0.0, self.busy - self.own) / (self.wall * (os.cpu_count() or 1))


def wait_for_quiet(busy: float, seconds: float) -> None:
    """Returns once others leave the machine alone, or after ``seconds``."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        load = ForeignLoad()
        with load:
            time.sleep(0.1)
        if load.share is None or load.share <= busy:
            return
