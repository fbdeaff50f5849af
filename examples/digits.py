# SPDX-License-Identifier: Apache-2.0
"""Trains a two-layer network on handwritten digits with four optimizers.

The forward and backward passes are NumPy; the optimizer step is one call of ``slotwise.raw_ops``
per array. Each training runs a second time with the same step written in plain NumPy
(``plain_numpy.py``), from the same weights and on the same batches, to compare time and result.

Prints a table, writes the loss curves to ``out/digits.png``, and exits with an error if a test
accuracy is not over 96 % or if the two ways of training do not agree.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import plain_numpy
import slotwise
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from slotwise import raw_ops
from threadpoolctl import threadpool_limits
from tqdm import tqdm

Array = npt.NDArray[np.float32]

REQUIRED_ACCURACY = 0.96
LARGEST_DIFFERENCE = 1e-4  # between weights trained by slotwise and by NumPy; usually 0


# --- The optimizers: slots, and one raw op per array ----------------------------------------------
# `ops` is slotwise.raw_ops, or plain_numpy for the comparison.


class Adam:
    def __init__(self, params: list[Array], ops: Any) -> None:
        self.ops, self.params, self.steps = ops, params, 0
        self.m = [np.zeros_like(w) for w in params]
        self.v = [np.zeros_like(w) for w in params]

    def step(self, grads: list[Array]) -> None:
        self.steps += 1
        for w, m, v, g in zip(self.params, self.m, self.v, grads, strict=True):
            self.ops.ApplyAdam(
                var=w,
                m=m,
                v=v,
                beta1_power=0.9**self.steps,
                beta2_power=0.999**self.steps,
                lr=1e-3,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-7,
                grad=g,
            )


class RMSProp:
    def __init__(self, params: list[Array], ops: Any) -> None:
        self.ops, self.params = ops, params
        self.ms = [np.zeros_like(w) for w in params]
        self.mom = [np.zeros_like(w) for w in params]

    def step(self, grads: list[Array]) -> None:
        for w, ms, mom, g in zip(self.params, self.ms, self.mom, grads, strict=True):
            self.ops.ApplyRMSProp(
                var=w, ms=ms, mom=mom, lr=5e-4, rho=0.9, momentum=0.5, epsilon=1e-7, grad=g
            )


class Ftrl:
    lr = 0.1

    def __init__(self, params: list[Array], ops: Any) -> None:
        self.ops, self.params = ops, params
        self.accum = [np.full_like(w, 0.1) for w in params]
        # Ftrl rebuilds the weights from `linear` in every step. These values are the ones that
        # give the initial weights; with zeros, the first step would forget them.
        self.linear = [
            -w * np.sqrt(a) / np.float32(self.lr) for w, a in zip(params, self.accum, strict=True)
        ]

    def step(self, grads: list[Array]) -> None:
        for w, accum, linear, g in zip(self.params, self.accum, self.linear, grads, strict=True):
            self.ops.ApplyFtrl(
                var=w, accum=accum, linear=linear, grad=g, lr=self.lr, l1=0.0, l2=0.0, lr_power=-0.5
            )


class KerasMomentum:
    def __init__(self, params: list[Array], ops: Any) -> None:
        self.ops, self.params = ops, params
        self.accum = [np.zeros_like(w) for w in params]

    def step(self, grads: list[Array]) -> None:
        for w, accum, g in zip(self.params, self.accum, grads, strict=True):
            self.ops.ApplyKerasMomentum(
                var=w, accum=accum, lr=0.05, grad=g, momentum=0.9, use_nesterov=True
            )


OPTIMIZERS: list[Callable[[list[Array], Any], Any]] = [Adam, RMSProp, Ftrl, KerasMomentum]


# --- The network ----------------------------------------------------------------------------------


def initial_params(hidden: int, rng: np.random.Generator) -> list[Array]:
    """Weights and biases of 64 pixels -> `hidden` ReLU units -> 10 classes (He, Glorot)."""
    w1 = rng.standard_normal((64, hidden), np.float32) * np.float32(np.sqrt(2 / 64))
    w2 = rng.standard_normal((hidden, 10), np.float32) * np.float32(np.sqrt(1 / hidden))
    return [w1, np.zeros(hidden, np.float32), w2, np.zeros(10, np.float32)]


def forward(params: list[Array], x: Array) -> tuple[Array, Array]:
    """The hidden layer and the logarithms of the class probabilities."""
    w1, b1, w2, b2 = params
    h = np.maximum(x @ w1 + b1, np.float32(0))
    logits = h @ w2 + b2
    logits -= logits.max(axis=1, keepdims=True)
    return h, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def loss_and_grads(params: list[Array], x: Array, y: npt.NDArray[Any]) -> tuple[float, list[Array]]:
    """Mean cross entropy, and its gradient for each of `params`."""
    h, log_p = forward(params, x)
    rows = np.arange(len(y))
    delta = np.exp(log_p)
    delta[rows, y] -= np.float32(1)
    delta /= np.float32(len(y))
    back = (delta @ params[2].T) * (h > 0)
    grads = [x.T @ back, back.sum(axis=0), h.T @ delta, delta.sum(axis=0)]
    return -float(log_p[rows, y].mean()), grads


# --- Training -------------------------------------------------------------------------------------


@dataclass
class Data:
    x_train: Array
    x_test: Array
    y_train: npt.NDArray[Any]
    y_test: npt.NDArray[Any]


def load(seed: int) -> Data:
    digits = load_digits()
    x, y = (digits.data / 16.0).astype(np.float32), digits.target
    return Data(*train_test_split(x, y, test_size=0.2, random_state=seed, stratify=y))


class Training:
    """One network with its optimizer, and where its time went."""

    def __init__(self, optimizer: Any, ops: Any, data: Data, args: argparse.Namespace) -> None:
        self.rng = np.random.default_rng(args.seed)
        self.params = initial_params(args.hidden, self.rng)
        self.optimizer = optimizer(self.params, ops)
        self.data, self.batch = data, args.batch
        self.losses: list[float] = []  # mean training loss of each epoch
        self.steps = 0
        self.passes_s = 0.0  # forward and backward
        self.optimizer_s = 0.0

    def epoch(self) -> None:
        data = self.data
        order = self.rng.permutation(len(data.y_train))
        losses = []
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            x, y = data.x_train[rows], data.y_train[rows]
            t0 = time.perf_counter()
            loss, grads = loss_and_grads(self.params, x, y)
            t1 = time.perf_counter()
            self.optimizer.step(grads)
            t2 = time.perf_counter()
            self.passes_s += t1 - t0
            self.optimizer_s += t2 - t1
            self.steps += 1
            losses.append(loss)
        self.losses.append(float(np.mean(losses)))

    @property
    def accuracy(self) -> float:
        predicted = forward(self.params, self.data.x_test)[1].argmax(axis=1)
        return float((predicted == self.data.y_test).mean())

    @property
    def share(self) -> float:
        return self.optimizer_s / (self.optimizer_s + self.passes_s)

    @property
    def step_us(self) -> float:
        return 1e6 * self.optimizer_s / self.steps

    @property
    def passes_us(self) -> float:
        return 1e6 * self.passes_s / self.steps


Results = dict[str, tuple[Training, Training]]  # name: (slotwise, plain NumPy)


def largest_difference(a: Training, b: Training) -> float:
    return max(float(np.abs(p - q).max()) for p, q in zip(a.params, b.params, strict=True))


# --- Report ---------------------------------------------------------------------------------------


def table(results: Results) -> str:
    """Test accuracy, share and time of the optimizer step with both, and how far they differ."""
    head = f"{'':15} {'test':>8}   {'share of the optimizer':^25}   {'one optimizer step':^33}"
    columns = f"{'slotwise':>12} {'plain NumPy':>12}"
    lines = [
        f"{head}   weights",
        f"{'':15} accuracy   {columns}   {columns}   ratio   differ by",
    ]
    lines.append("-" * len(lines[-1]))
    for name, (ours, plain) in results.items():
        lines.append(
            f"{name:15} {ours.accuracy:>8.2%}   {ours.share:>12.1%} {plain.share:>12.1%}   "
            f"{ours.step_us:>9.1f} us {plain.step_us:>9.1f} us   "
            f"{plain.step_us / ours.step_us:>4.1f}x   {largest_difference(ours, plain):.2g}"
        )
    return "\n".join(lines)


def plot(results: Results, path: Path) -> None:
    ink, faint, passes = "#333333", "#dddddd", "#cfcfcf"
    colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]  # told apart with any colour vision
    style: Any = {
        "font.size": 10,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": faint,
    }
    with plt.rc_context(style):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(12, 4.8), width_ratios=[1, 1], layout="constrained"
        )
        for color, (name, (ours, _)) in zip(colors, results.items(), strict=True):
            label = f"{name}: {ours.accuracy:.1%} of the test images right"
            left.plot(range(1, len(ours.losses) + 1), ours.losses, color=color, lw=2, label=label)
        left.set(yscale="log", xlabel="epoch", ylabel="mean cross entropy")
        left.set_title("Training loss", loc="left", weight="bold")
        left.legend(frameon=False)

        for row, (color, pair) in enumerate(zip(colors, results.values(), strict=True)):
            for offset, which, run in zip((-0.2, 0.2), ("slotwise", "NumPy"), pair, strict=True):
                y = row + offset
                right.barh(y, run.passes_us, 0.34, color=passes)
                right.barh(y, run.step_us, 0.34, left=run.passes_us, color=color)
                end = run.passes_us + run.step_us
                note = f" {which}: {run.step_us:.0f} us, {run.share:.0%}"
                right.text(end, y, note, va="center", fontsize=9)
        right.set_yticks(range(len(results)), list(results))
        right.tick_params(axis="y", length=0)
        right.invert_yaxis()
        right.margins(x=0.35)
        right.set_xlabel("microseconds per minibatch")
        right.set_title("Time: network in grey, optimizer in colour", loc="left", weight="bold")

        for axes, which in ((left, "both"), (right, "x")):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(which="both", color=faint, labelcolor=ink)
            axes.grid(axis=which, color=faint, lw=0.6)
            axes.set_axisbelow(True)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def main() -> int:
    plt.switch_backend("Agg")  # draws to a file: no display needed
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--hidden", type=int, default=512, help="units in the hidden layer")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out")
    args = parser.parse_args()

    data = load(args.seed)
    count = sum(p.size for p in initial_params(args.hidden, np.random.default_rng(0)))
    print(f"{len(data.y_train)} images to train on, {len(data.y_test)} to test; {count} parameters")
    print(f"slotwise {slotwise.__version__} on {slotwise.active_target()}, NumPy {np.__version__}")

    results: Results = {}
    # One thread for everything: the arrays are small, and NumPy's step has no more.
    slotwise.set_num_threads(1)
    blas = threadpool_limits(1, user_api="blas")
    with blas, tqdm(total=len(OPTIMIZERS) * args.epochs, unit="epoch", dynamic_ncols=True) as bar:
        for optimizer in OPTIMIZERS:
            bar.set_description(f"{optimizer.__name__:13}")
            ours = Training(optimizer, raw_ops, data, args)
            plain = Training(optimizer, plain_numpy, data, args)
            for _ in range(args.epochs):  # in turn, so that both see the same machine
                ours.epoch()
                plain.epoch()
                bar.set_postfix_str(f"loss {ours.losses[-1]:.4f}")
                bar.update()
            results[optimizer.__name__] = ours, plain

    print("\n" + table(results))
    path = args.out / "digits.png"
    plot(results, path)
    print(f"\nloss curves: {path}")

    failed = False
    for name, (ours, plain) in results.items():
        if not ours.accuracy > REQUIRED_ACCURACY:
            print(f"{name}: test accuracy {ours.accuracy:.2%} is not over {REQUIRED_ACCURACY:.0%}")
            failed = True
        if not largest_difference(ours, plain) <= LARGEST_DIFFERENCE:
            print(f"{name}: the weights trained by slotwise and by NumPy differ")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
