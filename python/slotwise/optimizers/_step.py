"""One step of all variables as one call into the extension, prepared once for a list of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from slotwise import _core
from slotwise._variable import Variable, described
from slotwise.optimizers._description import Float, Update, compute_type
from slotwise.optimizers._gradients import Pair, Places
from slotwise.optimizers._state import has_another_constraint

_HYPERS = {rule["name"]: tuple(rule["hypers"]) for rule in _core.RULES}


class Plan:
    """A list of variables with their slots, to be updated by one rule.

    Args:
        op: what errors begin with.
        update: the rule.
        given: the variables, as the user passes them.
        places: where they are in the user's list.
        variables: the same as `Variable`s.
        slots: of each, in the order of the rule's.
        averages: of each, or None for none.
        decays: whether the weights of each decay, or None for none.
    """

    def __init__(
        self,
        op: str,
        update: Update,
        given: Sequence[Any],
        places: Places,
        variables: Sequence[Variable],
        slots: Sequence[Sequence[Variable]],
        averages: Sequence[Variable] | None = None,
        decays: Sequence[bool] | None = None,
    ) -> None:
        self.update = update
        self.variables = list(variables)
        self.constrained = [v for v in variables if v.constraint is not None]
        self.repeats = len({id(v) for v in variables}) < len(self.variables)
        found = {compute_type(v.dtype) for v in variables}
        self.types: tuple[type[Float] | None, ...] = tuple(
            kind if kind in found else None for kind in (np.float32, np.float64)
        )
        self.names = _HYPERS[update.rule]
        self.places = places
        entries = [
            (_key(each), described(variable, place), variable.value, *(x.value for x in own))
            for each, place, variable, own in zip(given, places, variables, slots, strict=True)
        ]
        arrays = None if averages is None else [average.value for average in averages]
        flags = None if decays is None else list(decays)
        self.has_averages = averages is not None
        self.decays = flags or []
        self.core = _core.UpdatePlan(op, update.rule, entries, arrays, flags)

    def matches(self, pairs: list[Pair], places: Places) -> bool:
        """Whether it is for just these pairs."""
        if self.places != places or not self.core.matches(pairs):
            return False
        return not self.constrained or not any(
            has_another_constraint(given, variable)
            for (_, given), variable in zip(pairs, self.variables, strict=True)
        )


def _key(given: Any) -> Any:
    """The object that the extension knows a variable by at once; else it compares the memory.

    None for a variable with a constraint. The extension holds it where the garbage collector does
    not see it, and a constraint may refer to all that refers to the optimizer.
    """
    is_constrained = isinstance(given, Variable) and given.constraint is not None
    return None if is_constrained or type(given) not in (Variable, np.ndarray) else given


class Plans:
    """The latest plans of an optimizer."""

    _LIMIT = 16

    def __init__(self) -> None:
        self._plans: list[Plan] = []
        self.latest: Plan | None = None

    def __reduce__(self) -> Any:
        return Plans, ()  # a copy makes its own

    def __iter__(self) -> Iterator[Plan]:
        return iter(list(self._plans))

    def find(self, update: Update, pairs: list[Pair], places: Places) -> Plan | None:
        """The plan for just these pairs, if there is one."""
        for plan in reversed(self._plans):
            if plan.update == update and plan.matches(pairs, places):
                self.latest = plan
                return plan
        return None

    def add(self, plan: Plan) -> None:
        while len(self._plans) >= self._LIMIT:
            del self._plans[0]
        self._plans.append(plan)
        self.latest = plan

    def forget(self) -> None:
        self._plans.clear()
        self.latest = None
