# SPDX-License-Identifier: Apache-2.0
"""Draws docs/deferred.png: how near deferred updates are, and what they cost. Takes a minute.

python scripts/draw_deferred.py
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import slotwise
from numpy.typing import NDArray
from slotwise import IndexedSlices, Variable
from slotwise.optimizers.legacy import Adam

Array = NDArray[Any]

PICTURE = Path(__file__).parents[1] / "docs" / "deferred.png"
COLORS = {"keras": "#d55e00", "deferred": "#0072b2", "lazy": "#00825f"}
INK, FAINT = "#333333", "#dddddd"
STEPS, ROWS, WIDTH, BATCH = 4000, 2000, 8, 64
SIZES, IDS = [1 << n for n in range(16, 22)], 1 << 14


def zipf(random: np.random.Generator, rows: int, count: int) -> Array:
    weights = np.cumsum(1 / np.arange(1, rows + 1) ** 1.2)
    ranks = np.searchsorted(weights, random.random(count) * weights[-1])
    ids: Array = np.minimum(ranks, rows - 1) * 2654435761 % rows
    return ids


def errors() -> tuple[Array, dict[str, Array]]:
    """Root mean square errors of the table against float64, at some steps."""
    random = np.random.default_rng(0)
    table = random.normal(0, 0.05, (ROWS, WIDTH)).astype(np.float32)
    sizes = 10.0 ** random.uniform(-9, 1, table.shape)
    runs = {}
    for name, dtype, mode in (
        ("exact", np.float64, "keras"),
        ("keras", np.float32, "keras"),
        ("deferred", np.float32, "deferred"),
        ("lazy", np.float32, "lazy"),
    ):
        runs[name] = Variable(table.astype(dtype), name="table"), Adam(1e-3, sparse=mode)
    at = np.unique(np.geomspace(1, STEPS, 60).astype(int))
    found: dict[str, list[float]] = {name: [] for name in runs if name != "exact"}
    for step in range(1, STEPS + 1):
        ids = np.unique(zipf(random, ROWS, BATCH))
        grads = sizes[ids] * random.normal(0, 1, (len(ids), WIDTH))
        for var, opt in runs.values():
            slices = IndexedSlices(grads.astype(np.float32).astype(var.dtype), ids, var.shape)
            opt.apply_gradients([(slices, var)])
        if step in at:
            exact = runs["exact"][0].numpy()
            for name, several in found.items():
                several.append(float(np.sqrt(((runs[name][0].numpy() - exact) ** 2).mean())))
    return at, {name: np.array(several) for name, several in found.items()}


def times() -> dict[str, list[float]]:
    """Milliseconds of a gather and a step, for tables of SIZES rows of 64."""
    random = np.random.default_rng(0)
    grads = random.normal(0, 1e-3, (IDS, 64)).astype(np.float32)
    found: dict[str, list[float]] = {name: [] for name in COLORS}
    for rows in SIZES:
        batches = [zipf(random, rows, IDS) for _ in range(12)]
        for mode, several in found.items():
            var = Variable(slotwise.full((rows, 64), 0.01), name="table")
            opt, best = Adam(1e-3, sparse=mode), np.inf
            for turn in range(36):
                ids = batches[turn % 12]
                start = time.perf_counter()
                slotwise.gather(var, ids)
                opt.apply_gradients([(IndexedSlices(grads, ids, var.shape), var)])
                if turn >= 12:  # before, rows are behind by fewer steps than later
                    best = min(best, time.perf_counter() - start)
            several.append(best * 1e3)
    return found


def main() -> None:
    plt.switch_backend("Agg")
    plt.rcParams.update({"font.size": 10, "text.color": INK, "axes.edgecolor": FAINT})
    figure, (near, cost) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    steps, by_name = errors()
    for name, values in by_name.items():
        near.plot(steps, values, color=COLORS[name], lw=2, label=f'sparse="{name}"')
    near.set(xscale="log", yscale="log", xlabel="steps", ylabel="rms error of the table")
    near.set_title("Against Keras's Adam in float64", loc="left", weight="bold")
    for name, milliseconds in times().items():
        cost.plot(SIZES, milliseconds, "o-", color=COLORS[name], lw=2, label=f'sparse="{name}"')
    cost.set(xscale="log", yscale="log", xlabel="rows of 64 in the table", ylabel="milliseconds")
    cost.set_title("A gather and a step, 16 Ki ids", loc="left", weight="bold")
    cost.set_xticks(SIZES, [f"{n // 1024} Ki" if n < 1 << 20 else f"{n >> 20} Mi" for n in SIZES])
    cost.minorticks_off()
    for axes in (near, cost):
        axes.grid(color=FAINT, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(which="both", color=FAINT, labelcolor=INK)
        axes.legend(frameon=False)
    figure.savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
