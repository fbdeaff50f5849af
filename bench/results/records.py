# SPDX-License-Identifier: Apache-2.0
"""What a run stores: machine, settings and one record per case and peer, raw samples included."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.results import trust
from bench.results.stats import Ratio

SCHEMA = 1
FILE_NAME = "results.json"

OURS = "slotwise"
LIMIT = "limit"  # the stream loop with the op's own count of reads and writes
REFERENCE_LIMIT = "limit43"  # four reads, three writes: the one that the targets name


def otherwise(way: str) -> str:
    """The name that another way of ours has where a peer's stands."""
    return f"{OURS} {way}"


@dataclass
class Record:
    """One case against one peer (``peer`` is empty where none took part)."""

    suite: str
    case: str
    peer: str
    op: str
    dtype: str
    size: int
    variant: str
    status: str = "ok"  # ok, wrong (result differs), unsupported, error, overflow
    note: str = ""
    bytes_moved: int = 0
    limit_bytes: dict[str, int] = field(default_factory=dict)
    check: dict[str, float] = field(default_factory=dict)  # largest difference in ulp, per array
    statements: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.suite}/{self.case}/{self.peer}"

    @property
    def is_against_peer(self) -> bool:
        """Whether the other one is a peer, not another way of ours."""
        return bool(self.peer) and not self.peer.startswith(otherwise(""))

    @property
    def label(self) -> str:
        """The op and what this case is of it, as people read it."""
        name = self.op.removeprefix("Sparse").removeprefix("Apply")
        return f"{name}, {self.variant}" if self.variant else name

    def best(self, contestant: str) -> float | None:
        values = self.seconds.get(contestant)
        return min(values) if values else None

    @property
    def taken_by_others(self) -> list[float]:
        """The share of the cores, round by round; empty where it is not known."""
        return [share for share in self.extra.get("foreign_load", ()) if share is not None]

    @property
    def ratio(self) -> Ratio | None:
        """Time of the peer over our time."""
        ours, theirs = self.seconds.get(OURS), self.seconds.get(self.peer)
        return Ratio.of(ours, theirs) if ours and theirs else None

    def rows_rate(self, contestant: str) -> float | None:
        """Ids (rows of the gradient, or of the result) per second in the fastest sample."""
        best = self.best(contestant)
        return self.extra["ids"] / best if best and "ids" in self.extra else None

    def rate(self, contestant: str) -> float | None:
        """Bytes moved per second in the fastest sample."""
        best = self.best(contestant)
        return None if best is None else self.limit_bytes.get(contestant, self.bytes_moved) / best

    def fraction(self, limit: str, contestant: str = OURS) -> Ratio | None:
        """A contestant's rate over the limit's."""
        theirs, ours = self.seconds.get(limit), self.seconds.get(contestant)
        if not theirs or not ours or not self.limit_bytes.get(limit):
            return None
        scale = self.bytes_moved / self.limit_bytes[limit]
        return Ratio.of(ours, [scale * t for t in theirs])


@dataclass
class Results:
    created: str
    command: list[str]
    environment: dict[str, Any]
    settings: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    schema: int = SCHEMA

    @property
    def left_out(self) -> str:
        """What a run left out at its limit of time, in a sentence; empty if nothing."""
        return str(self.settings.get("left_out", ""))

    @property
    def busy(self) -> float:
        """What others may take of the cores in a round that counts as quiet."""
        return float(self.settings["plan"]["busy"])

    @property
    def doubt(self) -> str:
        """Why these figures must not be believed; empty if they may be."""
        return trust.doubt([r.taken_by_others for r in self.records], self.busy)

    @property
    def taken_by_others(self) -> float | None:
        """The share of the cores, a median over all rounds; None where it is not known."""
        shares = [share for r in self.records for share in r.taken_by_others]
        return median(shares) if shares else None

    def is_disturbed(self, record: Record) -> bool:
        return trust.is_disturbed(record.taken_by_others, self.busy)

    def find(self, **wanted: object) -> list[Record]:
        """Records whose fields have the given values."""
        return [r for r in self.records if all(getattr(r, name) == v for name, v in wanted.items())]

    def save(self, path: Path) -> None:
        """Writes the file in one step, so that an interrupted run leaves a whole one.

        It begins with ``warning``: why the figures must not be believed, or null.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        everything = {"warning": self.doubt or None, **asdict(self)}
        partial.write_text(json.dumps(everything, indent=1, allow_nan=True) + "\n")
        os.replace(partial, path)


def load(path: Path) -> Results:
    """Reads a results file, or the one in a folder."""
    file = path / FILE_NAME if path.is_dir() else path
    data = json.loads(file.read_text())
    if data.get("schema") != SCHEMA:
        raise ValueError(f"{file}: expected schema {SCHEMA}, got {data.get('schema')}")
    data.pop("warning", None)  # it follows from the rounds
    data["records"] = [Record(**r) for r in data["records"]]
    return Results(**data)


def joined(runs: Sequence[Results]) -> Results:
    """Runs as one; what a later one has measured too is taken from it."""
    first, *others = runs
    records = {record.key: record for run in runs for record in run.records}
    first.records = list(records.values())
    for run in others:
        first.command += ["&&", "python", "-m", "bench", *run.command]
        first.environment["versions"] |= run.environment["versions"]
        for kind in ("usage", "peers"):
            first.settings[kind] |= run.settings[kind]
    return first
