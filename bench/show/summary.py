"""One sentence per suite; one per suite, dtype and peer: from the numbers alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from bench.results.records import BASE, LIMIT, OURS, Record, Results
from bench.results.stats import Ratio, geometric_mean
from bench.results.units import show_bytes, show_ratio, show_size
from bench.suites import all_suites, suite_of
from bench.work.ops import short_name


@dataclass(frozen=True)
class Sentence:
    """``losses`` names the cases in which the peer is faster, most clearly first."""

    suite: str
    peer: str
    text: str
    losses: list[str]


@dataclass(frozen=True)
class Overview:
    """A suite in one sentence. ``losses`` says how many there are, and ``sentences`` says more."""

    suite: str
    text: str
    losses: str
    sentences: list[Sentence]


def _group(record: Record) -> tuple[str, str, str]:
    return record.suite, record.dtype, record.peer


def case_label(record: Record) -> str:
    name = short_name(record.op)
    return f"{name}, {record.variant}" if record.variant else name


def case_size(record: Record) -> str:
    unit = suite_of(record.suite).unit
    return show_size(record.size) + ("" if unit == "elements" else f" {unit}")


def _ratios(records: list[Record]) -> str:
    """Geometric means by size or list of tensors, in words."""
    by_size: dict[str, list[float]] = {}
    for record in records:
        if record.ratio:
            label = case_size(record)
            if record.suite in ("many", "threads"):
                label = (
                    f"{record.variant} ({label})" if record.suite == "threads" else record.variant
                )
            by_size.setdefault(label, []).append(record.ratio.minima)
    return ", ".join(f"{show_ratio(geometric_mean(v))} at {size}" for size, v in by_size.items())


def _memory(title: str, peer: str, records: list[Record]) -> str:
    """The most that a call took beyond its arrays, for us and for the peer."""
    peaks = [r.extra["peak_bytes"] for r in records]
    ours = show_bytes(max(p[OURS] for p in peaks))
    text = f"{title}: a call takes at most {ours} beyond its arrays"
    return text + (f", {peer} {show_bytes(max(p[peer] for p in peaks))}." if peer else ".")


def _limit(records: list[Record]) -> str:
    """The share of the limit's rate that the largest size reaches."""
    records = sorted(records, key=lambda r: -r.size)
    largest = records[0].size
    label = "For the largest list" if records[0].suite == "many" else f"At {case_size(records[0])}"
    shares = [f.minima for r in records if r.size == largest and (f := r.fraction(LIMIT))]
    if not shares:
        return ""
    return (
        f" {label} it moves {100 * geometric_mean(shares):.0f} % of the bytes per "
        f"second of a plain loop (least {100 * min(shares):.0f} %)."
    )


def _growth(title: str, records: list[Record]) -> str:
    """How much more a touched row costs, by the size of the table."""
    grown = [f"{g.minima:.2f} times at {case_size(r)}" for r in records if (g := r.growth)]
    return f"{title}: a touched row costs, of its cost at {BASE}, {', '.join(grown)}."


def sentences(results: Results) -> list[Sentence]:
    found = []
    order = {name: i for i, name in enumerate([*all_suites(), "threads"])}
    records = sorted(results.records, key=lambda r: (order[r.suite], r.dtype, r.peer, r.size))
    for (name, dtype, peer), members in groupby(records, _group):
        everyone = list(members)
        good = [r for r in everyone if r.status == "ok"]
        title = f"{suite_of(name).title}, {dtype}"
        if not good:
            continue
        if name == "memory":
            found.append(Sentence(name, peer, _memory(title, peer, good), []))
            continue
        if name == "growth":
            found.append(Sentence(name, peer, _growth(title, good), []))
            continue
        if not peer:
            found.append(Sentence(name, peer, f"{title}, beside the limit.{_limit(good)}", []))
            continue
        rated = [(r, ratio) for r in good if (ratio := r.ratio)]
        slower = sorted(((r, x) for r, x in rated if x.minima < 1), key=lambda pair: pair[1].minima)
        losses = [f"{case_label(r)} at {case_size(r)} ({show_ratio(x.minima)})" for r, x in slower]
        text = f"{title}: {_ratios(good)} the speed of {peer} (geometric means)."
        text += (
            f" {peer} is faster in {len(slower)} of {len(rated)} cases."
            if slower
            else f" Faster in all {len(rated)} cases; least {_least(rated)}."
        )
        wrong = dict.fromkeys(case_label(r) for r in everyone if r.status == "wrong")
        if wrong:
            text += f" Not timed, results differ: {', '.join(wrong)}."
        found.append(Sentence(name, peer, text + _limit(good), losses))
    return found


def _least(rated: list[tuple[Record, Ratio]]) -> str:
    record = min((r for r, _ in rated), key=lambda r: r.ratio.minima if r.ratio else 0.0)
    ratio = record.ratio
    assert ratio is not None
    return f"{show_ratio(ratio.minima)} ({case_label(record)} at {case_size(record)})"


def overviews(results: Results) -> list[Overview]:
    found = []
    for suite, members in groupby(sentences(results), lambda sentence: sentence.suite):
        told = list(members)
        records = [r for r in results.find(suite=suite, status="ok") if r.ratio]
        if len(told) == 1 or not records:
            found.append(Overview(suite, told[0].text, "", told[1:]))
            continue
        by_peer: dict[str, list[float]] = {}
        for r in records:
            by_peer.setdefault(r.peer, []).append(r.ratio.minima if r.ratio else 0.0)
        means = {peer: geometric_mean(ratios) for peer, ratios in sorted(by_peer.items())}
        speeds = ", ".join(f"{show_ratio(mean)} that of {peer}" for peer, mean in means.items())
        text = f"{suite_of(suite).title}: speed {speeds} (geometric means of all cases)."
        slower = sum(ratio < 1 for ratios in by_peer.values() for ratio in ratios)
        least = _least([(r, r.ratio) for r in records if r.ratio])
        losses = f"Slower in {slower} of {len(records)} cases; least {least}." if slower else ""
        text += "" if slower else f" Faster in all {len(records)} cases; least {least}."
        found.append(Overview(suite, text, losses, told))
    return found
