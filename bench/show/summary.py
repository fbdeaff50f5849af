# SPDX-License-Identifier: Apache-2.0
"""One sentence per suite; one per suite, dtype and peer: from the numbers alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from bench.results.records import Record, Results
from bench.results.stats import geometric_mean
from bench.results.units import show_ratio
from bench.results.views import rated
from bench.suites import all_suites
from bench.suites.base import Suite


@dataclass(frozen=True)
class Sentence:
    """``losses`` names the cases in which the peer is faster, most clearly first."""

    text: str
    losses: list[str]


@dataclass(frozen=True)
class Overview:
    """A suite in one sentence. ``losses`` says how many there are, and ``sentences`` says more."""

    text: str
    losses: str
    sentences: list[Sentence]


def _group(record: Record) -> tuple[str, str]:
    return record.dtype, record.peer


def _sentences(suite: Suite, records: list[Record]) -> list[Sentence]:
    found = []
    for (dtype, peer), members in groupby(sorted(records, key=_group), _group):
        everyone = list(members)
        good = [r for r in everyone if r.status == "ok"]
        if good:
            text = suite.sentence(dtype, peer, good)
            wrong = dict.fromkeys(r.label for r in everyone if r.status == "wrong")
            if wrong:
                text += f" Not timed, results differ: {', '.join(wrong)}."
            found.append(Sentence(text, suite.losses(good)))
    return found


def overviews(results: Results) -> list[Overview]:
    found = []
    for suite in all_suites().values():
        told = _sentences(suite, results.find(suite=suite.name))
        ratios = rated(results.find(suite=suite.name))
        if not told:
            continue
        if len(told) == 1 or not ratios:
            found.append(Overview(told[0].text, "", told[1:]))
            continue
        by_peer: dict[str, list[float]] = {}
        for record, ratio in ratios:
            by_peer.setdefault(record.peer, []).append(ratio.minima)
        means = {peer: geometric_mean(of) for peer, of in sorted(by_peer.items())}
        speeds = ", ".join(f"{show_ratio(mean)} that of {peer}" for peer, mean in means.items())
        text = f"{suite.title}: speed {speeds} (geometric means of all cases)."
        slower = sum(ratio.minima < 1 for _, ratio in ratios)
        least = suite.least([r for r, _ in ratios])
        losses = f"Slower in {slower} of {len(ratios)} cases; least {least}." if slower else ""
        text += "" if slower else f" Faster in all {len(ratios)} cases; least {least}."
        found.append(Overview(text, losses, told))
    return found
