# SPDX-License-Identifier: Apache-2.0
"""The measuring core: contestants in turn, round after round, every raw sample kept."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.measure.load import ForeignLoad, wait_for_quiet
from bench.work.contestant import Subject


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    A sample is a loop of calls that lasts ``sample_s`` or more. Rounds go on until every pair's
    ratio is known to ``precision`` (standard error of the median), ``max_rounds`` is reached or
    ``budget_s`` is spent, but never fewer than ``min_rounds``.

    A round in which other processes (or the hypervisor) took more than ``busy`` of the time of the
    cores is thrown away and measured again, as long as ``patience`` times the budget lasts: threads
    that wait for one another lose whole time slices then. The choice looks at the machine's
    counters, never at the times measured. If no quiet rounds are to be had, the busy ones are kept
    and the record says so.

    ``gap_s`` is the pause before each sample. OpenMP workers spin for some time after a parallel
    region (about 17 ms with GNU's default on the machines we saw) and would take a core away from
    whoever runs next.
    """

    min_rounds: int = 9
    max_rounds: int = 40
    budget_s: float = 4.0
    sample_s: float = 0.005
    gap_s: float = 0.025
    precision: float = 0.01
    busy: float = 0.08
    patience: float = 5.0


# A call this long needs no warm-up: waking threads and filling caches is lost in it.
_LONG = 0.02


@dataclass
class Samples:
    """Seconds per call: one row per contestant, one column per round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    # The share of the cores that others took, by round; None where it is not known.
    foreign: list[float | None] = field(default_factory=list)
    discarded: int = 0  # rounds measured again because the machine was busy


def timer(subject: Subject) -> Callable[[int], float]:
    """A function that runs the statement n times and returns the seconds; gc is off meanwhile."""
    if subject.elsewhere is not None:
        return subject.elsewhere.run
    if subject.repeat is not None:
        names = {"repeat": subject.repeat}

        def loop(count: int) -> float:
            return timeit.Timer(f"repeat({count})", globals=names).timeit(1)

        return loop
    return timeit.Timer(subject.statement, globals=subject.names).timeit


@dataclass(frozen=True)
class _Loop:
    """A contestant's timer; ``chunk`` calls are timed at once."""

    run: Callable[[int], float]
    chunk: int

    def _for(self, seconds: float) -> tuple[int, float]:
        calls, spent = 0, 0.0
        while spent < seconds:
            spent += self.run(self.chunk)
            calls += self.chunk
        return calls, spent

    def sample(self, plan: Plan, load: ForeignLoad, seen: float) -> tuple[int, float]:
        """Calls and seconds of one sample, after the pause and an untimed warm-up.

        A call that lasts long (``seen``) is not warmed up: filling caches is lost in it.
        """
        time.sleep(plan.gap_s)
        with load:
            if seen < _LONG:
                self._for(plan.sample_s / 4)
            return self._for(plan.sample_s)


def _loop(subject: Subject, sample_s: float) -> _Loop:
    """Finds how many calls make an eighth of a sample; the smallest of three tries decides."""
    run, count = timer(subject), 1
    while True:
        taken = run(count)
        if taken < _LONG:
            taken = min(taken, run(count), run(count))
        if taken >= sample_s / 16 or count >= 1 << 24:
            return _Loop(run, max(1, round(count * sample_s / 8 / max(taken, 1e-9))))
        count *= 4


def pair_ratios(seconds: Mapping[str, list[float]], ours: str, other: str) -> list[float]:
    """other / ours, round by round: above 1 where ours is faster."""
    return [b / a for a, b in zip(seconds[ours], seconds[other], strict=True)]


def _uncertain(samples: Samples, precision: float) -> bool:
    first, *others = samples.seconds
    for other in others:
        ratios = np.array(pair_ratios(samples.seconds, first, other))
        low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
        # 0.93 * IQR / sqrt(n): standard error of a median when the tails are ignored.
        if 0.93 * (high - low) / np.sqrt(ratios.size) > precision * middle:
            return True
    return False


def in_turn(subjects: Mapping[str, Subject], plan: Plan) -> Samples:
    """Measures the subjects in turn; the order is turned around in every other round.

    Before each sample its subject runs once untimed, so caches, page tables and thread pools are
    in the state that the subject itself leaves behind.
    """
    loops = {name: _loop(subject, plan.sample_s) for name, subject in subjects.items()}
    own = [s.elsewhere.processor_time for s in subjects.values() if s.elsewhere is not None]
    quiet, noisy = Samples(), Samples()
    seen = dict.fromkeys(loops, 0.0)
    started = time.perf_counter()
    share: float | None = None
    for number in range(100 * plan.max_rounds):
        if share is not None and share > plan.busy:
            wait_for_quiet(plan.busy, plan.budget_s / plan.min_rounds)
        load = ForeignLoad(own)
        taken = {}
        for name in list(loops) if number % 2 == 0 else list(reversed(loops)):
            calls, seconds = loops[name].sample(plan, load, seen[name])
            taken[name] = seen[name] = seconds / calls
        share = load.share
        target = quiet if share is None or share <= plan.busy else noisy
        target.foreign.append(share)
        for name in loops:
            target.seconds.setdefault(name, []).append(taken[name])

        spent = time.perf_counter() - started
        rounds = len(quiet.foreign)
        enough = rounds + len(noisy.foreign) >= plan.min_rounds
        if rounds >= plan.max_rounds or (enough and spent > plan.patience * plan.budget_s):
            break
        if rounds >= plan.min_rounds and (
            spent > plan.budget_s or not _uncertain(quiet, plan.precision)
        ):
            break
    return _merged(quiet, noisy, plan.min_rounds)


def _merged(quiet: Samples, noisy: Samples, needed: int) -> Samples:
    """The quiet rounds; filled up with the least busy of the others if there are too few."""
    lacking = max(0, needed - len(quiet.foreign))
    chosen = sorted(range(len(noisy.foreign)), key=lambda i: noisy.foreign[i] or 0.0)[:lacking]
    for index in chosen:
        quiet.foreign.append(noisy.foreign[index])
        for name, values in noisy.seconds.items():
            quiet.seconds.setdefault(name, []).append(values[index])
    quiet.discarded = len(noisy.foreign) - len(chosen)
    return quiet
