# SPDX-License-Identifier: Apache-2.0
"""The project's speed targets as rows: what must hold, what was measured, met or not met.

A target is not judged where others disturbed one of its cases, or the run: the rule is in
``results/trust.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.results.records import LIMIT, OURS, REFERENCE_LIMIT, Record, Results
from bench.results.stats import geometric_mean
from bench.results.units import KI, MI
from bench.suites import bags, deferred, ranks, shared, tables
from bench.suites import torch as in_torch
from bench.suites.dense import POW_VARIANT
from bench.suites.growth import AT_MOST, BASE, growth
from bench.suites.optimizers import NAME as OPTIMIZERS
from bench.suites.sparse import DISTINCT, MERGE, ROW_WISE, workloads
from bench.work.optimizers import CLIPPED, MANY, ROWS
from bench.work.optimizers import OPTIMIZERS as OPTIMIZERS_BY_NAME
from bench.work.ranks import RESTORE, SAVE, SIMULATED
from bench.work.torch_steps import MODEL

TENSORFLOW = "tensorflow"
SPARSE_BATCH = workloads("targets")[0].label


@dataclass(frozen=True)
class Verdict:
    """``value`` comes from the fastest samples and decides; ``pairs`` is the median over rounds."""

    value: float
    pairs: float
    detail: str
    complete: bool
    is_judged: bool


@dataclass(frozen=True)
class Target:
    """At least ``required`` must be measured; ``expected`` is the number of cases it speaks of."""

    name: str
    required: float
    unit: str
    select: Callable[[Results], list[Record]]
    measure: Callable[[Sequence[Record]], tuple[float, float, str]]
    expected: int = 18
    at_most: bool = False  # the lower, the better

    def verdict(self, results: Results) -> Verdict | None:
        """None where nothing of it was measured."""
        records = self.select(results)
        good = [r for r in records if r.status == "ok"]
        if not good:
            return None
        value, pairs, detail = self.measure(good)
        bad = [f"{r.label}: {r.status}" for r in records if r.status not in ("ok", "unsupported")]
        missing = self.expected - len(good)
        if missing:
            detail += f"; {missing} of {self.expected} not measured"
        if bad:
            detail += "; " + ", ".join(bad)
        disturbed = sum(results.is_disturbed(r) for r in good)
        if disturbed:
            detail += f"; {disturbed} of {len(good)} cases disturbed by other processes"
        complete = missing == 0 and not bad
        return Verdict(value, pairs, detail, complete, not (disturbed or results.doubt))

    @property
    def bound(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.required}{self.unit}"

    def status(self, found: Verdict | None) -> str:
        """In a word; a target that speaks of all ops is not met by some of them."""
        if found is None:
            return "not measured"
        if not found.is_judged:
            return "not judged"
        if (found.value > self.required) if self.at_most else (found.value < self.required):
            return "not met"
        return "met" if found.complete else "incomplete"


def _peer(
    suite: str, size: int, dtype: str = "float32", variant: str = ""
) -> Callable[..., list[Record]]:
    def select(results: Results) -> list[Record]:
        return results.find(suite=suite, size=size, dtype=dtype, variant=variant, peer=TENSORFLOW)

    return select


def _limit(dtype: str) -> Callable[[Results], list[Record]]:
    def select(results: Results) -> list[Record]:
        """One record per op, that with TensorFlow where there are several."""
        found = results.find(suite="dense", size=64 * MI, dtype=dtype, variant="")
        found.sort(key=lambda r: r.peer == TENSORFLOW)
        return list({r.op: r for r in found if r.fraction(REFERENCE_LIMIT)}.values())

    return select


def _worst_ratio(records: Sequence[Record]) -> tuple[float, float, str]:
    rated = [(r, ratio) for r in records if (ratio := r.ratio)]
    slow, ratio = min(rated, key=lambda pair: pair[1].minima)
    mean = geometric_mean(x.minima for _, x in rated)
    return (
        ratio.minima,
        ratio.pairs.median,
        f"least: {slow.label}; geometric mean {mean:.1f}x",
    )


def _largest_growth(records: Sequence[Record]) -> tuple[float, float, str]:
    grown = [g for r in records if (g := growth(r))]
    worst = max(grown, key=lambda g: g.minima)
    return worst.minima, worst.pairs.median, f"over {BASE}"


def _rows(suite: str, op: str, peer: str, meaning: str = "") -> Callable[[Results], list[Record]]:
    """A call on the rows of the workloads that the targets name, against one peer."""

    def select(results: Results) -> list[Record]:
        labels = {f"{b.label}, {meaning}" if meaning else b.label for b in workloads("targets")}
        found = results.find(suite=suite, op=op, dtype="float32", peer=peer)
        return [r for r in found if r.variant in labels]

    return select


def _optimizer(op: str, peer: str, variant: str) -> Callable[[Results], list[Record]]:
    """A step of an optimizer, against one peer."""

    def select(results: Results) -> list[Record]:
        return results.find(suite=OPTIMIZERS, op=op, variant=variant, dtype="float32", peer=peer)

    return select


_PLAIN = [op for op in deferred.OPS if op != "AdamWAverage"]


def _deferred(ops: Sequence[str], labels: Sequence[str]) -> Callable[[Results], list[Record]]:
    """A step whose other rows are put off."""

    def select(results: Results) -> list[Record]:
        found = results.find(suite=deferred.NAME, dtype="float32", peer="tf_keras")
        return [r for r in found if r.op in ops and r.variant in labels]

    return select


def _largest_over_lazy(records: Sequence[Record]) -> tuple[float, float, str]:
    rated = [(r, x) for r in records if (x := deferred.over_lazy(r))]
    slow, ratio = max(rated, key=lambda pair: pair[1].minima)
    return ratio.minima, ratio.pairs.median, f"most: {slow.label}"


def _clipped(op: str) -> Callable[[Results], list[Record]]:
    """A step that limits the global norm, against Keras's."""

    def select(results: Results) -> list[Record]:
        return results.find(
            suite=OPTIMIZERS,
            op=op,
            variant=CLIPPED,
            dtype="float32",
            size=64 * MI,
            peer="tf_keras",
        )

    return select


