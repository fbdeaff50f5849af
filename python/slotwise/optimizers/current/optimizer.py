# SPDX-License-Identifier: Apache-2.0
"""The base class of the current API: settings, and the steps of an update."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from slotwise import _arguments
from slotwise._autodiff import GradientTape
from slotwise._tables import IndexedSlices, coalesce
from slotwise._variable import Variable
from slotwise.optimizers import _gradients, _registry, schedules
from slotwise.optimizers._gradients import Pair
from slotwise.optimizers._kinds import FLAG, PATTERNS, TEXT, VARIABLES, Kind
from slotwise.optimizers._loss import gradients, recorded
from slotwise.optimizers._ranks import table_here
from slotwise.optimizers._state import Entry, Variables, constrain, listed
from slotwise.optimizers.current import _decay_average, _keras3
from slotwise.optimizers.current._accumulation import Accumulation
from slotwise.optimizers.current._decay_average import Change
from slotwise.optimizers.current._settings import (
    BEYOND,
    CLIPS,
    EMA_VARIANTS,
    PARAMETERS,
    SETTINGS,
    Settings,
)
from slotwise.optimizers.current._state import SlotsByVariable

_log = logging.getLogger("slotwise")

_OF_LEGACY = ("decay", "gradient_aggregator", "gradient_transformers")


@_registry.kind("current")
class Optimizer(SlotsByVariable, Settings, Accumulation):
    """Base class of the optimizers, and of your own.

    Derive from it to write an optimizer: keep the rate by ``_build_learning_rate`` in the
    constructor, make state in `build`, update a variable in `update_step`. Missing gradients,
    clipping, summing of gradients of equal rows, weight decay, averages and constraints come from
    this class; so do `variables`, and saving them.

    A step clips the gradients, lets the weights decay, updates them, lets the averages follow, and
    constrains the weights:

        grad = grad / loss_scale_factor                                    if that is set
        var -= var * weight_decay * learning_rate
        (the update)
        average = ema_momentum * average + (1 - ema_momentum) * var        with use_ema
        var     = average                           every ema_overwrite_frequency steps
        var     = constraint(var)

    All settings are attributes, which may be changed between steps.

    Args:
        name: the name in error messages.
        weight_decay: how fast weights decay; None for not at all.
        clipnorm: the largest norm of each gradient.
        clipvalue: the largest magnitude of each element of a gradient.
        global_clipnorm: the largest norm of all gradients together. One kind of clipping is done:
            by clipnorm if that is above 0, else by global_clipnorm, else by clipvalue.
        use_ema: whether to keep an exponential moving average of each variable.
        ema_momentum: its momentum, in [0, 1].
        ema_overwrite_frequency: after every so many steps, variables get the value of their
            averages; None or 0 for never.
        jit_compile: accepted for compatibility.
        loss_scale_factor: what the loss was multiplied by before its gradients were taken
            (`scale_loss` does it, and `minimize`): they are divided by it first. None for nothing.
        gradient_accumulation_steps: how many calls of `apply_gradients` make one update, by the
            mean of their gradients; at least 2, or None. The other calls add to
            ``gradient_accumulator``, a slot of each variable. A gradient that is missing counts as
            0. `iterations` counts updates; schedules go by the calls; averages follow in each call.
            Clipping and weight decay are part of the update. Sparse gradients become dense ones.
        ema_variant: ``"keras2"``: averages begin at the variables' values before the first step,
            and follow where there is a gradient; or ``"keras3"``: they begin at the values after
            the first step, and follow (and are written into variables) in each step.
        kwargs: ``lr`` is ignored, with a warning; ``mesh`` and ``is_legacy_optimizer`` are ignored.

    Raises:
        TypeError: an unknown keyword.
        ValueError: both norms at once, ``ema_momentum`` outside of [0, 1], keywords of the legacy
            API.

    Example:
        >>> import numpy as np, slotwise
        >>> class Momentum(slotwise.optimizers.Optimizer):
        ...     def __init__(self, learning_rate=0.5, name="Momentum", **kwargs):
        ...         super().__init__(name, **kwargs)
        ...         self._learning_rate = self._build_learning_rate(learning_rate)
        ...     def build(self, var_list):
        ...         super().build(var_list)
        ...         if self._built:
        ...             return
        ...         self.sums = [self.add_variable_from_reference(v, "sum") for v in var_list]
        ...         self._built = True
        ...     def update_step(self, gradient, variable):
        ...         if isinstance(gradient, slotwise.IndexedSlices):       # rows are distinct
        ...             dense = np.zeros_like(variable.value)
        ...             dense[gradient.indices] = gradient.values
        ...             gradient = dense
        ...         total = self.sums[self._index_dict[self._var_key(variable)]]
        ...         total.assign(total * 0.5 + gradient)
        ...         variable.assign_sub(self.learning_rate * total)
        >>> var = slotwise.Variable(np.array([1.0, 2.0]), name="w")
        >>> opt = Momentum(clipvalue=1.0, weight_decay=0.5)
        >>> int(opt.apply_gradients([(np.array([3.0, -0.5]), var)]))
        1
        >>> var.numpy(), [v.name for v in opt.variables]
        (array([0.25, 1.75]), ['iteration', 'sum/w'])
    """

    _kinds: ClassVar[Mapping[str, Kind]] = {
        "name": TEXT,
        **{parameter.name: parameter.kind for parameter in PARAMETERS},
    }
    weight_decay: Any
    _takes_lists = False
    _frames_to_caller = 3  # of a constructor that calls this class's

    def __init__(
        self,
        name: str | None = None,
        weight_decay: float | None = 0,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        jit_compile: bool = True,
        *,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        ema_variant: str = EMA_VARIANTS[0],
        **kwargs: Any,
    ) -> None:
        self._check_keywords(kwargs)
        SlotsByVariable.__init__(self)
        self.name = type(self).__name__ if name is None else name
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.global_clipnorm = global_clipnorm
        self.clipvalue = clipvalue
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        FLAG(type(self).__name__, "jit_compile", jit_compile)
        self.jit_compile = False  # as in Keras without a GPU
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.ema_variant = ema_variant
        if self.clipnorm is not None and self.global_clipnorm is not None:
            raise ValueError(
                "At most one of `clipnorm` and `global_clipnorm` can be set. Received: "
                f"clipnorm={clipnorm}, global_clipnorm={global_clipnorm}."
            )
        self._not_decaying = Variables()
        self._not_decaying_names: list[Any] = []

    def _check_keywords(self, kwargs: dict[str, Any]) -> None:
        legacy = f"slotwise.optimizers.legacy.{type(self).__name__}."
        for key, value in kwargs.items():
            if key in _OF_LEGACY:
                raise ValueError(
                    f"{key} is deprecated in the new optimizers; see the docstring for valid "
                    f"arguments, or use the legacy optimizer, {legacy}"
                )
            if key not in ("is_legacy_optimizer", "lr", "mesh"):
                raise TypeError(
                    f"{key} is not a valid argument, kwargs should be empty for "
                    f"`slotwise.optimizers.{type(self).__name__}`."
                )
            if key == "lr" and value:
                warnings.warn(
                    "`lr` is ignored; use `learning_rate`, or the legacy optimizer, "
                    f"e.g., {legacy}",
                    UserWarning,
                    stacklevel=self._frames_to_caller + 1,
                )

    # ----- weight decay and averages -------------------------------------------------------------

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Let some variables not decay; each call replaces what was said before.

        Args:
            var_list: a list of variables.
            var_names: a list of regular expressions; a variable in whose name one is found does
                not decay. One that is found nowhere is logged when the optimizer is built.

        Raises:
            TypeError: something else than lists of these.
            ValueError: the optimizer is built, or something is no regular expression.

        Example:
            >>> import numpy as np, slotwise
            >>> opt = slotwise.optimizers.SGD(0.5, weight_decay=0.5)
            >>> opt.exclude_from_weight_decay(var_names=["bias"])
            >>> w, b = (slotwise.Variable(1.0, name=name) for name in ("w", "bias"))
            >>> _ = opt.apply_gradients([(np.float32(0), w), (np.float32(0), b)])
            >>> float(w), float(b)
            (0.75, 1.0)
        """
        if self._built:
            # "configued" is Keras's spelling; see `_kinds.py`.
            raise ValueError(
                "`exclude_from_weight_decay()` can only be configued before the optimizer is built."
            )
        what = f"{type(self).__name__}.exclude_from_weight_decay"
        names = PATTERNS(what, "var_names", var_names)
        if self._ranks is not None and isinstance(var_list, (list, tuple)):
            var_list = [table_here(variable) for variable in var_list]
        variables = VARIABLES(what, "var_list", var_list)
        excluded = Variables()
        excluded.add(list(variables), what)
        self._not_decaying, self._not_decaying_names = excluded, names

    def build(self, var_list: Sequence[Any]) -> None:
        is_first, op = not self._built, f"{self.name}.build"
        given = listed(op, "var_list", "variables", var_list)
        if is_first:
            found = [self._not_decaying.find(var, op, place) for place, var in enumerate(given)]
            others = [(given[i], i) for i, entry in enumerate(found) if entry is None]
            if (doubt := self._not_decaying.doubt(others, op, None)) is not None:
                raise ValueError(doubt)
        super().build(given)
        if is_first:
            self._warn_of_exclusions([self._entry_of(var, self.name).variable for var in given])

    def _has_met(self) -> bool:
        return super()._has_met() or len(self._not_decaying) > 0

    def _warn_of_exclusions(self, variables: Sequence[Variable]) -> None:
        """Log what was said to `exclude_from_weight_decay` and meets no variable."""
        unmet: list[Any] = [
            pattern
            for pattern in self._not_decaying_names
            if not any(re.search(pattern, var.name) for var in variables)
        ]
        excluded = (entry.variable for entry in self._not_decaying)
        if self._ranks is not None:
            excluded = (self._ranks.here(self, var) for var in excluded)
        unmet += [var.name for var in excluded if self._variables.find(var, self.name) is None]
        if unmet:
            _log.warning(
                "%s.exclude_from_weight_decay: no variable is excluded by %s; the variables are %s",
                type(self).__name__,
                unmet,
                [var.name for var in variables],
            )

    def _use_weight_decay(self, variable: Variable) -> bool:
        given = variable if self._ranks is None else self._ranks.whole_of(variable)
        if len(self._not_decaying) and self._not_decaying.find(given, self.name) is not None:
            return False
        return not any(re.search(name, variable.name) for name in self._not_decaying_names)

    def _others(self, entries: Iterable[Entry]) -> list[Entry]:
        """What is to follow beside these."""
        given = set(entries) if self.ema_variant == "keras3" else self._index_dict.keys()
        return [entry for entry in self._index_dict if entry not in given]

    def finalize_variable_values(self, var_list: Iterable[Any]) -> None:
        """Give variables the value of their averages, if there are averages.

        Args:
            var_list: the variables.

        Example:
            >>> import numpy as np, slotwise
            >>> opt = slotwise.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.5)
            >>> var = slotwise.Variable(2.0)
            >>> _ = opt.apply_gradients([(np.float32(1), var)])
            >>> float(var)
            1.0
            >>> opt.finalize_variable_values([var])
            >>> float(var)
            1.5
        """
        if self.use_ema:
            op = f"{self.name}.finalize_variable_values"
            given = listed(op, "var_list", "variables", var_list)
            if self._ranks is not None:
                given = [self._ranks.here(self, variable) for variable in given]
                self._ranks.require_same(op, given)
            with self._lock.step():
                entries = [self._entry_of(var, op, place) for place, var in enumerate(given)]
                for entry, average in [(entry, self._average_of(entry)) for entry in entries]:
                    entry.variable.assign(average.value)
            if self._ranks is not None:
                self._ranks.share(given)

    # ----- by name -------------------------------------------------------------------------------

    def _own_state(self) -> dict[str, Any]:
        return {**super()._own_state(), **self._kept_rate()}

    def _kept_rate(self) -> dict[str, Any]:
        """The learning rate, unless it is a function of the count of steps."""
        rate = self._learning_rate
        return {"learning_rate": rate} if isinstance(rate, Variable) else {}

    def _state_was_written(self) -> None:
        self._compute_current_learning_rate()

    def _hyperparameters(self) -> dict[str, Any]:
        return self._kept_rate()

    def _restored_settings(self) -> frozenset[str]:
        return frozenset(self._kept_rate())

    def _settings(self) -> dict[str, Any]:
        beyond = SETTINGS if self.use_ema else ("weight_decay", *CLIPS)
        common = {name: getattr(self, name) for name in beyond if getattr(self, name)}
        common |= self._settings_beyond_keras2()
        return {"learning_rate": self._learning_rate, **common, "name": self.name}

    def _settings_beyond_keras2(self) -> dict[str, Any]:
        """The settings beyond Keras 2 that are not the default."""
        found = {name: getattr(self, name) for name in BEYOND}
        return {name: value for name, value in found.items() if value != BEYOND[name]}

    # ----- config --------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as a dict of plain data."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        beyond = self._settings_beyond_keras2()
        return {"name": self.name, **settings, "is_legacy_optimizer": False, **beyond}

    def _keras3_config(self) -> dict[str, Any]:
        return _keras3.config_of(self)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, type[Any]] | None = None
    ) -> Any:
        """The optimizer with these constructor's arguments.

        Args:
            config: what `get_config` returned, here or in Keras 2 or 3; not changed. With
                Keras 3's, averages are Keras 3's, too (``ema_variant``).
            custom_objects: classes of schedules of your own, by name.

        Example:
            >>> from slotwise import optimizers
            >>> config = optimizers.SGD(0.5, momentum=0.25).get_config()
            >>> optimizers.SGD.from_config(config).get_config() == config
            True
        """
        arguments = _keras3.arguments(
            _arguments.named_of(f"{cls.__name__}.from_config", "config", config)
        )
        schedules.deserialize_in(arguments, custom_objects)
        return cls(**arguments)

    # ----- a step --------------------------------------------------------------------------------

    def minimize(self, loss: Any, var_list: Any, tape: GradientTape | None = None) -> None:
        """Compute the gradients of a loss, and apply them.

        Args:
            loss: a function of no arguments, or a value with the ``tape`` that recorded it.
            var_list: a list of variables, or a function that returns one.
            tape: a `GradientTape`.

        Raises:
            ImportError: the autograd package is not installed.
            ValueError: a value without a tape; no variable has a gradient.

        Example:
            >>> import slotwise
            >>> var = slotwise.Variable(1.0)
            >>> slotwise.optimizers.SGD(learning_rate=0.5).minimize(lambda: var * var / 2, [var])
            >>> float(var)
            0.5
        """
        self.apply_gradients(self.compute_gradients(loss, var_list, tape))

    def compute_gradients(
        self, loss: Any, var_list: Any, tape: GradientTape | None = None
    ) -> list[Pair]:
        """Pairs of the gradients of a loss and the variables, for `apply_gradients`.

        With ``loss_scale_factor``, they are those of the scaled loss.

        Args:
            loss, var_list, tape: as of `minimize`.

        Example:
            >>> import slotwise
            >>> var = slotwise.Variable(3.0)
            >>> [(grad, _)] = slotwise.optimizers.SGD().compute_gradients(lambda: var * var, [var])
            >>> float(grad)
            6.0
        """
        tape, loss, variables = recorded(loss, var_list, tape, _listed, self.scale_loss)
        return list(zip(gradients(tape, loss, variables), variables, strict=True))

    def aggregate_gradients(self, grads_and_vars: Iterable[Any]) -> list[Pair]:
        """Hook: the first thing that is done to gradients; by itself, nothing.

        Args:
            grads_and_vars: pairs; gradients may be None.

        Raises:
            ValueError: there are pairs, but none has a gradient.
        """
        pairs = list(grads_and_vars)
        _gradients.present(pairs)
        return pairs

    def apply_gradients(
        self,
        grads_and_vars: Iterable[Any],
        name: str | None = None,
        skip_gradients_aggregation: bool = False,
        **kwargs: Any,
    ) -> Variable:
        """Update variables by their gradients.

        Args:
            grads_and_vars: pairs of a gradient and a variable. The gradient is an array, a
                `slotwise.Variable` or `slotwise.IndexedSlices` of the variable's dtype, or a
                number; the variable a `slotwise.Variable` or a bare array. A variable is known by
                its memory: another view of it is the same variable. All variables of the first
                call are the variables of `build`. Pairs whose gradient is None are left out.
            name: accepted for compatibility.
            skip_gradients_aggregation: whether `aggregate_gradients` is left out.
            kwargs: ``experimental_aggregate_gradients`` is the opposite of the former.

        Returns:
            `iterations`, which is one more, unless there are no pairs.

        Raises:
            KeyError: a variable that the optimizer was not built with.
            ValueError: no variable has a gradient; an argument that does not fit.
            TypeError: no pairs; a dtype that does not fit.
            Whatever the error, nothing was updated; of an optimizer of your own, unless its
            `update_step` raised it.

        Example:
            >>> import numpy as np, slotwise
            >>> table = np.zeros((3, 1))
            >>> grad = slotwise.IndexedSlices(np.ones((2, 1)), np.array([2, 2]), (3, 1))
            >>> opt = slotwise.optimizers.SGD(0.5)
            >>> int(opt.apply_gradients([(grad, table)])), table[:, 0]
            (1, array([ 0.,  0., -1.]))
        """
        op = f"{self.name}.apply_gradients"
        pairs = _gradients.accepted(op, _gradients.pairs_of(op, grads_and_vars), lists=False)
        if not skip_gradients_aggregation and kwargs.get("experimental_aggregate_gradients", True):
            pairs = _gradients.accepted(op, self.aggregate_gradients(pairs), lists=False)
        with self._lock.step():
            self._compute_current_learning_rate()
            if pairs:
                step = self._step_of if self._is_plain() else self._keras3_step_of
                for var in step(pairs):
                    constrain(var)
        return self._iterations

    def _step_of(self, pairs: list[Pair]) -> list[Variable]:
        """One step of those that have a gradient; returns the variables that are constrained."""
        op = f"{self.name}.apply_gradients"
        with self._undone_if_refused():
            self._build_for(pairs)
            present, places = _gradients.present(pairs)
            variables = [
                self._entry_of(var, op, place).variable
                for (_, var), place in zip(present, places, strict=True)
            ]
            known = zip(present, variables, strict=True)
            update = self._checked([(grad, var) for (grad, _), var in known])
        self._update(*update)
        self._iterations.assign_add(1)
        return variables

    def _keras3_step_of(self, pairs: list[Pair]) -> list[Variable]:
        """A step with what Keras 3 does beside it."""
        op = f"{self.name}.apply_gradients"
        with self._undone_if_refused():
            self._build_for(pairs)
            present, places = _gradients.present(pairs)
            known = zip(present, places, strict=True)
            entries = [self._entry_of(var, op, place) for (_, var), place in known]
            gradients = [grad for grad, _ in present]
            if self._is_due():
                due = self._due(gradients, entries, places)
                following = self._following(self._others(entry for _, entry in due))
                stepped = self._step_of([(grad, entry.variable) for grad, entry in due])
                self._reset_accumulators()
            else:
                following = self._following([*entries, *self._others(entries)])
                self._due(gradients, entries, places)
                stepped = [entry.variable for entry in entries]
        for follow in following:
            follow()
        return stepped

    def _build_for(self, pairs: list[Pair]) -> None:
        """Make the state of variables that is due: at first, and of those that are expected."""
        given = [var for _, var in pairs]
        op = f"{self.name}.apply_gradients"
        if not self._built:
            self.build(given)
        elif len(self._expected):
            found = [self._expected.find(var, op, place) for place, var in enumerate(given)]
            self.build([entry.variable for entry in found if entry is not None])

    def _checked(self, pairs: list[Pair]) -> tuple[list[Pair], list[Change], list[Change]]:
        """The arguments of `_update`, which refuses nothing after that; `update_step` may."""
        pairs = _gradients.clip(pairs, **self._clips())
        pairs = [(_deduplicated(grad, var), var) for grad, var in pairs]
        op, weight_decay, decays = f"{self.name}.apply_gradients", self._decay_before(), []
        for grad, var in () if weight_decay is None else pairs:
            if self._use_weight_decay(var):
                rate = self.learning_rate  # which is to be there without decay, too, as in Keras
                if weight_decay != 0:  # by which infinite weights would become NaN
                    rows = self._rows_around(grad)
                    decays.append(_decay_average.decay(op, var, rows, weight_decay, rate))
        entries = [self._entry_of(var, self.name) for _, var in pairs] if self.use_ema else []
        return pairs, decays, self._following(entries, [self._rows_around(g) for g, _ in pairs])

    def _update(
        self, pairs: list[Pair], decays: Iterable[Change], averages: Iterable[Change]
    ) -> None:
        """One step of variables, each by `update_step`."""
        for decay in decays:
            decay()
        for grad, var in pairs:
            self.update_step(grad, var)
        for follow in averages:
            follow()

    def _following(self, entries: Sequence[Entry], rows: Sequence[Any] = ()) -> list[Change]:
        """How the averages of variables follow, if there are averages.

        Args:
            entries: the variables.
            rows: of each, the rows that follow; by default, all.
        """
        if not self.use_ema:
            return []
        op, how = f"{self.name}.apply_gradients", (self._momentum_of_average(), self._overwrites())
        return [
            _decay_average.average(op, self._average_of(entry), entry.variable, own, *how)
            for entry, own in zip(entries, rows or [None] * len(entries), strict=True)
        ]

    def _rows_around(self, gradient: Any) -> Any:
        """The rows that decay, and whose average follows; None for all."""
        return None

    def update_step(self, gradient: Any, variable: Variable) -> None:
        """Hook: update a variable by its gradient.

        Args:
            gradient: an array, or `slotwise.IndexedSlices` that name no row twice.
            variable: the variable.
        """
        raise NotImplementedError("Must be implemented in subclasses: update_step")


def _listed(var_list: Any) -> Sequence[Any]:
    if isinstance(var_list, (list, tuple)):
        return var_list
    got = type(var_list).__name__
    raise TypeError(f"minimize: var_list: expected a list of slotwise.Variables, got {got}")


def _deduplicated(gradient: Any, variable: Variable) -> Any:
    if not isinstance(gradient, IndexedSlices):
        return gradient
    rows, summed = coalesce(gradient.indices, gradient.values, variable.shape[0])
    return IndexedSlices(summed, rows, gradient.dense_shape)
