# SPDX-License-Identifier: Apache-2.0
"""Trains a click model of 26 tables in PyTorch twice: with torch alone, and with slotwise under it.

The model is a DLRM (Naumov et al., 2019). A row of each table stands for a category. The rows of a
bag of categories are summed, a small network makes another such row of the 13 numbers, and a second
network takes the dot products of all pairs of rows to the logit of a click. Both ways start from
the same weights and see the same batches, in turn. They differ in the tables and their optimizer:

- torch alone: ``nn.EmbeddingBag`` with sparse gradients for large tables and dense ones for small
  tables, whichever is faster, ``Adagrad``, and fused ``Adam`` for the networks;
- slotwise: ``EmbeddingBagCollection``, ``Adagrad`` and ``Adam`` of ``slotwise.torch``.

The data are drawn here (`World`), so the best possible prediction is known; or they are Criteo's,
as they come (``--criteo train.txt``).

Prints log loss and AUC on held-out data and the time of a step by part, draws
``out/dlrm_torch.png``, and exits with an error if the loss of any batch differs between the two
ways by more than `BAND` (`BAND_OF_FIRST` for the `FIRST`), or if a way predicts no better than a
constant.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import slotwise
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from metrics import Array, auc, best_constant, log_loss
from tqdm import tqdm

try:
    import torch
except ModuleNotFoundError:
    sys.exit("examples/dlrm_torch.py needs PyTorch: pip install 'slotwise[torch]'")

from dlrm import (
    Batch,
    Criteo,
    Model,
    Rates,
    Sizes,
    Times,
    World,
    options,
    torch_alone,
    with_slotwise,
)

WAYS = ("torch", "slotwise")

# The largest difference of a batch's losses that is allowed: of the first batches, where only sums
# in another order tell the two ways apart, and later, when such differences have grown. (Those of
# torch's fused Adam and of its loop were 7e-4 after 80 batches.)
FIRST, BAND_OF_FIRST, BAND = 5, 1e-5, 3e-3


# --- Training -------------------------------------------------------------------------------------


@dataclass
class Way:
    """A way to train, and what came of it."""

    name: str
    model: Model
    losses: list[float] = field(default_factory=list)  # of each batch
    times: list[Times] = field(default_factory=list)
    logit: Array = field(default_factory=lambda: np.zeros(0, np.float32))  # for the test

    def median_ms(self) -> Times:
        return Times(*(1e3 * np.median(self.times, axis=0)).tolist())


@dataclass
class Result:
    ways: list[Way]
    clicked: npt.NDArray[np.bool_]  # of the test
    constant: Array  # the best one, for the test
    truth: Array | None
    data_ms: float  # a batch's, a median
    seconds: float

    def score(self, logit: Array) -> tuple[float, float]:
        return log_loss(logit, self.clicked), auc(logit, self.clicked)

    @property
    def differences(self) -> Array:
        """Of each batch's losses between the two ways."""
        theirs, ours = (np.array(way.losses, np.float32) for way in self.ways)
        differences: Array = np.abs(theirs - ours)
        return differences

    def parts_ms(self, way: Way) -> list[float]:
        """Of a batch, in the order of `PARTS`."""
        return [self.data_ms, *way.median_ms()]


# What a way takes for an impression on two quiet cores, and what comes before, of full size.
SECONDS = dict(zip(WAYS, (130e-6, 60e-6), strict=True))
SECONDS_BEFORE = 10

IN_TURN = 10  # batches that a way trains on before it is the other's turn


def source(args: argparse.Namespace, rows: list[int]) -> Iterator[Batch]:
    """The held-out batch, then those to train on; Criteo's may end early."""
    sizes = [args.held_out, *[args.batch] * args.batches]
    if args.criteo:
        return Criteo(args.criteo, rows).batches(iter(sizes))
    rng = np.random.default_rng(args.seed)
    world = World(rows, args.most, rng)
    return (world.draw(size, rng) for size in sizes)


def blocks(batches: Iterator[Batch], seconds: list[float]) -> Iterator[list[Batch]]:
    """`IN_TURN` batches each; what each took goes to `seconds`."""
    while True:
        block = []
        for _ in range(IN_TURN):
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            seconds.append(time.perf_counter() - start)
            block.append(batch)
        if not block:
            return
        yield block


