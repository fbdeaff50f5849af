# SPDX-License-Identifier: Apache-2.0
"""Arrays that belong to an optimizer: their initial values, and the variables they belong to."""

from __future__ import annotations

import copy
import operator
import re
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments, _tables
from slotwise._identity import Memory, memory_of
from slotwise._variable import NO_NAME, Variable, described, own_array

_INITIALIZERS = {"zeros": 0.0, "zero": 0.0, "ones": 1.0, "one": 1.0}


def initial(op: str, initializer: Any, shape: Any, dtype: Any) -> NDArray[Any]:
    """An array by the name of an initializer, a function of shape and dtype, or a value."""
    kind = _arguments.dtype_of(op, dtype)
    sizes = _arguments.sizes_of(op, shape, kind.itemsize)
    if isinstance(initializer, str):
        if initializer not in _INITIALIZERS:
            expected = " or ".join(repr(name) for name in _INITIALIZERS)
            raise ValueError(f"{op}: initializer: expected {expected}, got {initializer!r}")
        initializer = _INITIALIZERS[initializer]
    if callable(initializer):
        # Held as it is: the slot may lie where the function put it, in a memory map, say.
        expected = "a function of shape and dtype"
        made = _arguments.called(op, "initializer", expected, initializer, sizes, dtype=kind)
        return _arguments.array(op, "what initializer returned", made, kind)
    value = _arguments.array(op, "initializer", initializer)
    array = _tables.zeroed(op, sizes, kind)
    if value.ndim or value != 0:  # memory that is not touched is free
        _tables.filled(op, "initializer", array, value)
    return array


def number_of(initializer: Any) -> Any:
    """What an initializer fills an array with, if that is one number; else None."""
    if isinstance(initializer, str):
        return _INITIALIZERS.get(initializer)
    return None if callable(initializer) or np.ndim(initializer) else initializer


def array_of(op: str, given: Any, place: int | None = None) -> NDArray[Any]:
    """The array of a variable or an array."""
    if isinstance(given, Variable):
        return own_array(given)
    if isinstance(given, np.ndarray):
        return given
    where, got = described(given, place), type(given).__name__
    raise TypeError(f"{op}: {where}: expected a slotwise.Variable or an ndarray, got {got}")


# ----- variables by their memory -----------------------------------------------------------------


class Entry:
    """A variable that an optimizer has met.

    Steps apart, this alone refers to the variable within an optimizer: so it can be told whether
    anything outside does.

    Attributes:
        variable: the variable.
        slots: what the optimizer keeps beside it, by name.
        starts: of slots that began with one number, the number; None for the variable's value.
        is_bare: whether it stands for an array of the user's, which has no name.
        memory: what it is known by.
        is_claimed: whether it was named since the optimizer was copied or loaded.
    """

    __slots__ = (
        *("_base", "deferral", "is_bare", "is_claimed", "memory", "slots", "starts", "variable"),
    )

    def __init__(self, given: Variable | NDArray[Any]) -> None:
        self.is_bare = not isinstance(given, Variable)
        self.variable = given if isinstance(given, Variable) else Variable(given)
        self.slots: dict[str, Variable] = {}
        self.starts: dict[str, Any] = {}
        self.is_claimed = True
        self.deferral: Any = None  # what puts off the steps of its rows: of `_deferred`
        self.locate()

    def locate(self) -> None:
        """Look up where the memory is."""
        value = own_array(self.variable)
        self.memory: Memory = memory_of(value)
        # NumPy would free, on `resize(refcheck=False)`, what a view is of; not if there is a weak
        # reference.
        self._base = weakref.ref(value.base) if isinstance(value.base, np.ndarray) else None

    def add_slot(self, name: str, slot: Variable, start: Any) -> None:
        """Keep a slot; ``start`` is what its array was made of."""
        self.slots[name] = slot
        if start is self.variable:
            self.starts[name] = None
        elif (number := number_of(start)) is not None:
            self.starts[name] = number

    def first_value(self, slot: str) -> Any:
        """What a slot among ``starts`` begins with."""
        start = self.starts[slot]
        return own_array(self.variable) if start is None else start

    def __getstate__(self) -> tuple[Any, ...]:
        return self.variable, self.slots, self.starts, self.is_bare

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.variable, self.slots, self.starts, self.is_bare = state
        self.is_claimed = False
        self.deferral = None

    def has_moved(self) -> bool:
        """Whether the array was resized or changed in place since it was met."""
        return memory_of(own_array(self.variable)) != self.memory

    def looks_like(self, given: Variable | NDArray[Any]) -> bool:
        if (given.shape, given.dtype) != (self.variable.shape, self.variable.dtype):
            return False
        names = {self.variable.name, given.name if isinstance(given, Variable) else NO_NAME}
        return NO_NAME in names or len(names) == 1

    def is_abandoned(self) -> bool:
        """Whether nothing outside of the optimizer refers to the variable or to its memory."""
        if self._base is None:
            return own_array(self.variable).base is None and self._references() == _ALONE
        if not _owns_memory(own_array(self.variable).base):
            return False
        return self._references() == _ALONE_AS_VIEW

    def _references(self) -> tuple[int, int, int]:
        of_base = sys.getrefcount(own_array(self.variable).base) if self._base is not None else 0
        of_array = sys.getrefcount(own_array(self.variable)) - (self.deferral is not None)
        return sys.getrefcount(self.variable), of_array, of_base


