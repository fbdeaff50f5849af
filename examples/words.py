# SPDX-License-Identifier: Apache-2.0
"""Learns what words have in common from the text of Python's ``help()``, with sparse updates.

Skip-gram with negative sampling (Mikolov et al., 2013) on ``pydoc_data.topics``, which comes with
Python. A batch reads rows of two tables with ``slotwise.gather``, computes their gradients in
NumPy, and updates the rows with ``slotwise.raw_ops.SparseApplyAdagradV2``. A batch has a frequent
word many times: its gradients are summed, then applied once (``duplicates="sum"``). Every gradient
also goes to the same update in plain NumPy (``plain_numpy.py``), on tables of its own, to compare
time and result.

Prints the neighbours of some words and the rows updated per second, draws ``out/words.png``, and
exits with an error if held-out text is not predicted better than from the frequencies of words
alone, if too few of the pairs in ``RELATED`` are neighbours, or if the two ways of updating differ.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import plain_numpy
import slotwise
from slotwise import raw_ops
from tqdm import tqdm

Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

SHOWN = ["tuple", "string", "integer", "float", "class", "method", "exception", "import", "async"]
NEIGHBOURS = 10  # what counts as near
RELATED = [  # word pairs of which one should be among the NEIGHBOURS nearest of the other
    *["list tuple", "int float", "float integer", "float complex", "float decimal", "str bytes"],
    *["string characters", "true false", "mutable immutable", "sequence mapping", "key value"],
    *["key dictionary", "class instance", "class metaclass", "base derived", "method methods"],
    *["attribute attributes", "try except", "try finally", "raise exception", "exception handler"],
    *["break continue", "for while", "if else", "async await", "async coroutine"],
    *["yield generator", "local global", "global nonlocal", "import module", "module package"],
    *["keyword positional", "left right", "binary unary"],
]
REQUIRED_RELATED = 18  # of them
LARGEST_DIFFERENCE = 1e-4  # between tables updated by slotwise and by NumPy; usually 0


# --- Text -----------------------------------------------------------------------------------------


@dataclass
class Text:
    """The frequent words of a text, by number, in the order in which they stand there."""

    words: list[str]  # the most frequent first
    counts: Ids
    ids: Ids  # the text
    paragraph: Ids  # of each of `ids`
    held_out: npt.NDArray[np.bool_]  # whether each of `ids` is kept from training

    def __post_init__(self) -> None:
        self.number = {word: i for i, word in enumerate(self.words)}


def load(min_count: int, held_out: float, rng: np.random.Generator) -> Text:
    split = (re.split(r"\n\s*\n", topics[name]) for name in sorted(topics))
    distinct = dict.fromkeys(paragraph for parts in split for paragraph in parts)
    paragraphs = [re.findall(r"_*[a-z]{2,}[a-z_]*", p.lower()) for p in distinct]
    counter = Counter(word for paragraph in paragraphs for word in paragraph)
    common = [(word, n) for word, n in counter.most_common() if n >= min_count]
    number = {word: i for i, (word, _) in enumerate(common)}
    pairs = [(number[w], i) for i, p in enumerate(paragraphs) for w in p if w in number]
    ids, paragraph = np.array(pairs).T.copy()
    chosen = rng.random(len(paragraphs)) < held_out
    return Text(
        [w for w, _ in common], np.array([n for _, n in common]), ids, paragraph, chosen[paragraph]
    )


class Sampler:
    """Draws what to learn from: pairs of words that stand near each other, and noise."""

    def __init__(self, text: Text, args: argparse.Namespace, rng: np.random.Generator) -> None:
        self.text, self.window, self.negatives, self.rng = text, args.window, args.negatives, rng
        # Frequent words say little: they are left out more often than not.
        excess = args.subsample * text.counts.sum() / text.counts
        self.keep = np.minimum(1, np.sqrt(excess) + excess)
        noise = np.cumsum(text.counts**0.75)
        self.noise = noise / noise[-1]

    def pairs(self, chosen: npt.NDArray[np.bool_]) -> tuple[Ids, Ids]:
        """Words, and a word for each that is at most 1 to `window` (drawn anew) words away."""
        ids, paragraph = self.text.ids[chosen], self.text.paragraph[chosen]
        kept = self.rng.random(len(ids)) < self.keep[ids]
        ids, paragraph = ids[kept], paragraph[kept]
        reach = self.rng.integers(1, self.window, len(ids), endpoint=True)
        words, contexts = [], []
        for distance in range(1, self.window + 1):
            before, after = ids[:-distance], ids[distance:]
            together = paragraph[:-distance] == paragraph[distance:]
            for word, context, far in (
                (before, after, reach[:-distance]),
                (after, before, reach[distance:]),
            ):
                near = together & (far >= distance)
                words.append(word[near])
                contexts.append(context[near])
        order = self.rng.permutation(sum(map(len, words)))
        return np.concatenate(words)[order], np.concatenate(contexts)[order]

    def with_noise(self, contexts: Ids) -> Ids:
        """A row for each: the true context, then `negatives` words drawn by frequency^0.75."""
        drawn = np.searchsorted(self.noise, self.rng.random((len(contexts), self.negatives)))
        return np.column_stack([contexts, drawn])


# --- The model ------------------------------------------------------------------------------------


class Tables:
    """A vector for each word, another for it as a context, and Adagrad's slot for both."""

    def __init__(self, rows: int, dim: int, rng: np.random.Generator) -> None:
        self.words = slotwise.empty((rows, dim))
        self.words[...] = (rng.random((rows, dim), np.float32) - np.float32(0.5)) / np.float32(dim)
        self.contexts = slotwise.zeros((rows, dim))
        self.words_accum = slotwise.full((rows, dim), 0.1)
        self.contexts_accum = slotwise.full((rows, dim), 0.1)
        self.rows_updated = 0
        self.update_s = 0.0

    def update(self, ops: Any, lr: float, words: Ids, contexts: Ids, grads: list[Array]) -> None:
        """`ops` is slotwise.raw_ops, or plain_numpy for the comparison."""
        start = time.perf_counter()
        for var, accum, ids, grad in (
            (self.words, self.words_accum, words, grads[0]),
            (self.contexts, self.contexts_accum, contexts, grads[1]),
        ):
            ops.SparseApplyAdagradV2(
                var=var,
                accum=accum,
                lr=lr,
                epsilon=1e-7,
                grad=grad,
                indices=ids,
                duplicates="sum",
            )
            self.rows_updated += len(ids)
        self.update_s += time.perf_counter() - start

    @property
    def rows_per_s(self) -> float:
        return self.rows_updated / self.update_s


