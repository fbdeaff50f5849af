# SPDX-License-Identifier: Apache-2.0
"""Learns which ads are clicked, from bags of hashed categories, with gradients of bags.

The data are drawn here (`World`), so the best possible prediction is known. An impression has six
features. Three are of the reader: who, on which site, and what was read before; three are of the
ad: which, whose, and its words. What was read and the words are bags of several ids, or of none.
Ids are hashed to rows of six tables. One call of ``slotwise.gather_pooled`` takes the means of all
bags, and two dense layers in NumPy make a probability of them. The way back is written by hand. It
ends at a gradient of each bag; ``slotwise.PooledSlices`` hands that on without a row for each id.
One call of ``apply_gradients`` updates the tables and the layers.

The first batches also go through plain NumPy, which pools rows, expands gradients and updates
tables of its own, to compare time and result. Others go through Adam three times, once for each
meaning that a sparse gradient can have (`Meaning`), on tables most of whose rows no batch names.

Prints log loss and AUC on held-out data, beside those of the true probabilities and of a constant,
draws ``out/clicks.png``, and exits with an error if the model comes less than `REQUIRED_SHARE` of
the way from the constant to the truth, if the two ways of training differ, or if what
``sparse="deferred"`` trains is not what ``sparse="keras"`` does.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import plain_numpy
import slotwise
from matplotlib.patches import Patch
from metrics import Array, Clicks, auc, best_constant, log_loss, sigmoid
from slotwise import Jagged, PooledSlices
from threadpoolctl import threadpool_limits
from tqdm import tqdm

REQUIRED_SHARE = 0.8  # of the way from a constant to the truth, in log loss
LARGEST_DIFFERENCE = 1e-4  # between tables trained by slotwise and by NumPy; usually 0
SPARE = 16  # times the rows, in tables that are to have room
LARGEST_SHARE = 0.01  # of what lazy updates train otherwise than Keras, for deferred ones


# --- The data -------------------------------------------------------------------------------------


class Feature(NamedTuple):
    name: str
    of: str
    categories: int
    rows: int  # of the table, a power of two
    most: int  # ids in a bag: 1, or any number from 0 to this


FEATURES = [
    Feature("user", "reader", 10_000, 2**14, 1),
    Feature("site", "reader", 2_000, 2**12, 1),
    Feature("read", "reader", 4_000, 2**13, 15),
    Feature("ad", "ad", 2_000, 2**12, 1),
    Feature("advertiser", "ad", 1_000, 2**11, 1),
    Feature("words", "ad", 1_000, 2**11, 8),
]


@dataclass
class Impressions:
    """What a model sees: hashed ids of each feature by bags, and whether there was a click."""

    bags: Jagged
    clicked: Clicks
    logit: Array  # the true one, which no model sees


class World:
    """A logistic model of clicks over latent factors of categories.

    Category c has a number b[c] and a vector z[c], both normally distributed. With means over bags,

        logit = bias + sum(b of all features) + dot(sum(z of the reader's), sum(z of the ad's))

    Categories come by Zipf's law: the k-th with a probability of log((k + 1) / k) / log(n + 1).
    """

    bias, b_scale, z_scale, factors = -1.8, 0.7, 0.36, 2

    def __init__(self, rng: np.random.Generator) -> None:
        self.latent = []
        for feature in FEATURES:
            latent = rng.standard_normal((feature.categories, 1 + self.factors), np.float32)
            latent *= np.array([self.b_scale] + [self.z_scale] * self.factors, np.float32)
            # So that means of bags are as wide.
            self.latent.append(latent * np.float32(max(1, feature.most / 2) ** 0.5))

    def draw(self, count: int, rng: np.random.Generator) -> Impressions:
        categories, offsets = [], []
        for feature in FEATURES:
            ends = np.arange(count + 1)
            if feature.most > 1:
                ends[1:] = np.cumsum(rng.integers(0, feature.most, count, endpoint=True))
            log = rng.random(ends[-1], np.float32) * np.float32(np.log(feature.categories + 1))
            rank = np.exp(log).astype(np.int64) - 1
            categories.append(np.minimum(rank, feature.categories - 1))
            offsets.append(ends[:-1])
        logit = self.logit(Jagged(categories, offsets))
        clicked = rng.random(count, np.float32) < sigmoid(logit)
        ids = [hashed(c, f.rows) for c, f in zip(categories, FEATURES, strict=True)]
        return Impressions(Jagged(ids, offsets), clicked, logit)

    def logit(self, categories: Jagged) -> Array:
        pooled = slotwise.gather_pooled(self.latent, *categories, mode="mean")
        pooled = pooled.reshape(len(pooled), len(FEATURES), 1 + self.factors)
        b, z = pooled[:, :, 0], pooled[:, :, 1:]
        reader, ad = (z[:, [f.of == of for f in FEATURES]].sum(axis=1) for of in ("reader", "ad"))
        logit: Array = np.float32(self.bias) + b.sum(axis=1) + (reader * ad).sum(axis=1)
        return logit


def hashed(categories: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int32]:
    """Rows of a table. Some categories share one, and nothing has to list them."""
    product = categories.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    row: npt.NDArray[np.int32] = (product >> np.uint64(65 - rows.bit_length())).astype(np.int32)
    return row


# --- The model ------------------------------------------------------------------------------------


class Layers:
    """Means of bags of every feature, side by side -> ReLU units -> the logit of a click."""

    def __init__(self, args: argparse.Namespace, rng: np.random.Generator) -> None:
        width = len(FEATURES) * args.dim
        w1 = rng.standard_normal((width, args.hidden), np.float32) * np.float32((2 / width) ** 0.5)
        w2 = rng.standard_normal(args.hidden, np.float32) * np.float32(args.hidden**-0.5)
        self.dense = [w1, np.zeros(args.hidden, np.float32), w2, np.zeros(1, np.float32)]

    def forward(self, pooled: Array) -> tuple[Array, Array]:
        """The hidden layer, and the logits."""
        w1, b1, w2, b2 = self.dense
        h = np.maximum(pooled @ w1 + b1, np.float32(0))
        return h, h @ w2 + b2

    def backward(
        self, pooled: Array, h: Array, logit: Array, clicked: Clicks
    ) -> tuple[Array, list[Array]]:
        """Gradients of the cross entropy, summed over the batch: of `pooled`, and of the layers."""
        delta = sigmoid(logit) - clicked
        back = np.outer(delta, self.dense[2]) * (h > 0)
        dense = [pooled.T @ back, back.sum(axis=0), delta @ h, delta.sum(keepdims=True)]
        return back @ self.dense[0].T, dense


class Model(Layers):
    """The layers, and the tables below them."""

    def __init__(self, args: argparse.Namespace, rng: np.random.Generator, spare: int = 1) -> None:
        self.tables: list[Any] = [slotwise.empty((spare * f.rows, args.dim)) for f in FEATURES]
        for table in self.tables:
            table[...] = rng.uniform(-0.05, 0.05, table.shape)
        super().__init__(args, rng)

    def pool(self, bags: Jagged) -> Array:
        return slotwise.gather_pooled(self.tables, *bags, mode="mean")

    def gradients(
        self, bags: Jagged, pooled_grad: Array, dense: list[Array]
    ) -> list[tuple[PooledSlices | Array, Any]]:
        """Pairs for an optimizer, of all tables and layers."""
        slices = PooledSlices.of_tables(pooled_grad, self.tables, *bags, mode="mean")
        return [
            *zip(slices, self.tables, strict=True),
            *zip(dense, self.dense, strict=True),
        ]

    def predict(self, bags: Jagged) -> Array:
        return self.forward(self.pool(bags))[1]


class PlainTables:
    """A copy of the tables, pooled and updated as one would in NumPy alone."""

    def __init__(self, tables: list[Array]) -> None:
        self.tables = [table.copy() for table in tables]
        self.accum = [np.full_like(table, 0.1) for table in tables]

    def pool(self, bags: Jagged) -> Array:
        parts = []
        for table, ids, offsets in zip(self.tables, bags.ids, bags.offsets, strict=True):
            lengths = np.diff(offsets, append=len(ids))
            mean = np.zeros((len(offsets), table.shape[1]), np.float32)
            full = lengths > 0
            sums = np.add.reduceat(table[ids], offsets[full])
            mean[full] = sums / lengths[full, None].astype(np.float32)
            parts.append(mean)
        return np.concatenate(parts, axis=1)

    def update(self, bags: Jagged, pooled_grad: Array, lr: float) -> None:
        """Adagrad, after every gradient of a bag has become one for each of its ids."""
        grads = np.split(pooled_grad, len(self.tables), axis=1)
        for k, (table, accum) in enumerate(zip(self.tables, self.accum, strict=True)):
            lengths = np.diff(bags.offsets[k], append=len(bags.ids[k]))
            factor = np.float32(1) / np.maximum(lengths, 1).astype(np.float32)
            each = np.repeat(grads[k] * factor[:, None], lengths, axis=0)
            rows, total = plain_numpy.coalesce(bags.ids[k], each)
            new_accum = accum[rows] + total * total
            table[rows] -= (total * lr) / np.sqrt(new_accum + np.float32(1e-7))
            accum[rows] = new_accum


# --- Training -------------------------------------------------------------------------------------


def rising_and_falling(lr: float, batches: int) -> slotwise.optimizers.schedules.CosineDecay:
    """Learning rates: up to `lr` in the first twentieth of the batches, then down to 0."""
    warmup = max(1, batches // 20)
    return slotwise.optimizers.schedules.CosineDecay(
        0.0, batches - warmup, warmup_target=lr, warmup_steps=warmup
    )


def measured_after(batches: int) -> set[int]:
    """Numbers of batches after which the loss on held-out data is measured."""
    return {*np.geomspace(1, batches, 30).round().astype(int).tolist()}


class Times(NamedTuple):
    """Seconds of a batch."""

    pooling: float
    layers: float
    step: float


@dataclass
class Result:
    test: Impressions
    logit: Array  # of the model, for the test
    constant: Array  # the best one, for the test
    seen: list[int]  # impressions, when ...
    held_out: list[float]  # ... the log loss was this
    seconds: float  # with what it takes to draw the data

    def score(self, logit: Array) -> tuple[float, float]:
        return log_loss(logit, self.test.clicked), auc(logit, self.test.clicked)

    @property
    def share(self) -> float:
        """How far from the constant to the truth the model has come."""
        constant, model, truth = (
            log_loss(x, self.test.clicked) for x in (self.constant, self.logit, self.test.logit)
        )
        return (constant - model) / (constant - truth)


@dataclass
class Compared(Result):
    largest_difference: float
    ours: list[Times]  # every batch's
    plain: list[Times]  # those of the first batches

    @property
    def examples_per_s(self) -> float:
        return self.seen[-1] / float(np.sum(self.ours))

    def compared(self) -> tuple[Times, Times]:
        """Milliseconds, medians of the batches that went both ways: slotwise, plain NumPy."""
        count = len(self.plain)
        ours, plain = (1e3 * np.median(x[:count], axis=0) for x in (self.ours, self.plain))
        return Times(*ours.tolist()), Times(*plain.tolist())


def train(args: argparse.Namespace) -> Compared:
    start = time.perf_counter()
    rng = np.random.default_rng(args.seed)
    world, model = World(rng), Model(args, rng)
    test = world.draw(args.held_out, rng)
    batches = max(2, args.examples // args.batch)
    rate = rising_and_falling(args.lr, batches)
    optimizer = slotwise.optimizers.Adagrad(rate)
    plain = PlainTables(model.tables)
    measured = measured_after(batches)
    difference, clicks = 0.0, 0
    seen: list[int] = []
    held_out: list[float] = []
    ours_times: list[Times] = []
    plain_times: list[Times] = []

    for number in tqdm(range(1, batches + 1), unit="batch", dynamic_ncols=True):
        batch = world.draw(args.batch, rng)
        clicks += int(batch.clicked.sum())

        t0 = time.perf_counter()
        pooled = model.pool(batch.bags)
        t1 = time.perf_counter()
        h, logit = model.forward(pooled)
        grad, dense = model.backward(pooled, h, logit, batch.clicked)
        t2 = time.perf_counter()
        optimizer.apply_gradients(model.gradients(batch.bags, grad, dense))
        t3 = time.perf_counter()
        ours_times.append(Times(t1 - t0, t2 - t1, t3 - t2))

        if number <= max(1, args.compare):
            t4 = time.perf_counter()
            again = plain.pool(batch.bags)
            t5 = time.perf_counter()
            plain.update(batch.bags, grad, float(rate(number - 1)))
            t6 = time.perf_counter()
            plain_times.append(Times(t5 - t4, t2 - t1, t6 - t5))
            pairs = [(pooled, again), *zip(model.tables, plain.tables, strict=True)]
            difference = max(difference, *(float(np.abs(a - b).max()) for a, b in pairs))
        if number in measured:
            seen.append(number * args.batch)
            held_out.append(log_loss(model.predict(test.bags), test.clicked))

    return Compared(
        test,
        model.predict(test.bags),
        best_constant(clicks / seen[-1], args.held_out),
        seen,
        held_out,
        time.perf_counter() - start,
        difference,
        ours_times,
        plain_times,
    )


# --- What a sparse gradient means -----------------------------------------------------------------


class Meaning(NamedTuple):
    """What Adam makes of gradients that name few rows.

    With ``sparse="keras"``, momentum goes on moving all others, in a sweep over the tables; with
    ``"lazy"``, they stay where they are; with ``"deferred"``, they move as Keras says, when they
    are next read.
    """

    sparse: str
    seconds: float  # of a batch's pooling and step, median
    loss: float  # on held-out data
    tables: list[Array]


def compare_meanings(args: argparse.Namespace) -> list[Meaning]:
    """The same batches, from the same start, by each."""
    found = []
    for sparse in ("keras", "deferred", "lazy"):
        rng = np.random.default_rng(args.seed)
        world, model = World(rng), Model(args, rng, SPARE)
        test = world.draw(args.held_out // 10, rng)
        tables = [
            slotwise.Variable(table, name=feature.name)
            for table, feature in zip(model.tables, FEATURES, strict=True)
        ]
        model.tables = tables  # which show rows as they are now
        optimizer = slotwise.optimizers.Adam(0.002, sparse=sparse)
        optimizer.build([*tables, *model.dense])
        times = []
        for _ in range(args.meanings):
            batch = world.draw(args.batch, rng)
            t0 = time.perf_counter()
            pooled = model.pool(batch.bags)
            t1 = time.perf_counter()
            h, logit = model.forward(pooled)
            grad, dense = model.backward(pooled, h, logit, batch.clicked)
            pairs = model.gradients(batch.bags, grad, [x / args.batch for x in dense])
            t2 = time.perf_counter()
            optimizer.apply_gradients(pairs)
            times.append(time.perf_counter() - t2 + t1 - t0)
        loss = log_loss(model.predict(test.bags), test.clicked)
        values = [table.numpy() for table in tables]
        found.append(Meaning(sparse, float(np.median(times)), loss, values))
    return found


def differences(meanings: list[Meaning]) -> dict[str, float]:
    """How far the tables of each are from those of Keras, at most."""
    first = meanings[0]
    return {
        each.sparse: max(
            float(np.abs(a - b).max()) for a, b in zip(each.tables, first.tables, strict=True)
        )
        for each in meanings
    }


def summary_of(meanings: list[Meaning]) -> str:
    rows, far = sum(map(len, meanings[0].tables)), differences(meanings)
    lines = [f"Adam on {rows:,} rows   ms per batch   log loss   tables differ from Keras's by"]
    for each in meanings:
        name = f'sparse="{each.sparse}"'
        lines.append(
            f"{name:22} {1e3 * each.seconds:>12.2f} {each.loss:>10.4f}   {far[each.sparse]:.2g}"
        )
    return "\n".join(lines)


# --- Report ---------------------------------------------------------------------------------------


def scores(result: Result) -> str:
    scores = {
        "constant": result.score(result.constant),
        "this model": result.score(result.logit),
        "the truth": result.score(result.test.logit),
    }
    lines = [f"{'':12} log loss      AUC"]
    lines += [f"{name:12} {loss:>8.4f} {area:>8.4f}" for name, (loss, area) in scores.items()]
    lines.append(f"the model has gone {result.share:.1%} of the way from the constant to the truth")
    return "\n".join(lines)


def summary(result: Compared) -> str:
    ours, plain = result.compared()
    lines = [
        scores(result),
        "",
        f"trained on {result.seen[-1]:,} impressions in {result.seconds:.1f} s, with drawing them "
        f"and comparing; {result.examples_per_s:,.0f} examples per second without",
        f"{'ms per batch':12} {'slotwise':>8}    NumPy   ratio",
    ]
    for name, a, b in (("pooling", ours.pooling, plain.pooling), ("step", ours.step, plain.step)):
        lines.append(f"{name:12} {a:>8.2f} {b:>8.2f} {b / a:>6.1f}x")
    lines.append(f"pooled rows and tables differ by {result.largest_difference:.2g} at most")
    return "\n".join(lines)


INK, FAINT = "#333333", "#dddddd"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#00825f", "#888888"


def draw_losses(axes: Any, result: Result) -> None:
    axes.semilogx(result.seen, result.held_out, color=BLUE, lw=2)
    for name, logit, color in (
        ("a constant", result.constant, GREY),
        ("the model", result.logit, BLUE),
        ("the true probabilities", result.test.logit, GREEN),
    ):
        loss, area = result.score(logit)
        if logit is not result.logit:
            axes.axhline(loss, color=color, lw=1.5, ls="--")
        text = f"{name}: {loss:.3f}, AUC {area:.3f}"
        offset = 4 if logit is result.constant else -13
        at = (result.seen[-1], loss)
        axes.annotate(text, at, (0, offset), textcoords="offset points", ha="right", color=color)
    axes.margins(x=0.02, y=0.1)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlabel="impressions seen", ylabel="mean log loss")
    axes.set_title("Held-out impressions", loc="left", weight="bold")
    axes.grid(color=FAINT, lw=0.6)


def draw_probabilities(axes: Any, result: Result) -> None:
    """What the model says, against the truth that it has never seen, and against clicks."""
    truth, model = sigmoid(result.test.logit), sigmoid(result.logit)
    axes.hexbin(truth, model, gridsize=40, extent=(0, 1, 0, 1), bins="log", cmap="Blues", lw=0.2)
    parts = np.array_split(np.argsort(model), 20)  # of as many impressions each
    clicked, said = (
        [float(x[part].mean()) for part in parts] for x in (result.test.clicked, model)
    )
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    label = "share that was clicked, of\nimpressions with such a prediction"
    axes.plot(clicked, said, "o", color=ORANGE, ms=4.5, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="true probability", ylabel="prediction")
    axes.set_title("Predictions and the truth", loc="left", weight="bold")
    axes.legend(frameon=False, loc="upper left", handletextpad=0)


def draw_times(axes: Any, result: Compared) -> None:
    ours, plain = result.compared()
    threads = slotwise.get_num_threads()
    for y, times in enumerate((ours, plain)):
        left = 0.0
        for width, color in zip(times, (GREEN, "#cfcfcf", BLUE), strict=True):
            axes.barh(y, width, 0.5, left=left, color=color)
            left += width
        axes.text(left, y, f" {left:.1f} ms", va="center")
    axes.set_yticks([0, 1], [f"slotwise,\n{threads} threads", "NumPy,\n1 thread"])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.2, y=0.4)
    axes.set_xlabel("milliseconds")
    axes.set_title("Time of a batch", loc="left", weight="bold")
    handles = [Patch(color=c) for c in (GREEN, "#cfcfcf", BLUE)]
    names = ["pooling", "dense layers", "step"]
    axes.legend(handles, names, frameon=False, ncols=3, loc="upper center", columnspacing=1)
    axes.grid(axis="x", color=FAINT, lw=0.6)


def plot(result: Result, path: Path, draw_third: Callable[[Any], None]) -> None:
    style: Any = {
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
    }
    with plt.rc_context(style):
        figure, (losses, probabilities, third) = plt.subplots(
            1, 3, figsize=(14, 4.8), width_ratios=[1.15, 1, 1], layout="constrained"
        )
        draw_losses(losses, result)
        draw_probabilities(probabilities, result)
        draw_third(third)
        for axes in (losses, probabilities, third):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(which="both", color=FAINT, labelcolor=INK)
            axes.set_axisbelow(True)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def parser(doc: str) -> argparse.ArgumentParser:
    """What is asked about a training, of whatever kind."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=3_000_000, help="impressions to train on")
    parser.add_argument("--held-out", type=int, default=100_000, help="impressions to test on")
    parser.add_argument("--dim", type=int, default=16, help="elements in a row of a table")
    parser.add_argument("--hidden", type=int, default=64, help="units in the hidden layer")
    parser.add_argument("--lr", type=float, default=0.1, help="at most; it rises first, then falls")
    parser.add_argument("--batch", type=int, default=2048, help="impressions in a batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    return parser


def introduction(args: argparse.Namespace) -> str:
    rows = sum(feature.rows for feature in FEATURES)
    return (
        f"{len(FEATURES)} tables of {rows:,} rows x {args.dim} in all; bags of 0 to 15 ids\n"
        f"slotwise {slotwise.__version__} on {slotwise.active_target()}, NumPy {np.__version__}"
    )


def shortfalls(result: Result) -> list[str]:
    if result.share >= REQUIRED_SHARE:
        return []
    return [f"that is less than {REQUIRED_SHARE:.0%} of the way"]


def main() -> int:
    plt.switch_backend("Agg")  # draws to a file: no display needed
    options = parser(__doc__)
    options.add_argument(
        "--compare", type=int, default=100, help="batches that NumPy trains on, too"
    )
    options.add_argument(
        "--meanings",
        type=int,
        default=60,
        help="batches to compare meanings of sparse gradients by",
    )
    args = options.parse_args()

    print(introduction(args))
    with threadpool_limits(1, user_api="blas"):  # the layers are small
        result = train(args)
        meanings = compare_meanings(args)
    print("\n" + summary(result))
    print("\n" + summary_of(meanings))
    path = args.out / "clicks.png"
    plot(result, path, lambda axes: draw_times(axes, result))
    print(f"\nloss, predictions and times: {path}")

    faults = shortfalls(result)
    if not result.largest_difference <= LARGEST_DIFFERENCE:
        faults.append("the tables trained by slotwise and by NumPy differ")
    far = differences(meanings)
    if not far["deferred"] <= LARGEST_SHARE * far["lazy"]:
        faults.append("the tables of deferred updates are not Keras's")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