def _owns_memory(array: Any) -> bool:
    return array.base is None or type(array.base).__name__ == "PyCapsule"  # of slotwise.zeros


# How many references there are where there is no other.
_ALONE = Entry(Variable(np.zeros(1)))._references()
_ALONE_AS_VIEW = Entry(Variable(np.zeros(1)[:]))._references()


class Variables:
    """The variables that an optimizer has met, by the memory of their arrays.

    Bare arrays get a variable each. All are kept alive, so that no memory is used again.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._by_memory: dict[Memory, Entry] = {}
        self._by_array: dict[int, Entry] = {}
        self._is_restored = False

    def __getstate__(self) -> tuple[list[Entry]]:
        return (self._entries,)

    def __setstate__(self, state: tuple[list[Entry]]) -> None:
        self.__init__()  # type: ignore[misc]
        (self._entries,) = state
        self._is_restored = True  # the arrays of the entries may not be, yet

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _index(self, entry: Entry) -> None:
        self._by_memory[entry.memory] = entry
        self._by_array[id(own_array(entry.variable))] = entry

    def located(self) -> Iterator[Entry]:
        """All entries, with the memory that they are known by."""
        if self._is_restored:
            for entry in self._entries:
                entry.locate()
                self._index(entry)
            self._is_restored = False
        return iter(self._entries)

    def _of(self, array: NDArray[Any]) -> Entry | None:
        self.located()
        return self._by_memory.get(memory_of(array))

    def find(self, given: Any, op: str, place: int | None = None) -> Entry | None:
        """What is known of a variable or an array; None if it was not met.

        Args:
            given: a variable or an array.
            op, place: what errors begin with, and its place in a list.

        Raises:
            TypeError: it is neither.
            ValueError: it was resized or changed in place since it was met, or has another
                constraint than it had.
        """
        array = array_of(op, given, place)
        entry = self._of(array)
        if entry is None:
            if id(array) in self._by_array:
                raise _moved(op, given, place)
            return None
        if array is not own_array(entry.variable) and entry.has_moved():
            raise _moved(op, entry.variable, None)
        if has_another_constraint(given, entry.variable):
            raise ValueError(
                f"{op}: {described(given, place)}: expected the constraint that its memory was "
                f"first met with, {entry.variable.constraint}, got {given.constraint}"
            )
        entry.is_claimed = True
        return entry

    def add(
        self, given: Sequence[Any], op: str, places: Sequence[int] | None = None, steps: Any = None
    ) -> list[Entry]:
        """Get to know variables and arrays; those that were met already stay as they are.

        Args:
            given: variables and arrays.
            op, places: what errors begin with, and the places in the user's list.
            steps: what else of the optimizer refers to variables: `Steps`.

        Raises:
            TypeError, ValueError: as `find`; and if one that was not met seems to stand for one
                that was: it is a view of one that was resized; it looks like one that nobody has
                named since the optimizer was copied; or like one that nobody can name any more,
                as it was replaced. Nothing was added.
        """
        places = range(len(given)) if places is None else places
        found = [self.find(each, op, at) for each, at in zip(given, places, strict=True)]
        if None not in found:
            return [entry for entry in found if entry is not None]
        unknown = [
            (each, at) for each, at, e in zip(given, places, found, strict=True) if e is None
        ]
        if (doubt := self.doubt(unknown, op, steps)) is not None:
            raise ValueError(doubt)
        entries = []
        for each, known in zip(given, found, strict=True):
            entry = known or Entry(each)
            first = self._by_memory.get(entry.memory)  # it may be twice in the list
            if first is None:
                self._entries.append(entry)
                self._index(entry)
            entries.append(first or entry)
        return entries

    def doubt(self, unknown: Sequence[tuple[Any, int | None]], op: str, steps: Any) -> str | None:
        """Why one of these, with its place in a list, may stand for one that was met.

        Raises:
            ValueError: it is a view of one that was resized or changed in place since.
        """
        if not self._entries:
            return None
        if steps is not None:
            steps.forget()
        doubtful = [e for e in self._entries if not e.is_claimed or e.is_abandoned()]
        moved = [e for e in self._entries if e.has_moved()]
        for given, place in unknown:
            for entry in moved:
                if np.may_share_memory(array_of(op, given), own_array(entry.variable)):
                    raise _moved(op, given, place)
            for entry in doubtful:
                if entry.looks_like(given):
                    return _doubt(op, given, place, entry)
        return None

    def keep(self, entries: Iterable[Entry]) -> None:
        """Forget all others."""
        self._entries = list(entries)
        self._by_memory.clear()
        self._by_array.clear()
        if not self._is_restored:
            for entry in self._entries:
                self._index(entry)


def has_another_constraint(given: Any, variable: Variable) -> bool:
    """Whether something given for a variable has a constraint that the variable has not."""
    constraint = given.constraint if isinstance(given, Variable) else None
    return constraint is not None and bool(constraint != variable.constraint)


def _moved(op: str, given: Any, place: int | None) -> ValueError:
    return ValueError(
        f"{op}: {described(given, place)}: expected the memory, shape and dtype that it had when "
        "it was first met, got an array that was resized or changed in place since"
    )


def _doubt(op: str, given: Any, place: int | None, entry: Entry) -> str:
    where, what = f"{op}: {described(given, place)}", described(entry.variable)
    if not entry.is_claimed:
        return (
            f"{where}: expected {what} that came with this copy of an optimizer, got other memory: "
            "what belongs to it would be lost. Copy or dump both together, as "
            "copy.deepcopy((optimizer, variables)) does, or carry the state over into a new "
            "optimizer by state_dict or slotwise.save"
        )
    return (
        f"{where}: expected the memory of {what}, which nothing else refers to any more, got other "
        "memory: if it was replaced, what belongs to it would be lost. Write into it, as in "
        "`array[...] = value`; or make another optimizer, as from_config(get_config()) does"
    )


# ----- all or nothing ----------------------------------------------------------------------------


class Copied:
    """What copies of an optimizer are."""

    def _has_met(self) -> bool:
        """Whether there is state that belongs to variables."""
        raise NotImplementedError

    def __copy__(self) -> Any:
        if self._has_met():
            raise TypeError(
                f"copy.copy of {type(self).__name__}: expected an optimizer before its first step, "
                "got one with state, which two optimizers cannot share. Use "
                "copy.deepcopy((optimizer, variables)), or from_config(get_config()) for one "
                "without state"
            )
        return copy.deepcopy(self)


class Belongings(Copied):
    """What an optimizer keeps for the variables that it has met."""

    _variables: Variables
    _prepared_steps: Any = None  # `Steps`, if it has a description
    _loss_scale_optimizer: Any  # what wraps it
    _growing: ClassVar[tuple[str, ...]]  # lists and dicts that get longer when variables are met

    def _has_met(self) -> bool:
        return len(self._variables) > 0

    def _met(
        self, given: Sequence[Any], op: str, places: Sequence[int] | None = None
    ) -> list[Entry]:
        """What is known of variables and arrays, after getting to know those that are new."""
        return self._variables.add(given, op, places, self._prepared_steps)

    def _entries(self) -> Iterator[Entry]:
        return self._variables.located()

    def _wanted_entries(self) -> Iterator[Entry]:
        if self._prepared_steps is not None:
            self._prepared_steps.forget()  # which refer to them
        return (entry for entry in self._entries() if not entry.is_abandoned())

    def _memory(self) -> list[NDArray[Any]]:
        met = [entry.variable for entry in self._variables]
        stepped = [variable for step in self._prepared_steps or () for variable in step.variables]
        return [own_array(variable) for variable in (*met, *stepped)]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        for name in ("_lock", "_loss_scale_optimizer"):
            state.pop(name, None)
        return state

    def _settings(self) -> dict[str, Any]:
        """Hook: what `repr` shows, by the names of the constructor's arguments."""
        raise NotImplementedError

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={_shown(value)}" for name, value in self._settings().items())
        return f"{type(self).__name__}({settings})"

    def _counted(self) -> int:
        """Hook: how many steps there were; asking makes nothing."""
        raise NotImplementedError

    @contextmanager
    def _undone_if_refused(self) -> Iterator[None]:
        """Forget what was met and made since, if an exception comes before a step was counted.

        One that comes later, from a constraint or from the keyboard, finds the step done.
        """
        kept, count = dict(vars(self)), self._counted()
        grown = {name: copy.copy(kept[name]) for name in self._growing}
        entries = [(e, dict(e.slots), dict(e.starts)) for e in self._variables]
        try:
            yield
        except BaseException:
            if self._counted() == count:
                vars(self).update(kept, **grown)
                for name in vars(self).keys() - kept.keys():
                    del vars(self)[name]
                self._variables.keep(entry for entry, _, _ in entries)
                for entry, slots, starts in entries:
                    entry.slots, entry.starts = slots, starts
                if self._prepared_steps is not None:
                    self._prepared_steps.forget()
            raise