def train(args: argparse.Namespace) -> Result:
    start = time.perf_counter()
    sizes, rates = Sizes.of(args), Rates(args.lr)
    batches = source(args, sizes.rows)
    test = next(batches, None)
    if test is None:
        raise SystemExit(f"{args.criteo}: expected lines, got an empty file")
    data_s: list[float] = []
    ids = [len(own) * args.batch // len(test.clicked) for own in test.ids]
    made: dict[str, Callable[[], Model]] = {
        "torch": lambda: torch_alone(sizes, rates, ids),
        "slotwise": lambda: with_slotwise(sizes, rates, args.fuse),
    }
    ways = [Way(name, made[name]()) for name in WAYS if args.ways in (name, "both")]
    clicks = 0.0
    with tqdm(total=len(ways) * args.batches, unit="step", dynamic_ncols=True) as bar:
        for number, block in enumerate(blocks(batches, data_s)):
            clicks += sum(float(batch.clicked.mean()) for batch in block)
            for way in ways if number % 2 == 0 else ways[::-1]:  # so that neither always is first
                for batch in block:
                    loss, times = way.model.step(batch)
                    way.losses.append(loss)
                    way.times.append(times)
                    bar.update()
    if not data_s:
        raise SystemExit(f"{args.criteo}: expected more than {args.held_out:,} lines")
    for way in ways:
        way.logit = way.model.predict(test)
    share = clicks / len(data_s)
    constant = best_constant(share, len(test.clicked))
    clicked = test.clicked.numpy() > 0
    seconds = time.perf_counter() - start
    return Result(ways, clicked, constant, test.logit, 1e3 * float(np.median(data_s)), seconds)


# --- Report ---------------------------------------------------------------------------------------


def summary(result: Result) -> str:
    scores = {"a constant": result.score(result.constant)}
    scores |= {way.name: result.score(way.logit) for way in result.ways}
    if result.truth is not None:
        scores["the truth"] = result.score(result.truth)
    lines = [f"{'held out':12} log loss      AUC"]
    lines += [f"{name:12} {loss:>8.4f} {area:>8.4f}" for name, (loss, area) in scores.items()]
    lines += ["", " ".join([f"{'ms per batch':12}", *(f"{part:>8}" for part in (*PARTS, "all"))])]
    for way in result.ways:
        parts = result.parts_ms(way)
        lines.append(" ".join([f"{way.name:12}", *(f"{x:>8.1f}" for x in (*parts, sum(parts)))]))
    if len(result.ways) > 1:
        theirs, ours = (sum(way.median_ms()) for way in result.ways)
        lines.append(f"a step with slotwise, data aside, is {theirs / ours:.2f} times as fast")
    lines.append(f"{len(result.ways[0].losses):,} batches in {result.seconds:.0f} s")
    return "\n".join(lines)


INK, FAINT = "#333333", "#dddddd"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#00825f", "#888888"
PARTS = {"data": "#e9c46a", "forward": GREEN, "backward": "#bbbbbb", "update": BLUE}
COLORS = dict(zip(WAYS, (ORANGE, BLUE), strict=True))


def smooth(values: list[float]) -> tuple[Array, Array]:
    """Means of some batches each, and where they are."""
    width = max(1, len(values) // 50)
    count = len(values) // width * width
    means = np.array(values[:count], np.float32).reshape(-1, width).mean(axis=1)
    return np.arange(len(means)) * width + (width + 1) / 2, means


def draw_losses(axes: Any, result: Result) -> None:
    """Both curves, the first one broad, so that one sees it below the second."""
    for way, width in zip(result.ways, (6, 1.5), strict=False):
        where, means = smooth(way.losses)
        color, alpha = COLORS[way.name], 0.45 if width > 2 else 1
        axes.plot(where, means, color=color, lw=width, alpha=alpha, label=way.name)
    if result.truth is not None:
        loss, _ = result.score(result.truth)
        axes.axhline(loss, color=GREEN, lw=1.2, ls="--", label="the best possible, held out")
    axes.set(xlabel="batches", ylabel="log loss")
    axes.set_title("Loss of the batches", loc="left", weight="bold")
    axes.legend(frameon=False)
    axes.grid(color=FAINT, lw=0.6)


def draw_differences(axes: Any, result: Result) -> None:
    """Those that are 0 have no place on the axis, so they are counted."""
    differences = result.differences
    count = len(differences)
    batches = np.arange(1, count + 1)
    axes.semilogy(batches, np.maximum(differences, 1e-30), ".", color=BLUE, ms=5)
    bands = [BAND_OF_FIRST, BAND_OF_FIRST, BAND, BAND]
    axes.plot([0, FIRST + 0.5, FIRST + 0.5, count + 1], bands, color=ORANGE, lw=1.2, ls="--")
    place = {"textcoords": "offset points", "ha": "right"}
    axes.annotate("allowed", (count, BAND), (0, 4), color=ORANGE, **place)
    same = f"equal in {np.count_nonzero(differences == 0)} of {count} batches"
    axes.annotate(same, (count, 1e-9), (0, 6), **place)
    axes.set(xlabel="batches", ylabel="difference", xlim=(0, count + 1), ylim=(1e-9, 1e-2))
    axes.set_title("Difference of the two losses", loc="left", weight="bold")
    axes.grid(color=FAINT, lw=0.6)


def draw_times(axes: Any, result: Result) -> None:
    for y, way in enumerate(result.ways):
        left = 0.0
        for width, color in zip(result.parts_ms(way), PARTS.values(), strict=True):
            axes.barh(y, width, 0.5, left=left, color=color)
            left += width
        axes.text(left, y, f" {left:.0f} ms", va="center")
    axes.set_yticks(range(len(result.ways)), [way.name for way in result.ways])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.2, y=0.4)
    axes.set_xlabel(f"milliseconds, {torch.get_num_threads()} threads")
    axes.set_title("Time of a batch", loc="left", weight="bold")
    handles = [Patch(color=color) for color in PARTS.values()]
    axes.legend(
        handles, PARTS, frameon=False, ncols=4, loc="upper center", columnspacing=1, handlelength=1
    )
    axes.grid(axis="x", color=FAINT, lw=0.6)


def plot(result: Result, path: Path) -> None:
    style: Any = {
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
    }
    drawn = [draw_losses, draw_differences, draw_times]
    if len(result.ways) == 1:
        drawn.remove(draw_differences)
    with plt.rc_context(style):
        size = (4.6 * len(drawn), 4.4)
        figure, parts = plt.subplots(1, len(drawn), figsize=size, layout="constrained")
        for axes, draw in zip(parts, drawn, strict=True):
            draw(axes, result)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(which="both", color=FAINT, labelcolor=INK)
            axes.set_axisbelow(True)
            if draw is not draw_times:
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def main() -> int:
    plt.switch_backend("Agg")  # draws to a file: no display needed
    parser = options(__doc__)
    parser.add_argument("--with", dest="ways", choices=(*WAYS, "both"), default="both")
    parser.add_argument("--fuse", action="store_true", help="update slotwise's tables in backward")
    parser.add_argument("--criteo", type=Path, help="a file of Criteo's in place of drawn data")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    args = parser.parse_args()

    print(Sizes.of(args))
    print(
        f"slotwise {slotwise.__version__} on {slotwise.active_target()}, torch {torch.__version__}"
    )
    each = sum(SECONDS[name] for name in WAYS if args.ways in (name, "both"))
    seconds = SECONDS_BEFORE + each * args.batches * args.batch
    print(f"{args.batches:,} batches of {args.batch:,}: about {seconds:.0f} s on two quiet cores")
    result = train(args)
    print("\n" + summary(result))
    path = args.out / "dlrm_torch.png"
    plot(result, path)
    print(f"\nlosses and times: {path}")

    failed = False
    if len(result.ways) > 1:
        first = float(result.differences[:FIRST].max())
        largest = float(result.differences.max())
        print(
            f"losses differ by {first:.2g} at most in the first {FIRST} batches, where "
            f"{BAND_OF_FIRST:g} is allowed, and by {largest:.2g} in all, where {BAND:g} is"
        )
        failed = not (first <= BAND_OF_FIRST and largest <= BAND)
    constant, _ = result.score(result.constant)
    for way in result.ways:
        if not result.score(way.logit)[0] < constant:
            print(f"{way.name} predicts no better than a constant")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
