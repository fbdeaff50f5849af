# SPDX-License-Identifier: Apache-2.0
"""What an optimizer provides whose state can be kept, and how whoever keeps it asks for it.

An optimizer defines the hooks of `Stateful`. Others ask by the functions here, and know no hook: an
optimizer of a user's has names of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple, Protocol

from slotwise import _core, _tracking
from slotwise._identity import Memory, memory_of
from slotwise._lock import Locked, held, locks_of
from slotwise._names import Array, Kind, Names, array_of, owner_of, prefix_of, refuse_repeated
from slotwise._overlap import Spans
from slotwise._variable import Variable, deferred_of, described, flush, own_array


class Met(Protocol):
    """A variable that an optimizer has met.

    Attributes:
        variable: the variable.
        slots: what the optimizer keeps beside it, by name.
        starts: of slots that began with one number, the number; None for the variable's value.
        is_bare: whether it stands for an array of the user's, which has no name.
        memory: what it is known by.
    """

    variable: Variable
    slots: dict[str, Variable]
    starts: dict[str, Any]
    is_bare: bool
    memory: Memory

    def first_value(self, slot: str) -> Any:
        """What a slot among ``starts`` begins with."""
        ...


# Beside the slots of a variable whose steps were put off: at which step each row stands, unless all
# stand at the latest, and what of steps they make up for.
STEPS, CLOCK = "deferred_steps", "deferred_clock"


class PutOff(Protocol):
    """What is to be filled of these, and what follows."""

    @property
    def arrays(self) -> Mapping[str, Array]: ...

    def check(self, clock: Array) -> None:
        """Raise if `CLOCK` is of another kind of variable, or of another rule."""
        ...

    def finish(self) -> None:
        """Have rows stand where they are told to."""
        ...


class Stateful(Locked):
    """An optimizer, or what wraps one. A front end defines the hooks."""

    def _class_and_config(self) -> dict[str, Any]:
        """Hook: what it is, and its settings, as ``serialize`` returns them."""
        raise NotImplementedError

    def _own_state(self) -> dict[str, Variable | Array]:
        """Hook: all state that is no slot, by name: counts, numbers that may change."""
        raise NotImplementedError

    def _hyperparameters(self) -> dict[str, Any]:
        """Hook: hyperparameters that are numbers and may be set, by name."""
        raise NotImplementedError

    def _entries(self) -> Iterator[Met]:
        """Hook: the variables that it has met, each with its slots by name."""
        raise NotImplementedError

    def _communicator(self) -> Any:
        """Hook: the ranks that make its steps together; None if there are no others."""
        return None

    def _share_of(self, variable: Any) -> Any:
        """Hook: what this rank has of a variable that it updates with others, as it was met."""
        return variable

    def _require_known(self, variable: Any, op: str, place: int) -> None:
        """Hook: raise if a step would refuse the variable; by default, it takes any."""

    def _wanted_entries(self) -> Iterator[Met]:
        """Hook: of these, those that anybody else knows."""
        raise NotImplementedError

    def _deferral(self, entry: Met) -> _core.Deferral | None:
        """Hook: what puts off the steps of a variable, if anything does."""
        return None

    def _taking(self, variable: Any, kinds: Mapping[str, Kind]) -> PutOff | None:
        """Hook: what is to be filled of these for a variable that has slots; None: nothing.

        Args:
            variable: a variable or an array.
            kinds: shape and dtype of those that a state has.
        """
        return None

    def _make_slots(self, variables: Sequence[Any], others: Sequence[Any] = ()) -> None:
        """Hook: make the slots of variables or arrays that had no step yet, as far as it can.

        The others may be updated later, and have no slots until then. Where all are to be known
        beforehand, these are from now on.
        """
        raise NotImplementedError

    def _make_given(self, names: Collection[str], variables: Names, others: Sequence[Any]) -> None:
        """Make what a state of these names needs: by default, the slots of its variables.

        Args:
            names: of the state.
            variables: those that it has slots of, by name.
            others: as of `_make_slots`.
        """
        self._make_slots([*variables.values()], others)

    def _undone_if_refused(self) -> AbstractContextManager[None]:
        """Hook: forget what was met and made since, if an exception comes before a step."""
        raise NotImplementedError

    def _state_was_written(self) -> None:
        """Hook: what follows from state is to be made anew."""

    def _restored_settings(self) -> frozenset[str]:
        """Hook: keys of the config that state restores, or that are functions of the caller's."""
        raise NotImplementedError

    def _set_step_count(self, count: int) -> None:
        """Hook: have made so many steps."""
        raise NotImplementedError

    def _compatible_weights(self, weights: list[Any]) -> list[Any]:
        """A list of weights, in today's layout if it is in an older one."""
        return weights