def _state(**wanted: str) -> Callable[[Results], list[Record]]:
    """Saving or loading 1 GiB."""

    def select(results: Results) -> list[Record]:
        return results.find(suite="state", size=256 * MI, **wanted)

    return select


def _over_bytes(records: Sequence[Record]) -> tuple[float, float, str]:
    rated = [(r, f) for r in records if (f := r.fraction(LIMIT))]
    slow, fraction = min(rated, key=lambda pair: pair[1].minima)
    rate = slow.rate(LIMIT) or 0.0
    return 1 / fraction.minima, 1 / fraction.pairs.median, f"limit {rate / 1e9:.1f} GB/s"


def _of_limit(records: Sequence[Record]) -> tuple[float, float, str]:
    rated = [(r, f) for r in records if (f := r.fraction(LIMIT))]
    slow, fraction = min(rated, key=lambda pair: pair[1].minima)
    rate = slow.rate(LIMIT) or 0.0
    return fraction.minima, fraction.pairs.median, f"limit {rate / 1e9:.2f} GB/s"


def _beyond(records: Sequence[Record]) -> tuple[float, float, str]:
    """In MiB; those of the peers are in the detail."""
    most: dict[str, float] = {}
    for record in records:
        for name, size in record.extra["beyond"].items():
            most[name] = max(most.get(name, 0.0), size / MI)
    ours = most.pop(OURS)
    return ours, ours, ", ".join(f"{name} {size:.0f} MiB" for name, size in most.items())


def _over(other: str) -> Callable[[Sequence[Record]], tuple[float, float, str]]:
    """On shared cores: a median of the rounds, as the fastest samples would be luck."""

    def measure(records: Sequence[Record]) -> tuple[float, float, str]:
        ratio = max(shared.over(r, other) or 0.0 for r in records)
        return ratio, ratio, "a median of the rounds"

    return measure


def _bags(suite: str, op: str, peer: str, count: int) -> dict[str, Any]:
    """Calls on bags of ids, or sums beside exact ones, against one peer or other way of ours."""
    return {
        "select": lambda results: results.find(suite=suite, op=op, dtype="float32", peer=peer),
        "expected": count,
    }