def loss_of(signed: npt.NDArray[Any]) -> float:
    """Mean over the pairs of -log sigmoid, summed over the true context and the noise."""
    return float(np.logaddexp(0, -signed).sum(axis=1).mean())


def forward(tables: Tables, words: Ids, contexts: Ids) -> tuple[Array, Array, Array]:
    """The rows that were read, and their scores; the noise's with the sign turned."""
    word, context = slotwise.gather(tables.words, words), slotwise.gather(tables.contexts, contexts)
    signed = np.einsum("bd,bkd->bk", word, context)
    signed[:, 1:] *= np.float32(-1)
    return word, context, signed


def loss_and_grads(tables: Tables, words: Ids, contexts: Ids) -> tuple[float, list[Array]]:
    """The loss, and its gradient (summed over the batch) for each row that was read."""
    word, context, signed = forward(tables, words, contexts)
    delta = np.float32(1) / (np.float32(1) + np.exp(signed))
    delta[:, 0] *= np.float32(-1)
    grad_word = np.einsum("bk,bkd->bd", delta, context)
    grad_context = (delta[:, :, None] * word[:, None, :]).reshape(-1, word.shape[1])
    return loss_of(signed), [grad_word, grad_context]


def frequency_loss(text: Text, sampler: Sampler, contexts: Ids) -> float:
    """The loss of the best scores that know the context's frequency, but not the word."""
    seen = np.bincount(sampler.pairs(~text.held_out)[1], minlength=len(text.words)) + 1
    noise = np.diff(sampler.noise, prepend=0)
    score = np.log(seen / seen.sum()) - np.log(sampler.negatives * noise)
    signed = score[contexts]
    signed[:, 1:] *= -1
    return loss_of(signed)


# --- Training -------------------------------------------------------------------------------------


@dataclass
class Result:
    ours: Tables
    plain: Tables
    training: list[float]  # mean loss of each epoch
    held_out: list[float]  # before training, and after each epoch
    frequency: float  # held-out loss from the frequencies of words alone
    pairs: int
    seconds: float

    @property
    def difference(self) -> float:
        names = ("words", "contexts", "words_accum", "contexts_accum")
        both = ((getattr(self.ours, n), getattr(self.plain, n)) for n in names)
        return max(float(np.abs(a - b).max()) for a, b in both)


