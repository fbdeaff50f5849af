# SPDX-License-Identifier: Apache-2.0
"""The steps of the current API's optimizers with a description."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slotwise._tables import IndexedSlices
from slotwise._variable import Variable
from slotwise.optimizers import _gradients, _step
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers._state import Entry, constrain
from slotwise.optimizers.current._made import Made

# Whoever overrides one of these has something of their own done in each step.
_HOOKS = ("aggregate_gradients", "update_step")


class Described(Made):
    """An optimizer with a description, whose step is one call into the extension."""

    _takes_constrained_rows = True
    _updates_repeats = False
    _does_more = False  # a hook is overridden
    _updates_itself = False  # it is update_step

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        changed = [name for name in _HOOKS if getattr(cls, name) is not getattr(Described, name)]
        cls._does_more = bool(changed)
        cls._updates_itself = "update_step" in changed

    # ----- a step --------------------------------------------------------------------------------

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        skip_gradients_aggregation: bool = False,
        **kwargs: Any,
    ) -> Variable:
        given = grads_and_vars
        if self._ranks is not None:
            own = name, skip_gradients_aggregation
            return self._ranks.apply(
                self, given, lambda pairs: self._apply_here(pairs, *own, **kwargs)
            )
        return self._apply_here(given, name, skip_gradients_aggregation, **kwargs)

    def _apply_here(
        self,
        given: Iterable[Any],
        name: str | None,
        skip_gradients_aggregation: bool,
        **kwargs: Any,
    ) -> Variable:
        is_list = type(given) in _gradients.LISTS
        pairs = list(given) if is_list else _gradients.pairs_of(self._op, given)
        if not self._does_more and self._is_plain():
            with self._lock.step():
                step = self._prepared_steps.latest_for(self._options(), pairs)
                if step is not None and step.is_at_once:
                    self._compute_current_learning_rate()
                    _step.run(self, step, pairs, self._around(), counts=True)
                    for var in step.constrained:
                        constrain(var)
                    return self._iterations
        return super().apply_gradients(pairs, name, skip_gradients_aggregation, **kwargs)

    def _step_of(self, pairs: list[Pair]) -> list[Variable]:
        if self._updates_itself:
            return super()._step_of(pairs)
        present, places = _gradients.present(pairs)
        step = _step.take(
            *(self, present, places, self._around),
            counts=True,
            begin=lambda: self._build_for(pairs),
        )
        if not step.is_at_once:  # which was checked
            known = zip(present, step.variables, strict=True)
            self._update(*self._checked([(grad, var) for (grad, _), var in known]))
            self._iterations.assign_add(1)
        return step.constrained

    def update_step(self, gradient: Any, variable: Variable) -> None:
        """The update of a variable by a gradient, without what surrounds it."""
        pairs = [(gradient, variable)]
        _step.run(self, _step.prepared(self, pairs, (0,)), pairs)

    # ----- what surrounds an update --------------------------------------------------------------

    def _others(self, entries: Iterable[Entry]) -> list[Entry]:
        return [] if self.sparse_decay == "touched" else super()._others(entries)

    def _rows_around(self, gradient: Any) -> Any:
        is_of_rows = isinstance(gradient, IndexedSlices) and self.sparse_decay == "touched"
        return gradient.indices if is_of_rows else None