def _shown(value: Any) -> str:
    """A setting, as the constructor takes it; functions are not called."""
    if isinstance(value, (Variable, np.ndarray)) and value.ndim == 0:
        return str(np.asarray(value)[()])
    return str(value) if isinstance(value, np.generic) else repr(value)


def count_of(owner: str, value: Any) -> Variable | int:
    """What `iterations` may be: a variable that can count, or a number.

    Raises:
        TypeError: neither.
        ValueError: a negative number.
    """
    if isinstance(value, Variable):
        if value.shape or value.dtype != np.int64:
            got = f"one of {value.dtype} of shape {value.shape}"
            raise TypeError(f"{owner}.iterations: expected an int64 variable of rank 0, got {got}")
        return value
    try:
        count = None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        count = None
    if count is None:
        got = type(value).__name__
        raise TypeError(
            f"{owner}.iterations: expected an integer or a slotwise.Variable, got {got}"
        )
    if not 0 <= count < 2**63:
        raise ValueError(f"{owner}.iterations: expected 0 <= iterations < 2**63, got {count}")
    return count


def listed(op: str, name: str, what: str, given: Any) -> list[Any]:
    """The items of an iterable that is no array."""
    if isinstance(given, (Variable, np.ndarray, str, bytes, dict)):
        items = None
    else:
        try:
            items = iter(given)
        except (TypeError, AttributeError):
            items = None
    if items is None:
        raise TypeError(f"{op}: {name}: expected a list of {what}, got {type(given).__name__}")
    return list(items)


def values_of(op: str, name: str, given: Any) -> list[NDArray[Any]]:
    """The arrays of a list of weights."""
    items = _arguments.items_of(op, name, "arrays", given)
    return [_arguments.array(op, f"{name}[{i}]", item) for i, item in enumerate(items)]


def constrain(var: Variable) -> None:
    """Give a variable the value that its constraint, if it has one, makes of it."""
    if var.constraint is not None:
        var.assign(var.constraint(var))


_used_names: dict[str, int] = {}


def unique_name(class_name: str) -> str:
    """The class's name in snake case; from the second time on, with a number."""
    name = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", class_name)
    name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
    count = _used_names.get(name, 0)
    _used_names[name] = count + 1
    return f"{name}_{count}" if count else name
