"""The current API's classes, made from descriptions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slotwise._tables import IndexedSlices
from slotwise._variable import Variable
from slotwise.optimizers import _docs, _gradients, _step
from slotwise.optimizers._description import Parameter
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers._kinds import Hyper, OneOf
from slotwise.optimizers._signature import SPARSE, kinds_of
from slotwise.optimizers._state import Entry, constrain
from slotwise.optimizers.current._settings import PARAMETERS
from slotwise.optimizers.current._slots import DECAYS, WithSlots
from slotwise.optimizers.current.optimizer import Optimizer

_SPARSE_DECAY = Parameter(
    "sparse_decay", None, OneOf(("touched", "whole", None)), keyword_only=True
)

COMMON = (*PARAMETERS, SPARSE, _SPARSE_DECAY)  # parameters of all constructors

# Whoever overrides one of these has something of their own done in each step.
_HOOKS = ("aggregate_gradients", "update_step")


class Described(WithSlots):
    """An optimizer with a description, whose step is one call into the extension."""

    _takes_constrained_rows = True
    _updates_repeats = False
    _frames_to_caller = 4
    _does_more = False  # a hook is overridden
    _updates_itself = False  # it is update_step

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        changed = [name for name in _HOOKS if getattr(cls, name) is not getattr(Described, name)]
        cls._does_more = bool(changed)
        cls._updates_itself = "update_step" in changed
        if "description" in vars(cls):
            beyond = {_SPARSE_DECAY.name: _SPARSE_DECAY.kind}
            kinds = {**Optimizer._kinds, **beyond, **kinds_of(cls.description)}
            del kinds["learning_rate"]  # a property, which checks it
            cls._kinds = {
                name: kind.number if isinstance(kind, Hyper) else kind
                for name, kind in kinds.items()
            }
            _docs.fill(cls, "current", cls.description, [p.name for p in PARAMETERS])

    def _set_up(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        owner, own = type(self).__name__, _SPARSE_DECAY.name
        sparse_decay = _SPARSE_DECAY.kind(owner, own, arguments.pop(own))
        settings = {p.name: arguments.pop(p.name) for p in PARAMETERS}
        super().__init__(arguments.pop("name"), **settings, **kwargs)
        self._learning_rate = self._build_learning_rate(arguments.pop("learning_rate"))
        for name, value in arguments.items():
            setattr(self, name, value)
        decays = DECAYS[self.sparse]
        if sparse_decay not in (None, *decays):
            raise ValueError(
                f"{owner}: sparse_decay: expected {OneOf(decays).expected} with "
                f"sparse={self.sparse!r}, got {sparse_decay!r}"
            )
        self.sparse_decay = sparse_decay or decays[0]
        self._check_accumulation()
        self._prepared_steps = _step.Steps()
        self._slots = {}

    def _check_accumulation(self) -> None:
        if self._accumulation is not None and self.sparse == "lazy":
            raise ValueError(
                f"{type(self).__name__}: gradient_accumulation_steps: expected None with "
                f"sparse='lazy', got {self._accumulation}: the mean of gradients has all rows"
            )

    @property
    def _op(self) -> str:
        return f"{self.name}.apply_gradients"

    # ----- a step --------------------------------------------------------------------------------

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        skip_gradients_aggregation: bool = False,
        **kwargs: Any,
    ) -> Variable:
        given = grads_and_vars
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
            self._update([(grad, var) for (grad, _), var in known])
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
