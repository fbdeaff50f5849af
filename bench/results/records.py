"""What a run stores: machine, settings and one record per case and peer, raw samples included."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.results.stats import Ratio, Spread

SCHEMA = 1
FILE_NAME = "results.json"

OURS = "slotwise"
LIMIT = "limit"  # the stream loop with the op's own count of reads and writes
REFERENCE_LIMIT = "limit43"  # four reads, three writes: the one that the targets name


BASE = "1 Mi rows"  # slotwise on a small table, beside a large one


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

    def spread(self, contestant: str) -> Spread | None:
        values = self.seconds.get(contestant)
        return Spread.of(values) if values else None

    def best(self, contestant: str) -> float | None:
        values = self.seconds.get(contestant)
        return min(values) if values else None

    @property
    def busy(self) -> float:
        """The largest share of the cores that others took during a round that counts."""
        return max(self.extra.get("foreign_load", [0.0]), default=0.0)

    @property
    def ratio(self) -> Ratio | None:
        """Time of the peer over our time."""
        ours, theirs = self.seconds.get(OURS), self.seconds.get(self.peer)
        return Ratio.of(ours, theirs) if ours and theirs else None

    @property
    def growth(self) -> Ratio | None:
        """Cost of a touched row over its cost in the base table."""
        small, large = self.seconds.get(BASE), self.seconds.get(OURS)
        if not small or not large:
            return None
        scale = self.extra["base_touched"] / self.extra["touched"]
        return Ratio.of(small, [scale * t for t in large])

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

    def find(self, **wanted: object) -> list[Record]:
        """Records whose fields have the given values."""
        return [r for r in self.records if all(getattr(r, name) == v for name, v in wanted.items())]

    def save(self, path: Path) -> None:
        """Writes the file in one step, so that an interrupted run leaves a whole one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=1, allow_nan=True) + "\n")
        os.replace(partial, path)


def load(path: Path) -> Results:
    """Reads a results file, or the one in a folder."""
    file = path / FILE_NAME if path.is_dir() else path
    data = json.loads(file.read_text())
    if data.get("schema") != SCHEMA:
        raise ValueError(f"{file}: expected schema {SCHEMA}, got {data.get('schema')}")
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
