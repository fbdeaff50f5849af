"""State of the current API: a list of variables, known beforehand, and what belongs to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from slotwise._variable import Variable
from slotwise.optimizers._state import Variables, initial
from slotwise.optimizers._state_dict import Stateful

_log = logging.getLogger("slotwise")


class CallableList(list[Variable]):
    """A list that returns itself when it is called."""

    def __call__(self) -> CallableList:
        return self


class State(Stateful):
    """Keeps the variables that belong to an optimizer."""

    name: str
    use_ema: bool

    def __init__(self) -> None:
        self._variables = Variables()
        self._iterations = Variable(np.zeros((), np.int64), trainable=False, name="iteration")
        self._held: list[Variable] = [self._iterations]
        self._own: list[Variable] = []  # those that are beside none that is trained
        self._beside: dict[int, list[tuple[str, Variable]]] = {}
        self._averages: list[Variable] = []
        self._index_dict: dict[int, int] = {}
        self._built = False

    @property
    def iterations(self) -> Variable:
        """How many times gradients were applied: an int64 variable, the first of `variables`."""
        return self._iterations

    @iterations.setter
    def iterations(self, variable: Variable) -> None:
        if self._built:
            raise RuntimeError(
                "Cannot set `iterations` to a new Variable after the Optimizer weights have been "
                f"created. Here it is attempting to set `iterations` to {variable!r}. Usually this "
                "means you are trying to set `iterations` after calling `apply_gradients()`. "
                "Please set `iterations` before calling `apply_gradients()`."
            )
        if not isinstance(variable, Variable):
            got = type(variable).__name__
            raise TypeError(f"iterations: expected a slotwise.Variable, got {got}")
        self._iterations = variable

    def _step_count(self) -> int:
        return int(self._iterations.value)

    def build(self, var_list: Sequence[Any]) -> None:
        """Make the state for these variables; the first step does it, if you do not.

        An optimizer of your own calls this, returns if ``_built``, makes its variables by
        `add_variable_from_reference`, and sets ``_built``.

        Args:
            var_list: all variables that will ever be updated.

        Example:
            >>> import slotwise
            >>> opt = slotwise.optimizers.Adam()
            >>> opt.build([slotwise.Variable([1.0, 2.0], name="w")])
            >>> [variable.name for variable in opt.variables]
            ['iteration', 'm/w', 'v/w']
        """
        if self._built:
            return
        variables = [self._variables.find(var) for var in var_list]
        self._index_dict = {self._var_key(var): i for i, var in enumerate(variables)}
        if self.use_ema and not self._averages:
            self._averages = [
                self.add_variable_from_reference(var, "average", initial_value=var)
                for var in variables
            ]

    def _var_key(self, variable: Any) -> int:
        """What stands for a variable in ``_index_dict``."""
        return id(self._variables.find(variable))

    def _index_of(self, variable: Any) -> int:
        """The variable's position in the list that `build` had.

        Raises:
            KeyError: it was not there.
        """
        index = self._index_dict.get(self._var_key(variable))
        if index is None:
            name = self._variables.find(variable).name
            raise KeyError(
                f"The optimizer cannot recognize variable {name}. This usually means you are "
                "trying to call the optimizer to update different parts of the model separately. "
                "Please call `optimizer.build(variables)` with the full list of trainable "
                "variables before the training loop or use legacy optimizer "
                f"`tf.keras.optimizers.legacy.{type(self).__name__}."
            )
        return index

    def _average_of(self, variable: Any) -> Variable:
        index = self._index_of(variable)
        if not self._averages:
            raise ValueError(
                f"use_ema of '{self.name}': expected to be set before the optimizer is built, "
                "got True afterwards: there are no averages"
            )
        return self._averages[index]

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
        kind = np.dtype(np.float32 if dtype is None else dtype)
        array = initial(initializer, tuple(shape or ()), kind)
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
        model = self._variables.find(model_variable)
        size = model.shape if shape is None else tuple(shape)
        value = 0.0 if initial_value is None else np.asarray(initial_value)
        array = initial(value, size, model.dtype)
        variable = Variable(array, trainable=False, name=f"{variable_name}/{model.name}")
        self._beside.setdefault(id(model), []).append((variable_name, variable))
        return self._hold(variable)

    def _hold(self, variable: Variable) -> Variable:
        self._held.append(variable)
        return variable

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Write values into `variables`, one after the other, as long as there are both.

        Args:
            weights: arrays of the same shapes; converted to the variables' dtypes.

        Raises:
            ValueError: the optimizer is not built, or a shape differs. Nothing was written.
        """
        if not self._built:
            raise ValueError(
                "You are calling `set_weights()` on an optimizer that has not yet been built. "
                "Please call `optimizer.build(trainable_variables)` to create the optimizer "
                "weights before calling `set_weights()`."
            )
        self._write(weights)

    def _write(self, weights: Iterable[Any]) -> None:
        pairs = list(zip(self._held, map(np.asarray, weights), strict=False))
        for variable, array in pairs:
            if variable.shape != array.shape:
                raise ValueError(
                    f"Optimizer variable {variable.name} has shape {variable.shape} not "
                    f"compatible with provided weight shape {array.shape}."
                )
        for variable, array in pairs:
            variable.assign(array)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Put copies of the values of `variables` into a dict, under "0", "1", ..."""
        for i, variable in enumerate(self._held):
            store[str(i)] = variable.numpy()

    def load_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Write what `save_own_variables` saved into `variables`.

        If there is another number of them, that is logged, and nothing done.

        Raises:
            ValueError: a shape differs. Nothing was written.
        """
        if len(store) != len(self._held):
            _log.warning(
                "Skipping variable loading for optimizer '%s', because it has %d variables whereas "
                "the saved optimizer has %d variables. ",
                self.name,
                len(self._held),
                len(store),
            )
            return
        self._write(store[str(i)] for i in range(len(self._held)))

    # ----- by name -------------------------------------------------------------------------------

    def _own_state(self) -> dict[str, Any]:
        counted = ("iterations", self._iterations)
        return _numbered([counted, *((variable.name, variable) for variable in self._own)])

    def _variable_slots(self) -> Iterator[tuple[Variable, Mapping[str, Variable]]]:
        for variable in self._variables:
            yield variable, _numbered(self._beside.get(id(variable), ()))

    def _make_slots(self, variables: Sequence[Any]) -> None:
        if variables:
            self.build(variables)


def _numbered(pairs: Iterable[tuple[str, Variable]]) -> dict[str, Variable]:
    """By name; from the second of a name on, with a number."""
    found: dict[str, Variable] = {}
    for name, variable in pairs:
        key, count = name, 0
        while key in found:
            count += 1
            key = f"{name}_{count}"
        found[key] = variable
    return found
