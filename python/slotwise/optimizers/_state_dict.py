"""The state of an optimizer by name, for either API: what checkpoints hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from slotwise import _arguments, _tracking
from slotwise._lock import Locked, held
from slotwise._variable import Variable
from slotwise.optimizers import _named
from slotwise.optimizers._named import CONFIG, Array, Names, Report
from slotwise.optimizers._state import Entry


class Stateful(Locked):
    """What an optimizer has whose state can be kept. A front end defines the hooks."""

    def _own_state(self) -> dict[str, Variable | Array]:
        """Hook: all state that is no slot, by name: counts, numbers that may change."""
        raise NotImplementedError

    def _hyperparameters(self) -> dict[str, Any]:
        """Hook: hyperparameters that are numbers and may be set, by name."""
        raise NotImplementedError

    def _entries(self) -> Iterator[Entry]:
        """Hook: the variables that it has met, each with its slots by name."""
        raise NotImplementedError

    def _wanted_entries(self) -> Iterator[Entry]:
        """Hook: of these, those that anybody else knows."""
        raise NotImplementedError

    def _memory(self) -> list[Array]:
        """Hook: the arrays that its steps change, as far as it has met them.

        Other threads call it, in the middle of a step.
        """
        return []

    def _make_slots(self, variables: Sequence[Any], others: Sequence[Any] = ()) -> None:
        """Hook: make the slots of variables or arrays that had no step yet, as far as it can.

        The others may be updated later, and have no slots until then. Where all are to be known
        beforehand, these are from now on.
        """
        raise NotImplementedError

    def _undone_if_refused(self) -> AbstractContextManager[None]:
        """Hook: forget what was met and made since, if an exception comes before a step."""
        raise NotImplementedError

    def _state_was_written(self) -> None:
        """Hook: what follows from state is to be made anew."""

    def _restored_settings(self) -> frozenset[str]:
        """Hook: keys of the config that state restores, or that are functions of the caller's."""
        raise NotImplementedError

    def _compatible_weights(self, weights: list[Any]) -> list[Any]:
        """A list of weights, in today's layout if it is in an older one."""
        return weights

    # ----- by name -------------------------------------------------------------------------------

    def state_dict(
        self, variables: Names | Iterable[Any] | None = None, *, copy: bool = False
    ) -> dict[str, Any]:
        """All state by name: ``"iterations"``, ``"emb/m"``, ..., and the ``"config"``.

        The learning rate is state, unless it is a schedule; in the legacy API, so are the other
        hyperparameters that are numbers or arrays. The arrays are the optimizer's own: the next
        step changes them. Beside a thread that trains, take copies: they are all of one moment.

        Args:
            variables: a dict from names to variables or arrays, if their own names do not do.
            copy: whether to return copies; no step is made meanwhile.

        Raises:
            ValueError: several variables of one name; an array without one.

        Example:
            >>> import numpy as np, slotwise
            >>> var = slotwise.Variable(np.ones(1), name="w")
            >>> opt = slotwise.optimizers.SGD(0.5, momentum=0.5)
            >>> _ = opt.apply_gradients([(np.array([2.0]), var)])
            >>> [*opt.state_dict()], opt.state_dict()["w/m"]
            (['iterations', 'learning_rate', 'w/m', 'config'], array([-1.]))
        """
        group, names = {"": self}, _named.named("state_dict", variables)
        with held([self._lock]):
            arrays = _named.entries("state_dict", group, names).arrays
            if copy:
                arrays = {name: array.copy() for name, array in arrays.items()}
            return {**arrays, CONFIG: _named.config_of(group)}

    def load_state_dict(
        self,
        state: Mapping[str, Any],
        strict: bool = True,
        variables: Names | Iterable[Any] | None = None,
    ) -> Report:
        """Take over what `state_dict` returned, by name.

        Args:
            state: arrays by name, and the config.
            strict: whether anything that does not fit is an error; else it is left out.
            variables: what had no step in this optimizer yet: Variables, or a dict from names.

        Returns:
            What did not fit.

        Raises:
            ValueError: names, shapes, dtypes or settings differ. Nothing was written.

        Example:
            >>> import numpy as np, slotwise
            >>> var = slotwise.Variable(np.ones(1), name="w")
            >>> opt = slotwise.optimizers.Adam()
            >>> _ = opt.apply_gradients([(np.array([2.0]), var)])
            >>> other = slotwise.optimizers.Adam()
            >>> print(other.load_state_dict(opt.state_dict(), variables=[var]))
            everything fits
            >>> int(other.iterations), bool(other.state_dict()["w/m"] == opt.state_dict()["w/m"])
            (1, True)
        """
        op, group, names = "load_state_dict", {"": self}, _named.named("load_state_dict", variables)
        is_strict = _arguments.flag_of(op, "strict", strict)
        state = _arguments.named_of(op, "state", state)
        given = {name: value for name, value in state.items() if name != CONFIG}
        for name, value in given.items():
            _named.refuse_masked(f"{op}: state: '{name}'", value)
        values = {name: _arguments.array(op, f"state['{name}']", x) for name, x in given.items()}
        with held([self._lock]), self._undone_if_refused():
            prepared = _named.prepare(op, group, values, names)
            targets = prepared.arrays
            kinds = {name: (value.shape, value.dtype) for name, value in values.items()}
            report = _named.match(kinds, targets)
            report.config = _named.compare_config(op, group, state.get(CONFIG))
            report.fresh = [*prepared.fresh]
            if is_strict and report:
                raise ValueError(f"{op}: {report}")
            for name, array in targets.items():
                if name in values and name not in report.mismatched:
                    _tracking.mark(array)
                    array[...] = values[name]
            prepared.begin_anew()
            self._state_was_written()
        return report
