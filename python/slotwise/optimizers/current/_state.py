# SPDX-License-Identifier: Apache-2.0
"""State of the current API: a list of variables, known beforehand, and what belongs to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from slotwise import _arguments
from slotwise._variable import Variable, described, own_array
from slotwise.optimizers._state import (
    Belongings,
    Entry,
    Variables,
    count_of,
    initial,
    listed,
    values_of,
)
from slotwise.optimizers._state_dict import StateDict
from slotwise.optimizers._step import Steps
from slotwise.optimizers.current import _keras3

_log = logging.getLogger("slotwise")


class CallableList(list[Variable]):
    """A list that returns itself when it is called."""

    def __call__(self) -> CallableList:
        return self


class SlotsByVariable(Belongings, StateDict):
    """Keeps the variables that belong to an optimizer."""

    _growing: ClassVar[tuple[str, ...]] = (
        *("_accumulators", "_averages", "_held", "_index_dict", "_own"),
    )
    _extends: ClassVar[bool] = False  # `build` makes the state of further variables, too
    name: str
    use_ema: bool
    _accumulation: int | None
    _step_count: Callable[[], int]

    def __init__(self) -> None:
        self._variables = Variables()
        self._expected = Variables()  # whose state is to be made when they are first updated
        self._iterations = Variable(np.zeros((), np.int64), trainable=False, name="iteration")
        self._held: list[Variable] = [self._iterations]
        self._own: list[Variable] = []  # those that are beside none that is trained
        self._averages: dict[Entry, Variable] = {}
        self._accumulators: dict[Entry, Variable] = {}  # of gradients
        self._adding = Steps()
        self._index_dict: dict[Entry, int] = {}
        self._built = False

    @property
    def iterations(self) -> Any:
        """How many times gradients were applied: an int64 variable, the first of `variables`.

        With ``gradient_accumulation_steps``, how many updates there were: a number. The first of
        `variables` counts the calls of `apply_gradients`.
        """
        return self._iterations if self._accumulation is None else np.int64(self._step_count())

    @iterations.setter
    def iterations(self, value: Any) -> None:
        """A number is written into the variable; a variable takes its place."""
        if self._accumulation is not None:
            raise ValueError(
                f"{type(self).__name__}.iterations: expected to be left as it is with "
                "gradient_accumulation_steps; variables[0] has the count of calls"
            )
        count = count_of(type(self).__name__, value)
        if not isinstance(count, Variable):
            with self._lock.step():
                self._iterations.assign(count)
            return
        if self._built:
            raise RuntimeError(
                "Cannot set `iterations` to a new Variable after the Optimizer weights have been "
                f"created. Here it is attempting to set `iterations` to {value!r}. Usually this "
                "means you are trying to set `iterations` after calling `apply_gradients()`. "
                "Please set `iterations` before calling `apply_gradients()`."
            )
        self._iterations = count

    def _set_step_count(self, count: int) -> None:
        self._iterations.assign(count * (self._accumulation or 1))

    def _count_skipped(self) -> None:
        """Count a step that was left out; the calls of an update are those that were not."""
        if self._accumulation is None:
            self._iterations.assign_add(1)

    def _counted(self) -> int:
        return int(own_array(self._iterations))

    def _counter(self) -> Variable:
        return self._iterations

    def build(self, var_list: Sequence[Any]) -> None:
        """Make the state for these variables; the first step does it, if you do not.

        When it is called again, the optimizers built in make the state of those that are new, at
        the end of `variables`.

        An optimizer of your own calls this, returns if ``_built``, makes its variables by
        `add_variable_from_reference`, and sets ``_built``.

        Args:
            var_list: all variables that will be updated.

        Raises:
            TypeError: something else than a list of variables.
            ValueError: more variables, of an optimizer of your own that has been built.

        Example:
            >>> import slotwise
            >>> opt = slotwise.optimizers.Adam()
            >>> opt.build([slotwise.Variable([1.0, 2.0], name="w")])
            >>> [variable.name for variable in opt.variables]
            ['iteration', 'm/w', 'v/w']
        """
        op = f"{self.name}.build"
        given = listed(op, "var_list", "variables", var_list)
        if self._built:
            place = self._first_unknown(given, op)
            if place is None:
                return
            if not self._can_extend():
                raise ValueError(
                    f"{op}: {described(given[place], place)}: expected a variable that it was "
                    f"built with, got another: {type(self).__name__} has a `build` of its own, "
                    "which may not make state for more. Make another optimizer, and build it with "
                    "all variables"
                )
        entries = self._met(given, op)
        for place, entry in enumerate(entries):
            if not self._built:
                self._index_dict[entry] = place
            self._index_dict.setdefault(entry, len(self._index_dict))
            if entry not in self._averages and (self.use_ema or self._averages):
                self._averages[entry] = self._add_beside(entry, "average", None, entry.variable)
        for entry in entries if self._accumulation is not None else ():
            if entry not in self._accumulators:
                self._accumulators[entry] = self._add_beside(entry, "gradient_accumulator", None, 0)

    def _can_extend(self) -> bool:
        """Whether `build` is one that is known to make the state of further variables."""
        owner = next(cls for cls in type(self).__mro__ if "build" in vars(cls))
        return bool(vars(owner).get("_extends", False))

    def _first_unknown(self, given: Sequence[Any], op: str) -> int | None:
        """The place of the first that the optimizer was not built with."""
        found = (self._variables.find(var, op, place) for place, var in enumerate(given))
        unknown = (place for place, entry in enumerate(found) if entry not in self._index_dict)
        return next(unknown, None)

    def _var_key(self, variable: Any) -> Entry:
        """What stands for a variable in ``_index_dict``.

        Raises:
            KeyError: the optimizer was not built with it.
        """
        return self._entry_of(variable, self.name)

    def _index_of(self, variable: Any) -> int:
        """The variable's position in the list that `build` had.

        Raises:
            KeyError: it was not there.
        """
        return self._index_dict[self._entry_of(variable, self.name)]

    def _entry_of(self, variable: Any, op: str, place: int | None = None) -> Entry:
        """What is known of a variable that `build` had.

        Raises:
            KeyError: it had not.
        """
        entry = self._variables.find(variable, op, place)
        if entry is None or entry not in self._index_dict:
            doubt = self._variables.doubt([(variable, place)], op, self._prepared_steps)
            raise KeyError(
                doubt
                or f"{op}: {described(variable, place)}: expected a variable that the optimizer "
                "was built with, got another. To add it, call build([...]) with all variables; it "
                "is known by its memory, so pass what you will update and not a copy"
            )
        return entry

    def _require_known(self, variable: Any, op: str, place: int) -> None:
        if self._built and self._expected.find(variable, op, place) is None:
            self._entry_of(variable, op, place)

    def _average_of(self, entry: Entry) -> Variable:
        if entry not in self._averages:
            raise self._no_averages()
        return self._averages[entry]

    def _no_averages(self) -> ValueError:
        return ValueError(
            f"use_ema of '{self.name}': expected to be set before the optimizer is built, got True "
            "afterwards: there are no averages"
        )

    # ----- variables -----------------------------------------------------------------------------

    @property
    def variables(self) -> CallableList:
        """All state: `iterations`, averages, then what `build` made; may be called, too."""
        return CallableList(self._held)

    def add_variable(
        self,
        shape: Sequence[int] | None = None,
        dtype: DTypeLike | None = None,
        initializer: str | Callable[..., Any] = "zeros",
        name: str | None = None,
    ) -> Variable:
        """A new variable, the last of `variables`.

        Args:
            shape: its shape; None for a number.
            dtype: its dtype; float32 by default.
            initializer: "zeros" or "ones", or a function of shape and dtype.
            name: its name.

        Example:
            >>> import slotwise
            >>> opt = slotwise.optimizers.SGD()
            >>> opt.add_variable((2,), initializer="ones", name="scale").numpy()
            array([1., 1.], dtype=float32)
        """
        op = f"{self.name}.add_variable"
        if name is not None:
            name = _arguments.text_of(op, "name", name)
        size = () if shape is None else shape
        array = initial(op, initializer, size, np.float32 if dtype is None else dtype)
        variable = Variable(array, trainable=False, name=name)
        self._own.append(variable)
        return self._hold(variable)

    def add_variable_from_reference(
        self,
        model_variable: Any,
        variable_name: str,
        shape: Sequence[int] | None = None,
        initial_value: Any = None,
    ) -> Variable:
        """A new variable beside one that is trained, of its dtype; the last of `variables`.

        Args:
            model_variable: the variable that is trained.
            variable_name: what precedes its name, as in "m/w".
            shape: the shape; that of the variable by default.
            initial_value: the value; 0 by default.

        Example:
            >>> import slotwise
            >>> var = slotwise.Variable([1.0, 2.0], name="w")
            >>> slotwise.optimizers.SGD().add_variable_from_reference(var, "best").name
            'best/w'
        """
        op = f"{self.name}.add_variable_from_reference"
        variable_name = _arguments.text_of(op, "variable_name", variable_name)
        with self._undone_if_refused():
            (entry,) = self._met([model_variable], op)
            return self._add_beside(entry, variable_name, shape, initial_value, op)

    def _add_beside(
        self,
        entry: Entry,
        variable_name: str,
        shape: Sequence[int] | None,
        initial_value: Any,
        op: str | None = None,
    ) -> Variable:
        model, op = entry.variable, op or f"{self.name}.build"
        size = model.shape if shape is None else shape
        value = 0.0 if initial_value is None else initial_value
        array = initial(op, _arguments.array(op, "initial_value", value), size, model.dtype)
        variable = Variable(array, trainable=False, name=f"{variable_name}/{model.name}")
        start = model if initial_value is model else value
        entry.add_slot(_free_name(entry.slots, variable_name), variable, start)
        return self._hold(variable)

    def _hold(self, variable: Variable) -> Variable:
        self._held.append(variable)
        return variable

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write values into `variables`, one after the other, as long as there are both.

        Args:
            weights: arrays of the same shapes; converted to the variables' dtypes.

        Raises:
            ValueError: the optimizer is not built, a shape differs, or it is a list of Keras 3's,
                which has the learning rate, too. Nothing was written.
        """
        if not self._built:
            raise ValueError(
                "You are calling `set_weights()` on an optimizer that has not yet been built. "
                "Please call `optimizer.build(trainable_variables)` to create the optimizer "
                "weights before calling `set_weights()`."
            )
        op = f"{self.name}.set_weights"
        given = _arguments.items_of(op, "weights", "arrays", weights)
        values = values_of(op, "weights", given[: len(self._held)])
        if len(given) > len(self._held):
            self._refuse_keras3(
                "set_weights", _arguments.converted(op, "weights", "arrays", given, _arrays)
            )
        self._write(values)

    def _refuse_keras3(self, method: str, weights: Sequence[NDArray[Any]]) -> None:
        if _keras3.fit(_keras3.weights_of(self, 3), weights):
            raise ValueError(
                f"{self.name}.{method}: expected what `variables` has, in its order, got what "
                "Keras 3's has, with the learning rate: use slotwise.interop.load_keras_weights"
            )

    def _weights_in_keras(self, keras: int) -> list[_keras3.Weight]:
        """What Keras's `variables` has after the count and the rate, in its order."""
        return [_keras3.weight(variable, variable.dtype) for variable in self._held[1:]]

    def _after_keras3(self) -> None:
        """Called after values of Keras 3's `variables` were written."""

    def _write(self, weights: Sequence[NDArray[Any]]) -> None:
        pairs = list(zip(self._held, weights, strict=False))
        for variable, array in pairs:
            if variable.shape != array.shape:
                raise ValueError(
                    f"Optimizer variable {variable.name} has shape {variable.shape} not "
                    f"compatible with provided weight shape {array.shape}."
                )
        with self._lock.step():
            for variable, array in pairs:
                variable.assign(array)
            self._state_was_written()

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put copies of the values of `variables` into a dict, under "0", "1", ..."""
        if not isinstance(store, MutableMapping):
            raise _arguments.refused(f"{self.name}.save_own_variables", "store", "a dict", store)
        with self._lock.step():
            store.update((str(i), variable.numpy()) for i, variable in enumerate(self._held))

    def load_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Write what `save_own_variables` saved into `variables`.

        If there is another number of them, that is logged, and nothing done.

        Raises:
            ValueError: a shape differs, or Keras 3 saved it. Nothing was written.
        """
        op = f"{self.name}.load_own_variables"
        count = _arguments.converted(op, "store", "a dict of arrays", store, len)
        if count != len(self._held):
            every = _arguments.converted(
                op, "store", "a dict of arrays", store, lambda x: [*x.values()]
            )
            self._refuse_keras3("load_own_variables", values_of(op, "store", every))
            _log.warning(
                "Skipping variable loading for optimizer '%s', because it has %d variables whereas "
                "the saved optimizer has %d variables. ",
                self.name,
                len(self._held),
                count,
            )
            return
        names = [str(i) for i in range(len(self._held))]
        values = _arguments.converted(
            op, "store", f"a dict with the keys {names}", store, lambda x: [x[n] for n in names]
        )
        self._write(
            [_arguments.array(op, f"store['{n}']", x) for n, x in zip(names, values, strict=True)]
        )

    # ----- by name -------------------------------------------------------------------------------

    def _own_state(self) -> dict[str, Any]:
        found: dict[str, Any] = {"iterations": self._iterations}
        for variable in self._own:
            found[_free_name(found, variable.name)] = variable
        return found

    def _memory(self) -> list[NDArray[Any]]:
        return [*super()._memory(), *map(own_array, self._held)]

    def _make_slots(self, variables: Sequence[Any], others: Sequence[Any] = ()) -> None:
        if self._can_extend():
            if variables:
                self.build(variables)
            expected = Variables()  # another one, as the former comes back if this is refused
            expected.keep(self._expected.located())
            expected.add(others, f"{self.name}.load_state_dict")
            self._expected = expected
        elif variables and not self._built:
            self.build([*variables, *others])


def _arrays(values: Sequence[Any]) -> list[NDArray[Any]]:
    return [*map(np.asarray, values)]


def _free_name(taken: Mapping[str, Any], name: str) -> str:
    """The name; from the second of it on, with a number."""
    key, count = name, 0
    while key in taken:
        count += 1
        key = f"{name}_{count}"
    return key