def train(text: Text, args: argparse.Namespace) -> Result:
    start = time.perf_counter()
    ours, plain = (
        Tables(len(text.words), args.dim, np.random.default_rng(args.seed)) for _ in range(2)
    )
    sampler = Sampler(text, args, np.random.default_rng(args.seed + 1))
    test_words, test_contexts = sampler.pairs(text.held_out)
    test_contexts = sampler.with_noise(test_contexts)

    def test_loss() -> float:
        return loss_of(forward(ours, test_words, test_contexts)[2])

    frequency = frequency_loss(text, sampler, test_contexts)
    result = Result(ours, plain, [], [test_loss()], frequency, 0, 0.0)
    with tqdm(total=args.epochs, unit="epoch", dynamic_ncols=True) as bar:
        for epoch in range(args.epochs):
            words, contexts = sampler.pairs(~text.held_out)
            losses = []
            for first in range(0, len(words), args.batch):
                # Down to zero over the whole training.
                lr = args.lr * (1 - (epoch + first / len(words)) / args.epochs)
                w = words[first : first + args.batch]
                c = sampler.with_noise(contexts[first : first + args.batch])
                loss, grads = loss_and_grads(ours, w, c)
                ours.update(raw_ops, lr, w, c.ravel(), grads)
                plain.update(plain_numpy, lr, w, c.ravel(), grads)
                losses.append(loss)
            result.pairs += len(words)
            result.training.append(float(np.mean(losses)))
            result.held_out.append(test_loss())
            bar.set_postfix_str(f"loss {losses[-1]:.3f}, held out {result.held_out[-1]:.3f}")
            bar.update()
    result.seconds = time.perf_counter() - start
    return result


# --- What was learned -----------------------------------------------------------------------------


class Neighbours:
    """Cosines between words, without what all vectors have in common."""

    def __init__(self, text: Text, table: Array) -> None:
        self.text = text
        centred = table - table.mean(axis=0)
        self.vectors = centred / np.linalg.norm(centred, axis=1, keepdims=True)

    def of(self, word: str, count: int) -> list[str]:
        cosines = self.vectors @ self.vectors[self.text.number[word]]
        nearest = np.argsort(-cosines, kind="stable")[: count + 1]
        return [self.text.words[i] for i in nearest if self.text.words[i] != word]

    def near(self, pair: str) -> bool:
        a, b = pair.split()
        known = a in self.text.number and b in self.text.number
        return known and (a in self.of(b, NEIGHBOURS) or b in self.of(a, NEIGHBOURS))


# --- Report ---------------------------------------------------------------------------------------


def summary(result: Result, nearest: Neighbours) -> str:
    lines = [f"{'nearest to':10}"]
    lines += [f"{word:>10}   {', '.join(nearest.of(word, 7))}" for word in SHOWN]
    ours, plain = result.ours.rows_per_s, result.plain.rows_per_s
    lines += [
        "",
        f"trained on {result.pairs:,} pairs in {result.seconds:.1f} s, with both ways of updating",
        f"rows updated per second: slotwise {ours / 1e6:.1f} million, plain NumPy "
        f"{plain / 1e6:.1f} million; ratio {ours / plain:.1f}x; tables differ by "
        f"{result.difference:.2g}",
        f"held-out loss: {result.held_out[0]:.3f} before training, {result.held_out[-1]:.3f} after;"
        f" {result.frequency:.3f} from frequencies alone",
    ]
    return "\n".join(lines)


INK, FAINT = "#333333", "#dddddd"
COLORS = ["#0072b2", "#d55e00", "#00825f", "#b5579a", "#8c6d1f", "#4b4fa8", "#2f86ad", "#a3333d"]
MAPPED = ["tuple", "string", "float", "class", "exception", "import", "async", "global"]