# Optimizers by what precedes the names of their state: "gen/", or nothing if there is but one.
Group = Mapping[str, Any]


def met(optimizer: Stateful) -> Iterator[Met]:
    """The variables that it has met."""
    return optimizer._entries()


def communicators_of(optimizers: Iterable[Stateful]) -> list[Any]:
    """The ranks that make steps of optimizers together."""
    found = [each._communicator() for each in optimizers]
    return [comm for comm in found if comm is not None]


def numbers_of(optimizer: Stateful) -> dict[str, Any]:
    """Its hyperparameters that are numbers and may be set, by name."""
    return optimizer._hyperparameters()


def class_and_config(optimizer: Stateful) -> dict[str, Any]:
    """What it is, and its settings."""
    return optimizer._class_and_config()


def restored_settings(optimizer: Stateful) -> frozenset[str]:
    """Keys of its config that state restores, or that are functions of the caller's."""
    return optimizer._restored_settings()


def make_slots(optimizer: Stateful, variables: Sequence[Any]) -> None:
    """Make the slots of variables or arrays that had no step yet, as far as it can."""
    optimizer._make_slots(variables)


def set_step_count(optimizer: Stateful, count: int) -> None:
    """Have it have made so many steps."""
    optimizer._set_step_count(count)


def compatible_weights(optimizer: Stateful, weights: list[Any]) -> list[Any]:
    """A list of weights, in today's layout if it is in an older one of this optimizer's."""
    return optimizer._compatible_weights(weights)


@contextmanager
def undone_if_refused(optimizers: Iterable[Stateful]) -> Iterator[None]:
    """Forget what optimizers meet and make meanwhile if an exception comes."""
    with ExitStack() as undone:
        for each in optimizers:
            undone.enter_context(each._undone_if_refused())
        yield


@contextmanager
def written(optimizers: Iterable[Stateful]) -> Iterator[None]:
    """Write the state of optimizers meanwhile; no step comes between.

    If that is refused, what they met and made for it is forgotten; else, what follows from state is
    made anew at the end.
    """
    own = [*optimizers]
    with held(locks_of(own)), undone_if_refused(own):
        yield
        for each in own:
            each._state_was_written()


class Entries(NamedTuple):
    """State of optimizers: arrays by name."""

    arrays: dict[str, Array]
    owners: dict[str, Array]  # of slots, the arrays beside which they are
    met: dict[str, Met]  # variables that have slots
    others: dict[str, Met]  # that have none


def entries(
    op: str, group: Group, names: Names, shown: Callable[[Any], Array] = array_of
) -> Entries:
    """All state of optimizers.

    Args:
        op: what errors begin with.
        group: the optimizers.
        names: what to call variables; others have their own names.
        shown: what is to be had of a slot: its memory, of which rows may be behind, or its value.

    Raises:
        ValueError: several of one name; an array without one.
    """
    found = Entries({}, {}, {}, {})
    if not group:
        return found
    repeated, nameless = set(), []
    for prefix, optimizer in group.items():
        met = ((n, array_of(x)) for n, v in names.items() for x in (v, optimizer._share_of(v)))
        known = {memory_of(array): (name, array) for name, array in met}
        found.arrays.update((prefix + n, shown(v)) for n, v in optimizer._own_state().items())
        for entry in optimizer._entries():
            default = None if entry.is_bare else entry.variable.name, own_array(entry.variable)
            name, owner = known.get(entry.memory, default)
            if not entry.slots:
                found.others[f"{prefix}{name}"] = entry
                continue
            if name is None:
                nameless.append(described(entry.variable))
                continue
            found.met[prefix + name] = entry
            for slot, value in entry.slots.items():
                full = f"{prefix}{name}/{slot}"
                if full in found.arrays:
                    repeated.add(full)
                found.arrays[full], found.owners[full] = shown(value), owner
    if nameless:
        raise ValueError(
            f"{op}: variables: expected a name for every array that the optimizer trains, got none "
            f"for: {', '.join(nameless)}; pass a dict from names to arrays and Variables"
        )
    refuse_repeated(op, repeated)
    return found


def _by_memory(names: Names) -> dict[Memory, Array]:
    return {memory_of(array): array for array in map(array_of, names.values())}


def add_put_off(group: Group, found: Entries, names: Names) -> list[_core.Deferral]:
    """Add what tells which steps rows have to make up for, of variables that have these names.

    Returns:
        What puts off the steps of these, of which all is known therefore.
    """
    arrays, known = _by_memory(names), []
    for full, entry in (*found.met.items(), *found.others.items()):
        core = group[prefix_of(full, group)]._deferral(entry)
        if core is None or entry.memory not in arrays:
            continue
        known.append(core)
        found.arrays[f"{full}/{CLOCK}"] = core.clock
        if core.is_behind:
            found.arrays[f"{full}/{STEPS}"] = core.last
            found.owners[f"{full}/{STEPS}"] = arrays[entry.memory]
    return known


