"""What the described optimizers of both APIs do in a step: one call into the extension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise import _core
from slotwise._variable import Variable
from slotwise.optimizers import _gradients
from slotwise.optimizers._description import Description, Float, Scope, Update
from slotwise.optimizers._gradients import Pair, Places
from slotwise.optimizers._numbers import StepNumbers
from slotwise.optimizers._state import Entry
from slotwise.optimizers._step import Plan, Plans

NO_CLIPS: dict[str, Any] = dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm"))


class Planned:
    """Finds or makes the plan for a list of variables, and runs it."""

    description: Description
    sparse: str
    _name: str
    _takes_lists: bool  # as gradients
    _plans: Plans

    # ----- what each API has of its own ----------------------------------------------------------

    def _counter(self) -> Variable:
        """What counts the steps, or the calls that are part of one."""
        raise NotImplementedError

    def _step_count(self) -> int:
        """How many steps there were."""
        raise NotImplementedError

    def _rate(self, kind: type[Float]) -> Float:
        """The learning rate of this step."""
        raise NotImplementedError

    def _value_of(self, name: str) -> Any:
        """Of a parameter."""
        return getattr(self, name)

    def _prepared(self, given: Sequence[Any], places: Places) -> list[Entry]:
        """What is known of variables and arrays, with the slots that there are now."""
        raise NotImplementedError

    def _slot_beside(self, entry: Entry, role: str) -> Variable:
        raise NotImplementedError

    def _extras(self, entries: Sequence[Entry]) -> tuple[Any, ...]:
        """Further arguments of a `Plan` for these."""
        return ()

    def _changed_numbers(self, plan: Plan) -> tuple[tuple[Any, Any], ...]:
        """Arrays of numbers that change with an update of these, and what they become."""
        return ()

    # ----- plans ---------------------------------------------------------------------------------

    @property
    def _op(self) -> str:
        return f"{self._name}.apply_gradients"

    def _current_update(self) -> Update:
        return self.description.update(self)

    def _latest_for(self, pairs: list[Pair]) -> Plan | None:
        """The latest plan, if it is for just these pairs."""
        plan = self._plans.latest
        if plan is None or plan.update != self._current_update():
            return None
        return plan if plan.matches(pairs, range(len(pairs))) else None

    def _find_plan(self, pairs: list[Pair], places: Places) -> Plan | None:
        return self._plans.find(self._current_update(), pairs, places)

    def _new_plan(self, pairs: list[Pair], places: Places) -> Plan:
        """A plan for these variables; it is not found until it is added to the others."""
        update, given = self._current_update(), [var for _, var in pairs]
        entries = self._prepared(given, places)
        variables = [entry.variable for entry in entries]
        slots = [[self._slot_beside(entry, role) for role in update.slots] for entry in entries]
        extras = self._extras(entries)
        return Plan(self._op, update, given, places, variables, slots, *extras)

    def _plan_for(self, pairs: list[Pair], places: Places) -> Plan:
        """The plan for these variables, made if there is none yet."""
        plan = self._find_plan(pairs, places)
        if plan is None:
            plan = self._new_plan(pairs, places)
            self._plans.add(plan)
        return plan

    def _run(
        self,
        plan: Plan,
        pairs: list[Pair],
        clips: dict[str, Any],
        *around: Any,
        counts: bool = False,
        only_check: bool = False,
    ) -> None:
        """Update the variables of a plan, all or none.

        Args:
            plan, pairs: the plan, and the gradients and variables that it is for.
            clips: the limits of gradients.
            around: what else is done in the same pass: weight decay, averages, and on which rows.
            counts: whether this is a step, which `iterations` counts.
            only_check: whether everything is checked, and nothing done.
        """
        steps = self._steps(plan, pairs, clips, *around)
        numbers = self._changed_numbers(plan)
        if counts:
            counter = self._counter().value
            numbers += ((counter, int(counter) + 1),)
        try:
            _core.apply_all(steps, numbers, only_check)
        except (TypeError, ValueError):
            again = self._with_plain_gradients(steps)
            if again is None:
                raise
            _core.apply_all(again, numbers, only_check)

    def _with_plain_gradients(self, steps: list[tuple[Any, ...]]) -> list[tuple[Any, ...]] | None:
        """The same steps with gradients as arrays and IndexedSlices; None if they are already."""
        plain = [_gradients.accepted(self._op, step[1], self._takes_lists) for step in steps]
        if all(_gradients.are_same(new, step[1]) for new, step in zip(plain, steps, strict=True)):
            return None
        return [(step[0], new, *step[2:]) for new, step in zip(plain, steps, strict=True)]

    def _steps(
        self, plan: Plan, pairs: list[Pair], clips: dict[str, Any], *around: Any
    ) -> list[tuple[Any, ...]]:
        """What the extension is to do, as `_core.apply_all` takes it."""
        decay, average, rows = around or (None, None, "rows")
        hypers = tuple(self._coefficients(plan, kind) for kind in plan.types)
        scope: Scope = plan.update.scope if self.sparse == "keras" else "rows"
        is_whole_around = (decay or average) and rows == "whole"
        _gradients.mark_touched(pairs, only_rows=scope == "rows" and not is_whole_around)
        limits = clips["clipvalue"], clips["clipnorm"], clips["global_clipnorm"]
        attrs = plan.update.attrs
        return [(plan.core, pairs, hypers, attrs, *limits, scope, decay, average, rows)]

    def _coefficients(self, plan: Plan, kind: type[Float] | None) -> tuple[Any, ...] | None:
        """What the kernel takes, in its order, for the variables that are computed in a type."""
        if kind is None:
            return None
        values = self.description.coefficients(StepNumbers(self, kind))
        numbers = tuple(float(values[name]) for name in plan.names)
        if not math.isfinite(sum(numbers)):
            self._refuse_infinite()
        return numbers

    def _refuse_infinite(self) -> None:
        """Name the hyperparameter that was written to since it was checked, if it is one."""
        for parameter in self.description.parameters:
            is_rate = parameter.name == "learning_rate"
            value = self._rate(np.float64) if is_rate else self._value_of(parameter.name)
            if not np.all(np.isfinite(np.asarray(value, np.float64))):
                raise ValueError(
                    f"{self._name}.apply_gradients: {parameter.name}: expected a finite number, "
                    f"got {float(value)}"
                )
