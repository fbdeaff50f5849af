"""What the described optimizers of both APIs do in a step: one call into the extension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise._variable import Variable
from slotwise.optimizers._description import Description, Float, Scope, Update
from slotwise.optimizers._gradients import Pair, mark_touched
from slotwise.optimizers._numbers import StepNumbers
from slotwise.optimizers._plan import Plan, Plans
from slotwise.optimizers._state import Variables

NO_CLIPS: dict[str, Any] = dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm"))


class Planned:
    """Finds or makes the plan for a list of variables, and runs it."""

    description: Description
    sparse: str
    _name: str
    _variables: Variables
    _plans: Plans

    # ----- what each API has of its own ----------------------------------------------------------

    def _step_count(self) -> int:
        """How many steps there were."""
        raise NotImplementedError

    def _rate(self, kind: type[Float]) -> Float:
        """The learning rate of this step."""
        raise NotImplementedError

    def _value_of(self, name: str) -> Any:
        """Of a parameter."""
        return getattr(self, name)

    def _prepare_slots(self, variables: Sequence[Variable]) -> None:
        """Called before a plan for these is made."""
        raise NotImplementedError

    def _slot_beside(self, variable: Variable, role: str) -> Variable:
        raise NotImplementedError

    def _extras(self, variables: Sequence[Variable]) -> tuple[Any, ...]:
        """Further arguments of a `Plan` for these."""
        return ()

    # ----- plans ---------------------------------------------------------------------------------

    def _current_update(self) -> Update:
        return self.description.update(self)

    def _is_for(self, plan: Plan, pairs: list[Pair]) -> bool:
        """Whether a plan is for just these pairs."""
        return plan.update == self._current_update() and plan.matches(pairs)

    def _plan_for(self, given: Sequence[Any]) -> Plan:
        """The plan for these variables, made if there is none yet."""
        update = self._current_update()
        plan = self._plans.find(update, given)
        if plan is None:
            variables = [self._variables.find(var) for var in given]
            self._prepare_slots(variables)
            slots = [[self._slot_beside(var, role) for role in update.slots] for var in variables]
            op = f"{self._name}.apply_gradients"
            plan = Plan(op, update, given, variables, slots, *self._extras(variables))
            self._plans.add(given, plan)
        return plan

    def _run(self, plan: Plan, pairs: list[Pair], clips: dict[str, Any], *around: Any) -> None:
        """Update the variables of a plan.

        `around` is what else is done in the same pass: weight decay, averages, and on which rows.
        """
        hypers = tuple(self._coefficients(plan, kind) for kind in plan.types)
        scope: Scope = plan.update.scope if self.sparse == "keras" else "rows"
        is_whole_around = any(around[:2]) and around[-1] == "whole"
        mark_touched(pairs, only_rows=scope == "rows" and not is_whole_around)
        plan.apply(
            pairs,
            hypers,
            plan.update.attrs,
            clips["clipvalue"],
            clips["clipnorm"],
            clips["global_clipnorm"],
            scope,
            *around,
        )

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
