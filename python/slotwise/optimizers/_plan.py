"""One step of all variables as one call into the extension, prepared once for a list of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from slotwise import _core
from slotwise._variable import Variable
from slotwise.optimizers._description import Float, Update, compute_type

_HYPERS = {rule["name"]: tuple(rule["hypers"]) for rule in _core.RULES}


class Plan:
    """A list of variables with their slots, to be updated by one rule.

    Args:
        op: what errors begin with.
        update: the rule.
        given: the variables, as the user passes them.
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
        entries = [
            (key, f"'{variable.name}'", variable.value, *(slot.value for slot in own))
            for key, variable, own in zip(given, variables, slots, strict=True)
        ]
        arrays = None if averages is None else [average.value for average in averages]
        flags = None if decays is None else list(decays)
        self.has_averages = averages is not None
        self.decays = flags or []
        plan = _core.UpdatePlan(op, update.rule, entries, arrays, flags)
        self.matches, self.apply = plan.matches, plan.apply


class Plans:
    """The latest plans of an optimizer, by their variables."""

    _LIMIT = 16

    def __init__(self) -> None:
        self._plans: dict[tuple[Update, tuple[int, ...]], Plan] = {}
        self.latest: Plan | None = None

    def find(self, update: Update, given: Sequence[Any]) -> Plan | None:
        """The plan for these; a plan keeps its variables alive, so identities mean them."""
        plan = self._plans.get((update, tuple(map(id, given))))
        if plan is not None:
            self.latest = plan
        return plan

    def add(self, given: Sequence[Any], plan: Plan) -> None:
        while len(self._plans) >= self._LIMIT:
            del self._plans[next(iter(self._plans))]
        self._plans[plan.update, tuple(map(id, given))] = plan
        self.latest = plan
