# SPDX-License-Identifier: Apache-2.0
"""One step of an optimizer with a description, of either API: one call into the extension.

A step is prepared once for a list of variables, and found again by their memory (`Steps`). To make
it, `run` reads from the optimizer what it has to say, all at once (`Reading`), has the description
make the kernel's coefficients of that, and applies them. `take` does the same for variables that
may be new.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from slotwise import _core, _tracking
from slotwise._variable import Deferred, Variable, described, own_array
from slotwise.optimizers import _deferred, _gradients
from slotwise.optimizers._deferred import Moved
from slotwise.optimizers._description import Description, Options, Scope, Update
from slotwise.optimizers._gradients import Pair, Places
from slotwise.optimizers._numbers import TYPES, ByType, Float, Reading, compute_type, rounded
from slotwise.optimizers._state import Entry, has_another_constraint

_HYPERS = {rule["name"]: tuple(rule["hypers"]) for rule in _core.RULES}

Call: TypeAlias = tuple[Any, ...]  # of one step, as `_core.apply_all` takes it
Clips: TypeAlias = Mapping[str, Any]  # the limits of gradients; None: no limit

NO_CLIPS: Clips = dict.fromkeys(("clipnorm", "clipvalue", "global_clipnorm"))


# ----- what is prepared --------------------------------------------------------------------------


class Step:
    """A list of variables with their slots, to be updated by one rule.

    Args:
        op: what errors begin with.
        update: the rule.
        options: the optimizer's, from which the rule follows.
        given: the variables, as the user passes them.
        places: where they are in the user's list.
        variables: the same as `Variable`s.
        slots: of each, in the order of the rule's.
        averages: of each, or None if there are none.
        decays: whether the weights of each decay, or None if none do.
        updates_repeats: whether several updates of one variable may be made at once. Not of one
            that is constrained: each update is to see what the constraint made of the one before.
        deferrals: what puts off the steps of each, or None if its gradients were dense so far;
            None if no steps are put off.
    """

    def __init__(
        self,
        op: str,
        update: Update,
        options: Options,
        given: Sequence[Any],
        places: Places,
        variables: Sequence[Variable],
        slots: Sequence[Sequence[Variable]],
        averages: Sequence[Variable] | None = None,
        decays: Sequence[bool] | None = None,
        updates_repeats: bool = False,
        deferrals: Sequence[Deferred | None] | None = None,
    ) -> None:
        self.op, self.update, self.options, self.places = op, update, options, places
        self.variables = list(variables)
        self.constrained = [v for v in variables if v.constraint is not None]
        repeats = len({id(v) for v in variables}) < len(self.variables)
        self.is_at_once = not repeats or (updates_repeats and not self.constrained)
        found = {compute_type(v.dtype) for v in variables}
        self.types: ByType = tuple(kind if kind in found else None for kind in TYPES)
        self.hypers = _HYPERS[update.rule]
        entries = [
            (_key(each), described(variable, place), own_array(variable), *map(own_array, own))
            for each, place, variable, own in zip(given, places, variables, slots, strict=True)
        ]
        arrays = None if averages is None else [own_array(average) for average in averages]
        flags = None if decays is None else list(decays)
        self.is_put_off = deferrals is not None
        self.deferred = list(deferrals or ())
        self.dense = [i for i, each in enumerate(self.deferred) if each is None]
        put_off = [each and each.core for each in self.deferred] if self.is_put_off else None
        self.plan = _core.UpdatePlan(op, update.rule, entries, arrays, flags, put_off)

    def matches(self, options: Options, pairs: list[Pair], places: Places) -> bool:
        """Whether it is for just these pairs."""
        if self.options != options or self.places != places or not self.plan.matches(pairs):
            return False
        if self.dense and any(_gradients.is_slices(pairs[i][0]) for i in self.dense):
            return False
        return not self.constrained or not any(
            has_another_constraint(given, variable)
            for (_, given), variable in zip(pairs, self.variables, strict=True)
        )

    def _hand_on(self, pairs: list[Pair]) -> None:
        """Have the variables that are given show what is put off.

        They may be others of the same memory, or ones of which another optimizer has put off steps
        since, and made up for them.
        """
        for (_, given), own in zip(pairs, self.deferred, strict=True):
            if own is None or not isinstance(given, Variable) or given._deferred is own:
                continue
            if given._deferred is None or not given._deferred.core.is_behind:
                given._deferred = own

    def call(
        self,
        pairs: list[Pair],
        hypers: ByType,
        scope: Scope,
        clips: Clips = NO_CLIPS,
        decay: ByType | None = None,
        average: tuple[float, bool] | None = None,
        rows: str = "rows",
    ) -> Call:
        """The arguments of the extension, for variables whose changes are recorded here."""
        if _tracking.is_used():
            is_whole = scope != "rows" or ((decay or average) and rows == "whole")
            _gradients.mark_touched(pairs, only_rows=self.is_put_off or not is_whole)
        if self.is_put_off:
            self._hand_on(pairs)
        limits = clips["clipvalue"], clips["clipnorm"], clips["global_clipnorm"]
        attrs = self.update.attrs
        return (self.plan, pairs, hypers, attrs, *limits, scope, decay, average, rows, None)


def _key(given: Any) -> Any:
    """The object that the extension knows a variable by at once; else it compares the memory.

    None for a variable with a constraint. The extension holds it where the garbage collector does
    not see it, and a constraint may refer to all that refers to the optimizer.
    """
    is_constrained = isinstance(given, Variable) and given.constraint is not None
    return None if is_constrained or type(given) not in (Variable, np.ndarray) else given


class Steps:
    """The latest steps of an optimizer, each with its plan."""

    _LIMIT = 16

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self.latest: Step | None = None

    def __reduce__(self) -> Any:
        return Steps, ()  # a copy makes its own

    def __iter__(self) -> Iterator[Step]:
        return iter(list(self._steps))

    def latest_for(self, options: Options, pairs: list[Pair]) -> Step | None:
        """The latest, if it is for just these pairs."""
        step = self.latest
        is_same = step is not None and step.matches(options, pairs, range(len(pairs)))
        return step if is_same else None

    def find(self, options: Options, pairs: list[Pair], places: Places) -> Step | None:
        """The one for just these pairs, if there is one."""
        for step in reversed(self._steps):
            if step.matches(options, pairs, places):
                self.latest = step
                return step
        return None

    def add(self, step: Step) -> None:
        while len(self._steps) >= self._LIMIT:
            del self._steps[0]
        self._steps.append(step)
        self.latest = step

    def forget(self) -> None:
        self._steps.clear()
        self.latest = None


# ----- what an optimizer says --------------------------------------------------------------------


class Around(NamedTuple):
    """What is done in the same pass as an update."""

    clips: Clips = NO_CLIPS
    weight_decay: Any = None
    average: tuple[float, bool] | None = None  # momentum; whether variables get the average's value
    rows: str = (
        "rows"  # "whole", or those that a gradient has: they decay, and their average follows
    )


NOTHING = Around()


class Optimizer(Protocol):
    """What a step asks of an optimizer; each API answers in its own way."""

    description: Description
    sparse: str
    _takes_lists: bool  # as gradients
    _takes_constrained_rows: bool  # sparse gradients of variables with a constraint
    _updates_repeats: bool  # as of `Step`
    _prepared_steps: Steps

    @property
    def _op(self) -> str: ...

    def _options(self) -> Options:
        """Which options of the description are on."""
        ...

    def _reading(self, step: Step) -> Reading: ...

    def _rate(self, kind: type[Float]) -> Float:
        """The learning rate of this step."""
        ...

    def _known(self, given: Sequence[Any], places: Places) -> list[Entry]:
        """What is known of variables and arrays, with the slots that there are now."""
        ...

    def _slot_beside(self, entry: Entry, role: str) -> Variable: ...

    def _decays_weights(self) -> bool:
        """Whether weights decay in a step."""
        ...

    def _extras(self, entries: Sequence[Entry]) -> tuple[Any, ...]:
        """The averages of variables, and which of them decay, as `Step` takes them."""
        ...

    def _undone_if_refused(self) -> AbstractContextManager[None]: ...


# ----- a step ------------------------------------------------------------------------------------


def prepared(optimizer: Optimizer, pairs: list[Pair], places: Places) -> Step:
    """The step of these variables, made if there is none yet."""
    step = optimizer._prepared_steps.find(optimizer._options(), pairs, places)
    if step is None:
        step = _new(optimizer, pairs, places)
        optimizer._prepared_steps.add(step)
    return step


def _new(optimizer: Optimizer, pairs: list[Pair], places: Places) -> Step:
    """A step of these variables; it is not found until it is added to the others."""
    given = [var for _, var in pairs]
    entries = optimizer._known(given, places)
    options = optimizer._options()
    update = optimizer.description.update(options)
    variables = [entry.variable for entry in entries]
    slots = [[optimizer._slot_beside(entry, role) for role in update.slots] for entry in entries]
    averages, decays = optimizer._extras(entries)
    deferrals = None
    if optimizer.sparse == _deferred.MODE and _is_put_off(optimizer, update, averages):
        beside = averages or [None] * len(entries)
        moved = [Moved(update, tuple(own), x) for own, x in zip(slots, beside, strict=True)]
        deferrals = [
            _deferred.of(optimizer, entry, place, each)
            if entry.deferral is not None or _gradients.is_slices(grad)
            else None
            for (grad, _), entry, place, each in zip(pairs, entries, places, moved, strict=True)
        ]
    return Step(
        *(optimizer._op, update, options, given, places, variables, slots, averages, decays),
        updates_repeats=optimizer._updates_repeats,
        deferrals=deferrals,
    )


def _is_put_off(optimizer: Optimizer, update: Update, averages: Any) -> bool:
    """Whether rows that a gradient leaves out change at all."""
    return update.scope != "rows" or bool(averages) or bool(optimizer._decays_weights())


def take(
    optimizer: Optimizer,
    pairs: list[Pair],
    places: Places,
    around: Callable[[], Around],
    counts: bool,
    begin: Callable[[], object] | None = None,
) -> Step:
    """Make a step of variables that may be new; all of it is undone if it is refused.

    Args:
        optimizer: whose step it is.
        pairs, places: gradients and variables, and where they are in the user's list.
        around: what is done in the same pass, asked once state was made.
        counts: whether `iterations` counts it.
        begin: makes state that the optimizer is to have first.

    Returns:
        The step. If it is not to be made at once, it was only checked.
    """
    step = optimizer._prepared_steps.find(optimizer._options(), pairs, places)
    if step is not None:
        run(optimizer, step, pairs, around(), counts)
        return step
    with optimizer._undone_if_refused():
        if begin is not None:
            begin()
        step = _new(optimizer, pairs, places)
        run(optimizer, step, pairs, around(), counts)
    optimizer._prepared_steps.add(step)
    return step


def run(
    optimizer: Optimizer,
    step: Step,
    pairs: list[Pair],
    around: Around = NOTHING,
    counts: bool = False,
) -> None:
    """Update the variables of a step, all or none; only check all if that is not to be at once."""
    reading = optimizer._reading(step)
    calls = _calls(optimizer, step, pairs, reading, around)
    changes = reading.changes
    if counts:
        changes += ((reading.counter, int(reading.counter) + 1),)
    flushes = [call[0].flushes for call in calls] if _tracking.is_used() else []
    try:
        _core.apply_all(calls, changes, not step.is_at_once)
    except (TypeError, ValueError):
        again = _with_plain_gradients(optimizer, calls)
        if again is None:
            raise
        _core.apply_all(again, changes, not step.is_at_once)
    for call, before in zip(calls, flushes, strict=False):
        if call[0].flushes != before:  # rows that were put off were written after all
            _gradients.mark_touched(call[1], only_rows=False)


def _with_plain_gradients(optimizer: Optimizer, calls: list[Call]) -> list[Call] | None:
    """These calls with gradients as arrays and IndexedSlices; None if they are already."""
    op, lists = optimizer._op, optimizer._takes_lists
    plain = [_gradients.accepted(op, call[1], lists) for call in calls]
    if all(_gradients.are_same(new, call[1]) for new, call in zip(plain, calls, strict=True)):
        return None
    return [(call[0], new, *call[2:]) for new, call in zip(plain, calls, strict=True)]


def _calls(
    optimizer: Optimizer, step: Step, pairs: list[Pair], reading: Reading, around: Around
) -> list[Call]:
    """What the extension is to do: one call, or one for each part."""
    if optimizer.description.needs_dense_shape and optimizer.sparse != "lazy":
        _gradients.refuse_without_shape(step.op, pairs, step.variables)
    if step.is_put_off and optimizer.sparse != _deferred.MODE:
        raise ValueError(
            f"{step.op}: sparse: expected 'deferred', as in the steps before, got "
            f"{optimizer.sparse!r}: make another optimizer, after flush()"
        )
    if step.constrained and not optimizer._takes_constrained_rows:
        _gradients.refuse_constrained_rows(pairs, step.variables)
    if len(reading.parts) <= 1:
        number = reading.parts[0].number if reading.parts else None
        return [_call(optimizer, step, pairs, reading, around, number)]
    clipped = _gradients.accepted(step.op, pairs, optimizer._takes_lists)
    clipped = _gradients.clip(clipped, **around.clips)
    around = around._replace(clips=NO_CLIPS)
    calls = []
    for part in reading.parts:
        own, places = [clipped[i] for i in part.pairs], [step.places[i] for i in part.pairs]
        part_step = prepared(optimizer, own, places)
        calls.append(_call(optimizer, part_step, own, reading, around, part.number))
    return calls


def _call(
    optimizer: Optimizer,
    step: Step,
    pairs: list[Pair],
    reading: Reading,
    around: Around,
    number: Any,
) -> Call:
    """The numbers of a step, its coefficients, and what surrounds it, for the extension."""
    by_type = [*zip(step.types, reading.rates, strict=True)]
    hypers = tuple(
        [kind and _coefficients(optimizer, step, reading, kind, x, number) for kind, x in by_type]
    )
    decay = None
    if share := around.weight_decay:
        decay = tuple([kind and (float(rounded(share, kind)), float(x)) for kind, x in by_type])
    scope: Scope = step.update.scope if optimizer.sparse != "lazy" else "rows"
    return step.call(pairs, hypers, scope, around.clips, decay, around.average, around.rows)


def _coefficients(
    optimizer: Optimizer,
    step: Step,
    reading: Reading,
    kind: type[Float],
    rate: Float,
    number: Any,
) -> tuple[float, ...]:
    """What the kernel takes, in its order, for the variables that are computed in a type."""
    values = optimizer.description.coefficients(reading.numbers(kind, rate, number))
    found = tuple([float(values[name]) for name in step.hypers])
    if not math.isfinite(sum(found)):
        _refuse_infinite(optimizer, reading)
    return found


def _refuse_infinite(optimizer: Optimizer, reading: Reading) -> None:
    """Name the hyperparameter that was written to since it was checked, if it is one."""
    for name in ("learning_rate", *reading.values):
        value = reading.values[name] if name in reading.values else optimizer._rate(np.float64)
        if value is not None and not np.all(np.isfinite(np.asarray(value, np.float64))):
            raise ValueError(
                f"{optimizer._op}: {name}: expected a finite number, got {float(value)}"
            )
