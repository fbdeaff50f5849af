# SPDX-License-Identifier: Apache-2.0
"""Runs suites: check, measure, store, again and again, until done or interrupted."""

from __future__ import annotations

import datetime
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.measure import check, environment
from bench.measure.in_turn import Plan, timer
from bench.peers.base import Peer
from bench.results.records import OURS, Record, Results
from bench.suites.base import Case, Suite
from bench.work.base import Work
from bench.work.contestant import Subject, Unsupported

# A quick run is over in less than five minutes: no case starts after this time, and the report
# takes some seconds.
QUICK_S = 240.0
_SETUP_S = 0.4  # making and checking the arrays of a case

Task = tuple[Suite, Case, "Peer | None"]


def tasks(pairs: Sequence[tuple[Suite, list[Case]]], peers: Sequence[Peer]) -> list[Task]:
    """One task per case and peer, or other way of ours; without any, one beside the limit."""
    found: list[Task] = []
    for suite, cases in pairs:
        for case in cases:
            wanted = case.against
            against: list[Peer | None] = [
                p for p in peers if suite.takes(p) and (wanted is None or p.name in wanted)
            ]
            against += case.beside
            found += [(suite, case, peer) for peer in against or [None]]
    return found


def new_results(
    command: list[str], ours: Peer, peers: Sequence[Peer], threads: int, plan: Plan
) -> Results:
    everyone = [ours, *peers]
    return Results(
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        command=command,
        environment=environment.capture() | {"versions": {p.name: p.versions() for p in everyone}},
        settings={
            "threads": threads,
            "plan": asdict(plan),
            "usage": {p.name: p.usage for p in everyone},
            "peers": {p.name: p.settings() for p in everyone},
            "caches": "warm: every sample follows a call on the same arrays",
            "denormals": "each library's own mode; no values are subnormal (checked after timing)",
        },
    )


def _verify(work: Work, ours: Subject, theirs: Subject, record: Record) -> bool:
    """Both run once from the same start; False if the results differ."""
    for subject in (ours, theirs):
        timer(subject)(1)
    return check.agrees(work, ours.state(), theirs.state(), record)


def run_task(task: Task, ours: Peer, threads: int, plan: Plan) -> Record:
    """Checks and measures one case against one peer."""
    suite, case, peer = task
    record = Record(
        suite.name,
        case.name,
        peer.name if peer else "",
        case.op,
        case.dtype,
        case.size,
        case.variant,
    )
    terms = peer.common_terms(case.op) if peer else {}
    work = case.work(terms)
    record.extra |= work.facts
    if terms:
        record.extra["common_terms"] = terms
    record.bytes_moved = work.bytes_moved
    try:
        theirs = suite.subject(peer, work) if peer else None
        subjects = {OURS: suite.subject(ours, work)}
        if peer is not None and theirs is not None:
            subjects[peer.name] = theirs
            record.statements = {name: s.statement for name, s in subjects.items()}
            if not _verify(work, subjects[OURS], theirs, record):
                return record
        record.statements = {name: s.statement for name, s in subjects.items()}
        suite.measure(subjects, work, record, threads, plan)
    except Unsupported as reason:
        record.status, record.note = "unsupported", str(reason)
    except Exception as error:  # one case must not end a long run; the table shows it
        record.status, record.note = "error", f"{type(error).__name__}: {error}"[:300]
    return record


def run(
    todo: Sequence[Task],
    results: Results,
    path: Path,
    ours: Peer,
    threads: int,
    plan: Plan,
    report: Callable[[Task, Record | None], Any],
    deadline: float | None = None,
) -> bool:
    """Runs what ``results`` has not yet; returns False if interrupted. Saves after each case.

    No case starts after ``deadline`` (by time.perf_counter); how many were left out is kept.
    """
    done = {record.key for record in results.records}
    left_out = 0
    results.settings["left_out"] = ""
    try:
        for task in todo:
            suite, case, peer = task
            if f"{suite.name}/{case.name}/{peer.name if peer else ''}" in done:
                report(task, None)
                continue
            if deadline is not None and time.perf_counter() > deadline:
                left_out += 1
                continue
            record = run_task(task, ours, threads, plan)
            results.records.append(record)
            results.save(path)
            report(task, record)
            gc.collect()
    except KeyboardInterrupt:
        return False
    if left_out:
        results.settings["left_out"] = (
            f"{left_out} of {len(todo)} cases were left out at the limit of time; the same command "
            "with --resume goes on with them."
        )
        results.save(path)
    return True


def spread(todo: Sequence[Task]) -> list[Task]:
    """The tasks of all suites in turn, so that a limit of time leaves out some of each."""
    counts: dict[str, int] = {}
    places = []
    for suite, _, _ in todo:
        counts[suite.name] = counts.get(suite.name, 0) + 1
        places.append(counts[suite.name] - 0.5)
    shares = [at / counts[task[0].name] for at, task in zip(places, todo, strict=True)]
    return [todo[i] for i in sorted(range(len(todo)), key=shares.__getitem__)]


def expected_s(plan: Plan, count: int) -> float:
    """About how long ``count`` cases take on a quiet machine."""
    return count * (plan.budget_s + _SETUP_S)


def quick_plan(count: int) -> Plan:
    """Shares the time of a quick run among its cases, and waits little for a quiet machine."""
    budget = min(1.0, max(0.1, QUICK_S / max(count, 1) - _SETUP_S))
    return replace(Plan(), min_rounds=3, budget_s=budget, patience=1.5)


def quickened(plan: Plan, factor: float) -> Plan:
    """The same plan with less (or more) time per case."""
    return replace(
        plan,
        min_rounds=max(3, round(plan.min_rounds * min(1.0, factor))),
        budget_s=plan.budget_s * factor,
    )
