# SPDX-License-Identifier: Apache-2.0
"""What is done to gradients before an update: unscaling, and adding up those of several calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise import _core, _tracking
from slotwise._variable import Variable
from slotwise.optimizers import _gradients
from slotwise.optimizers._description import Update
from slotwise.optimizers._gradients import Places
from slotwise.optimizers._state import Entry
from slotwise.optimizers._step import Step, Steps

_ADDING = Update("GradientDescent", (), "rows")


class Accumulation:
    """``loss_scale_factor`` and ``gradient_accumulation_steps``, as Keras 3 has them."""

    name: str
    loss_scale_factor: float | None
    _accumulation: int | None = None
    _accumulators: dict[Entry, Variable]
    _adding: Steps
    _built: bool
    _index_dict: dict[Entry, int]
    _iterations: Variable

    @property
    def gradient_accumulation_steps(self) -> int | None:
        """How many calls of `apply_gradients` make one update."""
        return self._accumulation

    @gradient_accumulation_steps.setter
    def gradient_accumulation_steps(self, steps: int | None) -> None:
        if self._built and steps != self._accumulation:
            raise ValueError(
                f"{type(self).__name__}: gradient_accumulation_steps: expected to be set before "
                f"the optimizer is built, got {steps} afterwards: `iterations` goes by it"
            )
        self._accumulation = steps

    def _check_accumulation(self) -> None:
        """Raise if the other settings do not go with accumulation."""

    def scale_loss(self, loss: Any) -> Any:
        """The loss times ``loss_scale_factor``, if that is set: what to take the gradients of.

        Args:
            loss: a number.

        Example:
            >>> from slotwise import optimizers
            >>> optimizers.SGD(loss_scale_factor=8.0).scale_loss(0.5)
            4.0
        """
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def _is_due(self) -> bool:
        """Whether this call is an update, or just adds to the gradients of others."""
        steps = self._accumulation
        return steps is None or (int(self._iterations.value) + 1) % steps == 0

    def _due(
        self, gradients: list[Any], entries: list[Entry], places: Places
    ) -> list[tuple[Any, Entry]]:
        """The gradients that variables are to be updated by in this call.

        Args:
            gradients, entries, places: those of this call.

        Returns:
            None at all, where they were just added to those of other calls.
        """
        if self.loss_scale_factor is not None:
            scale = np.float64(self.loss_scale_factor)
            gradients = [_gradients.divided(grad, scale) for grad in gradients]
        if self._accumulation is None:
            return list(zip(gradients, entries, strict=True))
        self._check_accumulation()
        self._refuse_repeated(entries)
        calls = int(self._iterations.value)
        if calls % self._accumulation == 0:  # an update may have been interrupted before it did so
            self._reset_accumulators()
        held = [self._accumulators[entry] for entry in entries]
        if not self._is_due():
            self._add(gradients, held, places, ((self._iterations.value, calls + 1),))
            return []
        sums = [Variable(x.numpy(), name=x.name) for x in held]
        self._add(gradients, sums, places, ())
        totals = dict(zip(entries, sums, strict=True))
        for entry, accumulator in self._accumulators.items():
            if entry not in totals and accumulator.value.any():  # it had gradients in other calls
                totals[entry] = accumulator
        steps = np.float64(self._accumulation)
        return [(_gradients.divided(x.value, steps), entry) for entry, x in totals.items()]

    def _refuse_repeated(self, entries: Sequence[Entry]) -> None:
        if len(set(entries)) < len(entries):
            names = sorted({x.variable.name for x in entries if entries.count(x) > 1})
            raise ValueError(
                f"{self.name}.apply_gradients: grads_and_vars: expected each variable once with "
                f"gradient_accumulation_steps, got several of {names}"
            )

    def _add(
        self,
        gradients: list[Any],
        sums: list[Variable],
        places: Places,
        numbers: tuple[tuple[Any, int], ...],
    ) -> None:
        """Add gradients to sums and set numbers, all or none."""
        pairs = list(zip(gradients, sums, strict=True))
        step = self._adding.find({}, pairs, places)
        if step is None:
            op, slots = f"{self.name}.apply_gradients", [()] * len(sums)
            step = Step(op, _ADDING, {}, sums, places, sums, slots)
            if numbers:
                self._adding.add(step)
        rates = tuple(None if kind is None else (-1.0,) for kind in step.types)  # that adds
        _core.apply_all([step.call(pairs, rates, _ADDING.scope)], numbers)

    def _reset_accumulators(self) -> None:
        for accumulator in self._accumulators.values():
            _tracking.mark(accumulator.value)
            accumulator.value[...] = 0
