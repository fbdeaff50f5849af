# SPDX-License-Identifier: Apache-2.0
"""The steps of the legacy API's optimizers with a description."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from slotwise._tables import IndexedSlices
from slotwise._variable import Variable
from slotwise.optimizers import _gradients, _step
from slotwise.optimizers._gradients import Pair, Places
from slotwise.optimizers._state import constrain
from slotwise.optimizers._step import NO_CLIPS, NOTHING, Around
from slotwise.optimizers.legacy._made import Made
from slotwise.optimizers.legacy.optimizer import ApplyState

# Whoever overrides one of these has something of their own done in each step.
_HOOKS = (
    "_aggregate_gradients",
    "_apply",
    "_create_all_weights",
    "_prepare",
    "_prepare_local",
    "_resource_apply_dense",
    "_resource_apply_sparse",
    "_resource_apply_sparse_duplicate_indices",
    "_transform_gradients",
    "_transform_unaggregated_gradients",
)
_APPLY_HOOKS = tuple(name for name in _HOOKS if name.startswith("_resource"))


class Described(Made):
    """An optimizer with a description, whose step is one call into the extension."""

    _takes_constrained_rows = False
    _updates_repeats = True
    _applies_itself = False  # a hook that updates a variable is overridden

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        changed = {name for name in _HOOKS if getattr(cls, name) is not getattr(Described, name)}
        cls._does_more = bool(changed)
        cls._applies_itself = not changed.isdisjoint(_APPLY_HOOKS)

    # ----- a step --------------------------------------------------------------------------------

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        experimental_aggregate_gradients: bool = True,
    ) -> Variable | None:
        given = grads_and_vars
        if self._ranks is not None:
            own = name, experimental_aggregate_gradients
            return self._ranks.apply(self, given, lambda pairs: self._apply_here(pairs, *own))
        return self._apply_here(given, name, experimental_aggregate_gradients)

    def _apply_here(
        self, given: Iterable[Any], name: str | None, experimental_aggregate_gradients: bool
    ) -> Variable | None:
        is_list = type(given) in _gradients.LISTS
        pairs = list(given) if is_list else _gradients.pairs_of(self._op, given)
        if self._does_more or self.gradient_aggregator is not None or self.gradient_transformers:
            return super().apply_gradients(pairs, name, experimental_aggregate_gradients)
        around = Around(self._clips if self._ranks is None else NO_CLIPS)
        with self._lock.step():
            step = self._prepared_steps.latest_for(self._options(), pairs)
            if step is not None and step.is_at_once:
                _step.run(self, step, pairs, around, counts=True)
                for var in step.constrained:
                    constrain(var)
                return self._iterations
            pairs = _gradients.accepted(self._op, pairs, self._takes_lists)
            pairs, places = _gradients.present(pairs)
            if not pairs:
                self._create_all_weights([])
                return None
            self._update(pairs, places, around, counts=True)
        return self.iterations

    def _apply(self, pairs: Sequence[Pair], apply_state: ApplyState) -> None:
        if self._applies_itself:
            super()._apply(pairs, apply_state)
        else:
            self._update(list(pairs), range(len(pairs)), NOTHING, counts=False)

    def _update(self, pairs: list[Pair], places: Places, around: Around, counts: bool) -> None:
        """One step of these variables, or several, where each is to see the one before."""
        step = _step.take(self, pairs, places, lambda: around, counts)
        if step.is_at_once:
            for var in step.constrained:
                constrain(var)
            return
        pairs = _gradients.clip(pairs, **around.clips)
        for i, (pair, place) in enumerate(zip(pairs, places, strict=True)):
            self._update([pair], (place,), NOTHING, counts and i == len(pairs) - 1)

    def _resource_apply_dense(
        self, grad: Any, var: Variable, apply_state: ApplyState | None = None
    ) -> Any:
        self._update_one(grad, var)

    def _resource_apply_sparse(
        self, grad: Any, var: Variable, indices: Any, apply_state: ApplyState | None = None
    ) -> Any:
        self._update_one(IndexedSlices(grad, indices, var.shape), var)

    def _update_one(self, grad: Any, var: Variable) -> None:
        pairs = [(grad, var)]
        _step.run(self, _step.prepared(self, pairs, (0,)), pairs)