def _in_torch(ops: Sequence[str], peer: str, *variants: str, **wanted: object) -> dict[str, Any]:
    """Steps in PyTorch, against one peer."""

    def select(results: Results) -> list[Record]:
        found = results.find(suite=in_torch.NAME, peer=peer, dtype="float32", **wanted)
        return [r for r in found if r.op in ops and r.variant in variants]

    return {"select": select, "expected": len(ops) * len(variants)}


def _largest_ratio(records: Sequence[Record]) -> tuple[float, float, str]:
    record, ratio = max(((r, x) for r in records if (x := r.ratio)), key=lambda p: p[1].minima)
    return ratio.minima, ratio.pairs.median, f"most: {record.label}"


def _beyond_an_id(records: Sequence[Record]) -> tuple[float, float, str]:
    """In bytes; the other way's are in the detail."""
    ours, theirs = (
        max(bags.beyond_an_id(r, name) or 0.0 for r in records) for name in (OURS, records[0].peer)
    )
    return ours, ours, f"{records[0].peer} {theirs:.0f} B"


def _ranks(*variants: str, **wanted: object) -> dict[str, Any]:
    """Calls on a table over ranks, of the sizes that the targets name."""

    def select(results: Results) -> list[Record]:
        found = results.find(suite=ranks.NAME, **wanted)
        return [r for r in found if r.variant in variants and r.size in ranks.sizes("targets")]

    return {"select": select, "expected": len(variants)}


def _over_without(records: Sequence[Record]) -> tuple[float, float, str]:
    slow, least, detail = _worst_ratio(records)
    return 1 / slow, 1 / least, detail


def _least_scaling(records: Sequence[Record]) -> tuple[float, float, str]:
    scaled = [(r, x) for r in records if (x := ranks.scaling(r))]
    slow, ratio = min(scaled, key=lambda pair: pair[1].minima)
    return ratio.minima, ratio.pairs.median, f"least: {slow.label}"


def _least_merging(records: Sequence[Record]) -> tuple[float, float, str]:
    ratio, record = min((ranks.merging(r) or 0.0, r.label) for r in records)
    return ratio, ratio, f"least: {record}"


def _disagreement(records: Sequence[Record]) -> tuple[float, float, str]:
    found = [ranks.disagreement(r, of) or float("inf") for of in (min, median) for r in records]
    return found[0], found[-1], "one may be above or below the other"


def _mean_ratio(records: Sequence[Record]) -> tuple[float, float, str]:
    rated = [(r, ratio) for r in records if (ratio := r.ratio)]
    slow, ratio = min(rated, key=lambda pair: pair[1].minima)
    return (
        geometric_mean(x.minima for _, x in rated),
        geometric_mean(x.pairs.median for _, x in rated),
        f"least: {slow.op} {ratio.minima:.2f}x",
    )


def _worst_fraction(records: Sequence[Record]) -> tuple[float, float, str]:
    rated = [(r, f) for r in records if (f := r.fraction(REFERENCE_LIMIT))]
    slow, fraction = min(rated, key=lambda pair: pair[1].minima)
    mean = geometric_mean(f.minima for _, f in rated)
    rate = slow.rate(REFERENCE_LIMIT) or 0.0
    return (
        fraction.minima,
        fraction.pairs.median,
        f"least: {slow.op}; geometric mean {mean:.2f}; limit {rate / 1e9:.1f} GB/s",
    )