def spread(boxes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Moves boxes (x, y, width, height; x and y of the centre) apart until none overlap."""
    at: npt.NDArray[Any] = boxes[:, :2].copy()
    size = boxes[:, 2:]
    need = (size[:, None] + size) / 2
    first = np.sign(np.subtract.outer(np.arange(len(at)), np.arange(len(at))))[:, :, None]
    for _ in range(1000):
        apart = at[:, None] - at
        missing = need - np.abs(apart)
        overlap = (missing > 0).all(axis=2) & (first[:, :, 0] != 0)
        if not overlap.any():
            break
        shorter = missing.argmin(axis=2)[:, :, None] == np.arange(2)
        direction = np.where(apart == 0, first, np.sign(apart))
        at += 0.3 * (missing * direction * (shorter & overlap[:, :, None])).sum(axis=1)
    return at


def draw_words(axes: Any, nearest: Neighbours) -> None:
    """The words of MAPPED with their neighbours, along the two main directions of them all."""
    color = dict(zip(MAPPED, COLORS, strict=True))
    for word in MAPPED:
        for neighbour in nearest.of(word, 7):
            color.setdefault(neighbour, color[word])
    vectors = nearest.vectors[[nearest.text.number[word] for word in color]]
    vectors = vectors - vectors.mean(axis=0)
    points = vectors @ np.linalg.svd(vectors, full_matrices=False)[2][:2].T
    (left, bottom), (right, top) = points.min(axis=0), points.max(axis=0)
    dx, dy = 0.09 * (right - left), 0.04 * (top - bottom)
    axes.set(xlim=(left - dx, right + dx), ylim=(bottom - dy, top + dy), xticks=[], yticks=[])
    texts = []
    for point, word in zip(points, color, strict=True):
        bold = {"weight": "bold", "fontsize": 12} if word in MAPPED else {"fontsize": 9.5}
        texts.append(axes.text(*point, word, color=color[word], ha="center", va="center", **bold))
    axes.figure.canvas.draw()  # lays everything out, so that texts have sizes in pixels
    extents = [text.get_window_extent() for text in texts]
    boxes = np.array([[(e.x0 + e.x1) / 2, (e.y0 + e.y1) / 2, e.width, e.height] for e in extents])
    boxes[:, 2:] += [6, 2]
    for text, at in zip(texts, axes.transData.inverted().transform(spread(boxes)), strict=True):
        text.set_position(at)


def plot(result: Result, nearest: Neighbours, path: Path) -> None:
    style: Any = {
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
    }
    with plt.rc_context(style):
        figure = plt.figure(figsize=(13, 6.6), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.9], height_ratios=[3, 1])
        loss, speed = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
        words = figure.add_subplot(grid[:, 1])

        epochs = np.arange(1, len(result.training) + 1)
        loss.plot(epochs, result.training, color=COLORS[0], lw=2, label="training")
        loss.plot(epochs, result.held_out[1:], color=COLORS[1], lw=2, label="held-out text")
        label = "held-out text, from frequencies alone"
        loss.axhline(result.frequency, color="#888888", lw=1.5, ls="--", label=label)
        loss.set(xlabel="epoch", ylabel="mean loss of a pair")
        loss.locator_params(axis="x", integer=True)
        loss.margins(y=0.15)
        loss.set_title("Skip-gram loss", loc="left", weight="bold")
        loss.legend(frameon=False)

        rates = [result.ours.rows_per_s / 1e6, result.plain.rows_per_s / 1e6]
        speed.barh([0, 1], rates, 0.6, color=[COLORS[0], "#b0b0b0"])
        for y, rate in enumerate(rates):
            speed.text(rate, y, f" {rate:.1f}", va="center")
        speed.set_yticks([0, 1], ["slotwise", "plain NumPy"])
        speed.invert_yaxis()
        speed.margins(x=0.12)
        speed.set_xlabel("millions of rows per second")
        speed.set_title("Sparse Adagrad", loc="left", weight="bold")

        loss.grid(color=FAINT, lw=0.6)
        speed.grid(axis="x", color=FAINT, lw=0.6)
        for axes in (loss, speed):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(which="both", color=FAINT, labelcolor=INK)
            axes.set_axisbelow(True)
        speed.tick_params(axis="y", length=0)

        words.set_title("Words by meaning: two main directions", loc="left", weight="bold")
        words.set_facecolor("#fafafa")
        draw_words(words, nearest)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def main() -> int:
    plt.switch_backend("Agg")  # draws to a file: no display needed
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--dim", type=int, default=64, help="elements in a vector")
    parser.add_argument("--window", type=int, default=5, help="largest distance of two words")
    parser.add_argument("--negatives", type=int, default=5, help="noise words for each pair")
    parser.add_argument("--subsample", type=float, default=1e-4, help="share of a frequent word")
    parser.add_argument("--min-count", type=int, default=8, help="of a word that is learned")
    parser.add_argument("--lr", type=float, default=0.1, help="at the start; falls to 0")
    parser.add_argument("--batch", type=int, default=4096, help="pairs in a batch")
    parser.add_argument("--held-out", type=float, default=0.05, help="share of the paragraphs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    args = parser.parse_args()

    text = load(args.min_count, args.held_out, np.random.default_rng(args.seed))
    print(
        f"{len(text.ids):,} words to learn from, {len(text.words)} distinct; "
        f"two tables of {len(text.words)} x {args.dim}"
    )
    print(f"slotwise {slotwise.__version__} on {slotwise.active_target()}, NumPy {np.__version__}")
    slotwise.set_num_threads(1)  # like NumPy's update; the result has the same bits with more
    result = train(text, args)
    nearest = Neighbours(text, result.ours.words)
    found = [pair for pair in RELATED if nearest.near(pair)]
    print("\n" + summary(result, nearest))
    print(f"related pairs that are near: {len(found)} of {len(RELATED)}")
    path = args.out / "words.png"
    plot(result, nearest, path)
    print(f"\nmap of words: {path}")

    failed = False
    if not result.held_out[-1] < result.frequency:
        print("held-out text is not predicted better than from the frequencies of words")
        failed = True
    if not len(found) >= REQUIRED_RELATED:
        print(f"only {len(found)} related pairs are near, fewer than {REQUIRED_RELATED}")
        failed = True
    if not result.difference <= LARGEST_DIFFERENCE:
        print("the tables updated by slotwise and by NumPy differ")
        failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
