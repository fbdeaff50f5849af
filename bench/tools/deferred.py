# SPDX-License-Identifier: Apache-2.0
"""``python -m bench deferred``: what deferred updates cost beside the rows of a batch.

How the cost of a touched row grows with the table, beside the lazy meaning; a flush, beside a sweep
over the table; and what a step takes whatever its batch.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import slotwise
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from slotwise import IndexedSlices, Variable, optimizers

from bench.results.units import MI, show_size, show_time

_WIDTH, _IDS, _BATCHES = 8, 1 << 16, 16


def deferred(console: Console, threads: int, most_rows: int, repeats: int) -> int:
    """Measure and show; in turn, and the least of the times counts."""
    slotwise.set_num_threads(threads)
    table = Table("what", "deferred", "beside it", "ratio", "at most")
    first: dict[str, tuple[float, float]] = {}
    rows = [n for n in (MI, 4 * MI, 16 * MI, 64 * MI) if n <= most_rows] or [most_rows]
    for count in rows:
        for law in ("zipf", "uniform"):
            ours, lazy = _touched(count, law, repeats)
            base = first.setdefault(law, (ours, lazy))
            name = f"legacy Adam, {law} ids, {show_size(count)} rows x {_WIDTH}"
            _add(table, name, ours, "lazy", lazy)
            if count > rows[0]:
                grown = ours / base[0], lazy / base[1]
                cells = f"{grown[0]:.2f}x", f"lazy {grown[1]:.2f}x", f"{grown[0] / grown[1]:.2f}"
                table.add_row("  grown since the smallest", *cells, "1")
    _add(table, "flush, all rows 100 steps behind", *_flush(most_rows, repeats), most="1.5")
    for beta_1, beta_2 in ((0.9, 0.999), (0.99, 0.999)):
        ours, lazy = _bookkeeping(beta_1, beta_2, repeats)
        name = f"a step of one row, betas {beta_1} and {beta_2}"
        extra = f"+{(ours - lazy) * 1e6:.1f} us"
        table.add_row(name, show_time(ours), f"lazy {show_time(lazy)}", extra, "+20 us")
    console.print(table)
    return 0


def _add(table: Table, name: str, ours: float, beside: str, its: float, most: str = "") -> None:
    table.add_row(name, show_time(ours), f"{beside} {show_time(its)}", f"{ours / its:.2f}", most)


def _ids(random: np.random.Generator, law: str, rows: int) -> NDArray[np.int64]:
    if law == "uniform":
        return np.asarray(random.integers(0, rows, _IDS), np.int64)
    ranks = random.zipf(1.2, 2 * _IDS) - 1
    ranks = ranks[ranks < rows][:_IDS]
    spread = ranks.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) % np.uint64(rows)
    return np.asarray(spread, np.int64)  # frequent rows are nowhere near each other


def _made(rows: int, width: int, sparse: str, **options: Any) -> tuple[Variable, Any]:
    table = Variable(slotwise.zeros((rows, width)), name="table")
    return table, optimizers.legacy.Adam(sparse=sparse, **options)


def _touched(rows: int, law: str, repeats: int) -> tuple[float, float]:
    """Seconds of a gather and a step, by batches in turn."""
    random = np.random.default_rng(0)
    batches = [_ids(random, law, rows) for _ in range(_BATCHES)]
    grads = np.full((_IDS, _WIDTH), 0.1, np.float32)
    pairs = [_made(rows, _WIDTH, sparse) for sparse in ("deferred", "lazy")]

    def run(table: Variable, opt: Any) -> Callable[[], None]:
        def turn() -> None:
            for ids in batches:
                slotwise.gather(table, ids)
                slices = IndexedSlices(grads[: len(ids)], ids, table.shape)
                opt.apply_gradients([(slices, table)])

        return turn

    ours, lazy = _least([run(*pair) for pair in pairs], repeats)
    del pairs
    gc.collect()
    return ours / _BATCHES, lazy / _BATCHES


def _flush(rows: int, repeats: int) -> tuple[float, str, float]:
    """Seconds of a flush, and of a step that sweeps over as many rows."""
    rows = min(rows, 2_000_000)
    (table, opt), (swept, sweeping) = (_made(rows, 64, x) for x in ("deferred", "keras"))
    ids = np.random.default_rng(0).integers(0, rows, 1000)
    slices = IndexedSlices(np.full((1000, 64), 0.1, np.float32), ids, table.shape)
    found = []
    for _ in range(repeats + 1):
        for _ in range(100):
            opt.apply_gradients([(slices, table)])
        pair = [_seconds(opt.flush), _seconds(lambda: sweeping.apply_gradients([(slices, swept)]))]
        found.append(pair)
    flush, sweep = np.min(found[1:], axis=0).tolist()
    return flush, "sweep", sweep


def _bookkeeping(beta_1: float, beta_2: float, repeats: int) -> tuple[float, float]:
    """Seconds of a step of one row, after as many steps as a row moves for."""
    one = np.ones((1, 1), np.float32)
    steps: list[Callable[[], None]] = []
    for sparse in ("deferred", "lazy"):
        table, opt = _made(200_000, 1, sparse, beta_1=beta_1, beta_2=beta_2)
        pairs = [(IndexedSlices(one, np.array([5]), table.shape), table)]
        for _ in range(5000):
            opt.apply_gradients(pairs)

        def some(opt: Any = opt, pairs: Any = pairs) -> None:
            for _ in range(100):
                opt.apply_gradients(pairs)

        steps.append(some)
    ours, lazy = _least(steps, 10 * repeats)
    return ours / 100, lazy / 100


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _least(calls: list[Callable[[], None]], repeats: int) -> list[float]:
    """Of each, the least time of many turns; the first one is not counted."""
    times = [[_seconds(call) for call in calls] for _ in range(repeats + 1)]
    least: list[float] = np.min(times[1:], axis=0).tolist()
    return least
