# SPDX-License-Identifier: Apache-2.0
"""The state of an optimizer by name, for either API: what checkpoints hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from slotwise import _arguments, _match, _names, _stateful, _tracking
from slotwise._lock import held
from slotwise._match import Report
from slotwise._names import Names
from slotwise._stateful import Stateful
from slotwise._variable import plain
from slotwise.optimizers import _configs, _serialization

CONFIG = "config"


class StateDict(Stateful):
    """Gives and takes state by name."""

    def _class_and_config(self) -> dict[str, Any]:
        return _serialization.serialize(self, notes_doubles=True)

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
        group, names = {"": self}, _names.named("state_dict", variables)
        with held([self._lock]):
            arrays = _stateful.entries("state_dict", group, names, plain).arrays
            if copy:
                arrays = {name: array.copy() for name, array in arrays.items()}
            return {**arrays, CONFIG: _configs.config_of(group)}

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
        op, group, names = "load_state_dict", {"": self}, _names.named("load_state_dict", variables)
        is_strict = _arguments.flag_of(op, "strict", strict)
        state = _arguments.named_of(op, "state", state)
        given = {name: value for name, value in state.items() if name != CONFIG}
        for name, value in given.items():
            _names.refuse_masked(f"{op}: state: '{name}'", value)
        values = {name: _arguments.array(op, f"state['{name}']", x) for name, x in given.items()}
        with _stateful.written([self]):
            kinds = {name: (value.shape, value.dtype) for name, value in values.items()}
            prepared = _stateful.prepare(op, group, kinds, names)
            targets = prepared.arrays
            report = _match.match(kinds, targets)
            report.config = _configs.compare_config(op, group, state.get(CONFIG))
            report.fresh = [*prepared.fresh]
            if is_strict and report:
                raise ValueError(f"{op}: {report}")
            _stateful.bring_to_now(group, {})
            for name, array in targets.items():
                if name in values and name not in report.mismatched:
                    _tracking.mark(array)
                    array[...] = values[name]
            prepared.finish()
        return report