TARGETS: tuple[Target, ...] = (
    Target(
        "64 elements, every op: cost of a call against TensorFlow",
        8.0,
        "x",
        _peer("call_overhead", 64),
        _worst_ratio,
    ),
    Target(
        "16 Ki, geometric mean against TensorFlow", 4.0, "x", _peer("dense", 16 * KI), _mean_ratio
    ),
    Target(
        "256 Ki, geometric mean against TensorFlow", 2.5, "x", _peer("dense", 256 * KI), _mean_ratio
    ),
    Target(
        "64 Mi, every op: rate over the 4r3w loop's", 0.95, "", _limit("float32"), _worst_fraction
    ),
    Target(
        "64 Mi, geometric mean against TensorFlow", 1.4, "x", _peer("dense", 64 * MI), _mean_ratio
    ),
    Target(
        "Ftrl, lr_power -0.6, 4 Mi, against TensorFlow",
        5.0,
        "x",
        _peer("dense", 4 * MI, variant=POW_VARIANT),
        _mean_ratio,
        expected=1,
    ),
    Target(
        "float16, 64 Mi, every op: rate over the 4r3w loop's",
        0.85,
        "",
        _limit("float16"),
        _worst_fraction,
    ),
    Target(
        "bfloat16, 64 Mi, every op: rate over the 4r3w loop's",
        0.85,
        "",
        _limit("bfloat16"),
        _worst_fraction,
    ),
    *(
        Target(
            f"{name}, distinct ids, every workload: against TensorFlow",
            4.0,
            "x",
            _rows("sparse", f"SparseApply{name}", TENSORFLOW, "distinct"),
            _worst_ratio,
            expected=4,
        )
        for name in DISTINCT
    ),
    *(
        Target(
            f"{what}, every workload: against {whose}",
            required,
            "x",
            _rows(suite, op, peer, "merged" if suite == "sparse" else ""),
            _worst_ratio,
            expected=4,
        )
        for suite, op, what, peer, whose, required in (
            ("sparse", MERGE, "Merged Adagrad", "tf_keras", "Keras's legacy Adagrad", 7.0),
            ("sparse", MERGE, "Merged Adagrad", "fbgemm", "FBGEMM", 3.0),
            ("sparse", ROW_WISE, "Merged row-wise Adagrad", "fbgemm", "FBGEMM", 1.5),
            ("rows", "coalesce", "Coalesce", TENSORFLOW, "TensorFlow", 4.0),
            ("rows", "coalesce", "Coalesce", "torch", "torch", 4.0),
            ("rows", "gather", "Gather", TENSORFLOW, "TensorFlow", 1.3),
            ("rows", "gather", "Gather", "torch", "torch", 1.3),
        )
    ),
    Target(
        "Coalesce, nearly distinct ids (2.0 M x 64, uniform): against TensorFlow",
        4.0,
        "x",
        lambda results: results.find(
            suite="rows",
            op="coalesce",
            dtype="float32",
            variant=workloads("targets")[1].label,
            peer=TENSORFLOW,
        ),
        _worst_ratio,
        expected=1,
    ),
    *(
        Target(f"{what}: against {whose}", required, "x", measure=_worst_ratio, **cases)
        for what, whose, required, cases in (
            ("Pooled rows", "torch", 1.3, _bags("bags", bags.POOL, "torch", 8)),
            ("Pooled rows", "FBGEMM", 1.5, _bags("bags", bags.POOL, "fbgemm", 8)),
            (
                "Adagrad by gradients of bags",
                "expanding them first",
                2.0,
                _bags("bags", bags.STEP, bags.EXPANDED.name, 4),
            ),
            ("26 tables, pooled", "FBGEMM", 2.0, _bags("tables", bags.POOL, "fbgemm", 4)),
            ("26 tables, pooled", "torch", 2.0, _bags("tables", bags.POOL, "torch", 4)),
            ("26 tables, Adagrad", "FBGEMM", 4.0, _bags("tables", tables.ADAGRAD, "fbgemm", 4)),
            ("26 tables, Adagrad", "torch", 10.0, _bags("tables", tables.ADAGRAD, "torch", 4)),
            ("26 tables, lazy Adam", "torch", 10.0, _bags("tables", tables.ADAM, "torch", 4)),
            (
                "26 small tables, pooled",
                "26 calls",
                1.5,
                _bags("tables", bags.POOL, tables.APART.name, 1),
            ),
            (
                "26 small tables, Adagrad",
                "26 calls",
                1.5,
                _bags("tables", tables.ADAGRAD, tables.APART.name, 1),
            ),
        )
    ),
    Target(
        "Adagrad by gradients of bags: memory for an id beyond the arrays",
        8.0,
        " B",
        measure=_beyond_an_id,
        at_most=True,
        **_bags("bags", bags.STEP, bags.EXPANDED.name, 4),
    ),
    *(
        Target(
            f"{what}, exact sums: time over that of sums in order",
            1.3,
            "x",
            measure=_largest_ratio,
            at_most=True,
            **_bags("bags", op, bags.EXACT.name, 4),
        )
        for op, what in ((MERGE, "Merged Adagrad"), (bags.COALESCE, "Coalesce"))
    ),
    Target(
        "Cost of a touched row, 64 Mi rows over 1 Mi rows",
        AT_MOST,
        "x",
        lambda results: results.find(suite="growth", size=64 * MI),
        _largest_growth,
        expected=1,
        at_most=True,
    ),
    *(
        Target(
            f"apply_gradients, 1000 x 64: against {whose}",
            required,
            "x",
            _optimizer(op, peer, MANY),
            _worst_ratio,
            expected=1,
        )
        for op, peer, whose, required in (
            ("legacy.Adam", "torch", "torch's fused Adam", 8.0),
            ("legacy.Adam", "tf_keras", "Keras's legacy Adam", 20.0),
            ("AdamW", "torch", "torch's fused AdamW", 8.0),
        )
    ),
    *(
        Target(
            f"apply_gradients, {SPARSE_BATCH}: against Keras's {op}",
            4.0 if op == "legacy.RMSprop" else 6.0,
            "x",
            _optimizer(op, "tf_keras", SPARSE_BATCH),
            _worst_ratio,
            expected=1,
        )
        for op, optimizer in OPTIMIZERS_BY_NAME.items()
        if ROWS in optimizer.on and "tf_keras" in optimizer.peers
    ),
    *(
        Target(
            f"Deferred, {SPARSE_BATCH}: against Keras's {op}",
            60.0 if op == "legacy.Adam" else 40.0,
            "x",
            _deferred([op], [SPARSE_BATCH]),
            _worst_ratio,
            expected=1,
        )
        for op in deferred.OPS
    ),
    *(
        Target(
            f"Deferred, {what}: time over that of the lazy meaning",
            most,
            "x",
            _deferred(ops, labels),
            _largest_over_lazy,
            expected=count,
            at_most=True,
        )
        for what, most, ops, labels, count in (
            ("rows of 64", 2.0, _PLAIN, [SPARSE_BATCH], len(_PLAIN)),
            ("rows of 16", 2.5, ["legacy.Adam"], [b.label for b in workloads("targets")[2:]], 1),
            ("decay and average", 2.5, ["AdamWAverage"], [SPARSE_BATCH], 1),
        )
    ),
    *(
        Target(
            f"{what}, 64 Mi: time over that of its bytes",
            1.2,
            "x",
            _clipped(op),
            _over_bytes,
            expected=1,
            at_most=True,
        )
        for op, what in (
            ("legacy.Adam", "legacy.Adam, global_clipnorm"),
            ("AdamWAverage", "AdamW, global_clipnorm, EMA"),
        )
    ),
    Target(
        "AdamW, global_clipnorm, EMA, 64 Mi: against Keras's",
        4.0,
        "x",
        _clipped("AdamWAverage"),
        _worst_ratio,
        expected=1,
    ),
    *(
        Target(
            f"1 GiB of state, {call}: rate over that of a plain {plain}",
            0.8,
            "",
            _state(op=call),
            _of_limit,
            expected=1 if call == "restore" else 2,
        )
        for call, plain in (("save", "write"), ("load", "read"), ("restore", "read"))
    ),
    *(
        Target(
            f"1 GiB of state, save and load: against {whose}",
            1.0,
            "x",
            _state(peer=peer),
            _worst_ratio,
            expected=2,
        )
        for peer, whose in (("numpy", "np.savez and np.load"), ("safetensors", "safetensors"))
    ),
    *(
        Target(f"PyTorch, {what}: against {whose}", required, "x", measure=_worst_ratio, **cases)
        for what, whose, required, cases in (
            (
                "one parameter of 64",
                "torch's fused Adam",
                5.0,
                _in_torch(["st.Adam"], "torch", in_torch.ONE),
            ),
            ("1000 x 64", "torch's fused Adam", 3.0, _in_torch(["st.Adam"], "torch", MANY)),
            (
                "lists of tensors",
                "torch's fused",
                1.1,
                _in_torch(in_torch.OPS_FUSED, "torch", *in_torch.LISTED),
            ),
            (
                "lists of tensors, not fused",
                "torch's best",
                2.0,
                _in_torch(in_torch.OPS_NOT_FUSED, "torch", *in_torch.LISTED),
            ),
            (
                "64 Mi",
                "torch's fused",
                1.05,
                _in_torch(in_torch.OPS_FUSED, "torch", in_torch.ARRAY, size=64 * MI),
            ),
            (
                "64 Mi",
                "DeepSpeedCPUAdam",
                1.0,
                _in_torch(in_torch.OF_DEEPSPEED, "deepspeed", in_torch.ARRAY, size=64 * MI),
            ),
            (
                "64 Mi, not fused",
                "torch's best",
                3.0,
                _in_torch(in_torch.OPS_NOT_FUSED, "torch", in_torch.ARRAY, size=64 * MI),
            ),
            (
                f"sparse gradient, {SPARSE_BATCH}",
                "torch",
                5.0,
                _in_torch(in_torch.ON_ROWS, "torch", SPARSE_BATCH),
            ),
            *(
                (
                    "a whole step of the DLRM",
                    whose,
                    required,
                    _in_torch([MODEL], peer, in_torch.TABLES, in_torch.FUSE, size=2048),
                )
                for whose, peer, required in (("torch", "torch", 2.0), ("FBGEMM", "fbgemm", 1.3))
            ),
        )
    ),
    *(
        Target(
            f"Shared cores, a small model: time over that of {other}",
            at_most,
            "x",
            lambda results: results.find(suite=shared.SUITE.name),
            _over(other),
            expected=1,
            at_most=True,
        )
        for other, at_most in shared.AT_MOST.items()
    ),
    Target(
        "One rank, a step: time over that without ranks",
        1.1,
        "x",
        measure=_over_without,
        at_most=True,
        **_ranks(*(f"{ranks.ONE}, {merge}" for merge in ranks.MERGES), peer=ranks.WITHOUT.name),
    ),
    *(
        Target(
            f"Two ranks, a step: {what}",
            required,
            "x",
            measure=measure,
            **_ranks(*(f"{ranks.TWO}, {merge}" for merge in ranks.MERGES)),
        )
        for what, required, measure in (
            ("throughput over that of one process", 1.6, _least_scaling),
            ("bytes that would be sent unmerged, over those sent", 4.0, _least_merging),
        )
    ),
    Target(
        "Two ranks, a step: against TorchRec's way",
        3.0,
        "x",
        measure=_worst_ratio,
        **_ranks(*(f"{ranks.TWO} by {engine}" for engine in ranks.ENGINES), peer="torch"),
    ),
    Target(
        "Two ranks, a step: the model beside the real one, the larger over the smaller",
        1.25,
        "x",
        measure=_disagreement,
        at_most=True,
        **_ranks(ranks.TWO, op=SIMULATED),
    ),
    *(
        Target(
            f"State on ranks, {call}: rate over that of a plain {plain}",
            0.7,
            "",
            measure=_of_limit,
            **_ranks(*ranks.ON_DISK[call], op=call),
        )
        for call, plain in ((SAVE, "write"), (RESTORE, "read"))
    ),
    Target(
        "1 GiB of state, every call: memory beyond the arrays",
        64,
        " MiB",
        _state(),
        _beyond,
        expected=5,
        at_most=True,
    ),
)


HEADS = ("target", "required", "measured", "pairs", "", "detail")


@dataclass(frozen=True)
class Judged:
    """A target and what came of it, in words; ``value`` is empty where nothing was measured."""

    name: str
    required: str
    value: str
    pairs: str
    status: str
    detail: str


def judged(results: Results) -> list[Judged]:
    """Every target, in order."""
    rows = []
    for target in TARGETS:
        found = target.verdict(results)
        value, pairs, detail = "", "", ""
        if found is not None:
            value, pairs = (f"{x:.2f}{target.unit}" for x in (found.value, found.pairs))
            detail = found.detail
        status = target.status(found)
        rows.append(Judged(target.name, target.bound, value, pairs, status, detail))
    return rows
