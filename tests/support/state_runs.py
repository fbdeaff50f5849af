# SPDX-License-Identifier: Apache-2.0
"""Training runs that stop and go on in another process: `python -m support.state_runs STEP FOLDER`.

STEP is "begin", or anything else to go on.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import slotwise
from support import keras_slotwise
from support.keras_cases import CONFIGS, Config, Problem, draw_problem, make
from support.optimizers import DESCRIPTIONS, LAZY

STEPS = 3  # before the stop, and after it
DTYPES = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64}
WRAPPERS = ("plain", "lazy", "loss scale")
_SURROUNDED = {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 4}
_UNKNOWN_TO_KERAS = tuple(
    Config(name, {"learning_rate": 0.05, **more}, api="current")
    for name in DESCRIPTIONS
    if name not in {config.optimizer for config in CONFIGS["current"]}
    for more in ({}, _SURROUNDED)
)
ALL = (*CONFIGS["legacy"], *CONFIGS["current"], *_UNKNOWN_TO_KERAS)


@dataclass(frozen=True)
class Run:
    """A configuration, on variables of a dtype."""

    number: int
    tag: str
    wrapper: str

    def __str__(self) -> str:
        return f"{self.config.api} {self.config} {self.tag} {self.wrapper}"

    @property
    def config(self) -> Config:
        return ALL[self.number]

    @property
    def name(self) -> str:
        return f"{self.number}-{self.tag}-{self.wrapper.replace(' ', '-')}"

    @property
    def problem(self) -> Problem:
        kind = "dense" if self.config.constraint else ("mixed", "sparse", "dense")[self.number % 3]
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        return draw_problem(rng, 2 * STEPS, kind).astype(DTYPES[self.tag])

    def optimizer(self, fresh: bool) -> Any:
        """``fresh``: for what is loaded; a schedule that an event sets must be there before."""
        kwargs = dict(self.config.kwargs)
        for step, changes in sorted(self.config.events.items()):
            if fresh and step < STEPS:
                kwargs |= {k: v for k, v in changes.items() if k == "learning_rate"}
        kwargs = {key: make(keras_slotwise, value) for key, value in kwargs.items()}
        if self.wrapper == "lazy":
            kwargs["sparse"] = "lazy"
        opt = keras_slotwise.optimizer(self.config.optimizer, kwargs, self.config.api)
        if self.config.not_decaying is not None:
            opt.exclude_from_weight_decay(var_names=sum(self.config.not_decaying, ()))
        if self.wrapper == "loss scale":
            opt = slotwise.optimizers.LossScaleOptimizer(
                opt, initial_scale=4.0, dynamic_growth_steps=2
            )
            opt.get_scaled_loss(1.0)
        return opt

    def variables(self, of_zeros: bool = False) -> dict[str, Any]:
        given = self.problem.variables.items()
        constraint = self.config.constraint
        return {
            name: keras_slotwise.variable(x * 0 if of_zeros else x, name, constraint)
            for name, x in given
        }

    def steps(self, opt: Any, variables: dict[str, Any], steps: range) -> None:
        for step in steps:
            for name, value in self.config.events.get(step, {}).items():
                if name == "iterations":
                    opt.iterations.assign(value)
                else:
                    setattr(opt, name, make(keras_slotwise, value))
            gradients = self.problem.gradients[step]
            pairs = []
            for name, var in variables.items():
                gradient: Any = gradients[name]
                if isinstance(gradient, tuple):
                    gradient = slotwise.IndexedSlices(*gradient, var.shape)
                pairs.append((gradient, var))
            if self.wrapper == "loss scale":
                grads = opt.get_unscaled_gradients([g for g, _ in pairs])
                pairs = list(zip(grads, variables.values(), strict=True))
                if step == 1:  # the scale is halved, nothing else happens
                    pairs = [(np.full(v.shape, np.inf, v.dtype), v) for _, v in pairs]
            opt.apply_gradients(pairs)


def runs() -> Iterator[Run]:
    """Every configuration, dtypes and wrappers in turn; some in all dtypes."""
    for number, config in enumerate(ALL):
        in_all = len(config.kwargs) == 1 or "use_ema" in config.kwargs
        for turn, tag in enumerate(DTYPES):
            if turn == number % len(DTYPES) or in_all:
                wrapper = WRAPPERS[(number + turn) % len(WRAPPERS)]
                if wrapper == "lazy" and config.api == "current" and config.optimizer not in LAZY:
                    wrapper = "plain"  # it has no other meaning of rows
                yield Run(number, tag, wrapper)


def main(step: str, folder: str) -> None:
    for run in runs():
        first, second = (f"{folder}/{run.name}.{end}.safetensors" for end in ("half", "whole"))
        if step == "begin":
            opt, variables = run.optimizer(False), run.variables()
            run.steps(opt, variables, range(STEPS))
            slotwise.save(first, optimizer=opt, variables=variables)
        else:
            opt, variables = run.optimizer(True), run.variables(of_zeros=True)
            slotwise.load(first, optimizer=opt, variables=variables)
            run.steps(opt, variables, range(STEPS, 2 * STEPS))
            slotwise.save(second, optimizer=opt, variables=variables)


if __name__ == "__main__":
    main(*sys.argv[1:])