def bring_to_now(group: Group, names: Names) -> None:
    """Have all rows that are about to be written stand at the latest step."""
    cores = [each._deferral(entry) for each in group.values() for entry in each._entries()]
    cores += [deferred.core for v in names.values() if (deferred := deferred_of(v)) is not None]
    for core in cores:
        if core is not None:
            flush(core)


def refuse_left_out(op: str, group: Group, names: Names) -> None:
    """Whoever saves variables saves all that are trained: slots without values are of no use."""
    spans = Spans(memory_of(array_of(value)) for value in names.values())
    left_out = [
        described(entry.variable)
        for optimizer in group.values()
        for entry in optimizer._wanted_entries()
        if not spans.cover(entry.memory)
    ]
    if left_out:
        raise ValueError(
            f"{op}: variables: expected all that the optimizer trains, got none for: "
            f"{', '.join(left_out)}; pass them, too (arrays in a dict from names), or "
            "variables=None, which saves the optimizer's state alone"
        )


class Prepared(NamedTuple):
    """What a state is loaded into."""

    arrays: dict[str, Array]
    owners: dict[str, Array]  # of slots, the arrays beside which they are
    fresh: dict[str, list[tuple[Array, Any]]]  # variables without state; slots, and their values
    put_off: dict[str, PutOff]  # by the name that precedes theirs

    def finish(self) -> None:
        """What follows once the arrays are filled.

        The slots of variables without state get the values that they begin with.
        """
        for each in self.put_off.values():
            each.finish()
        for slots in self.fresh.values():
            for array, value in slots:
                _tracking.mark(array)
                array[...] = value


def prepare(op: str, group: Group, given: Mapping[str, Kind], names: Names) -> Prepared:
    """Make the slots that a state has, as for a first step; tell whose begin anew.

    Args:
        op: what errors begin with.
        group: the optimizers.
        given: shape and dtype of what the state has, by name.
        names: variables by name.
    """
    having = {prefix: _having(prefix, each, given, names) for prefix, each in group.items()}
    somewhere = {name for variables in having.values() for name in variables}
    others = {name: v for name, v in names.items() if name not in somewhere and _is_trained(v)}
    for prefix, optimizer in group.items():
        own = {name.removeprefix(prefix) for name in given if name.startswith(prefix)}
        optimizer._make_given(own, having[prefix], [*others.values()])
    found = entries(op, group, names)
    fresh: dict[str, list[tuple[Array, Any]]] = {}
    for full, entry in found.met.items():
        prefix = prefix_of(full, group)
        if full.removeprefix(prefix) in having[prefix]:
            continue
        if not found.arrays[f"{prefix}iterations"]:  # numbers are still what they were at first
            again = [name for name, start in entry.starts.items() if start is None]
        elif having[prefix] and entry.starts.keys() == entry.slots.keys():
            again = [*entry.slots]
        else:
            continue
        fresh[full] = [(own_array(entry.slots[name]), entry.first_value(name)) for name in again]
        for slot in entry.slots:
            del found.arrays[f"{full}/{slot}"]
    if somewhere:
        known = {name for prefix in group for name in others if prefix + name in found.met}
        fresh |= {name: [] for name in others if name not in known}
    put_off, arrays = {}, _by_memory(names)
    for full, entry in (*found.met.items(), *found.others.items()):
        prefix = prefix_of(full, group)
        kinds = {n: given[x] for n in (CLOCK, STEPS) if (x := f"{full}/{n}") in given}
        variable = having[prefix].get(full.removeprefix(prefix))
        taken = None if variable is None else group[prefix]._taking(variable, kinds)
        if taken is None:
            continue
        put_off[full] = taken
        found.arrays.update((f"{full}/{which}", x) for which, x in taken.arrays.items())
        if STEPS in taken.arrays and entry.memory in arrays:
            found.owners[f"{full}/{STEPS}"] = arrays[entry.memory]
    return Prepared(found.arrays, found.owners, fresh, put_off)


def _having(prefix: str, optimizer: Any, given: Iterable[str], names: Names) -> dict[str, Any]:
    """The variables of which there are slots in a state: the caller's, then those met before."""
    memories = _by_memory(names)
    met = [entry for entry in optimizer._entries() if entry.memory not in memories]
    own = {**{entry.variable.name: entry.variable for entry in met}, **names}
    of_state = (name.removeprefix(prefix) for name in given if name.startswith(prefix))
    owners = dict.fromkeys(owner_of(name, own) for name in of_state)
    return {name: own[name] for name in owners if name is not None}


def _is_trained(variable: Any) -> bool:
    return not isinstance(variable, Variable) or variable.trainable
