"""An optimizer's state by name: what checkpoints hold, for either API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise import _tracking
from slotwise._identity import memory_of
from slotwise._variable import Variable
from slotwise.optimizers import _serialization

Array = NDArray[Any]
Names = Mapping[str, Any]  # variables or arrays, by name
CONFIG = "config"
_NOT_COMPARED = ("module", "name", "registered_name", _serialization.DOUBLES)


def named(variables: Names | Iterable[Any] | None) -> dict[str, Any]:
    """Variables by name: a dict, or those of a list by the names that they have.

    Raises:
        TypeError: bare arrays in a list.
        ValueError: several of one name.
    """
    if variables is None:
        return {}
    if isinstance(variables, Mapping):
        for name, value in variables.items():
            if not isinstance(value, (Variable, np.ndarray)):
                got = type(value).__name__
                raise TypeError(f"variables: '{name}': expected a Variable or an array, got {got}")
        return dict(variables)
    found: dict[str, Any] = {}
    repeated = set()
    for variable in variables:
        if not isinstance(variable, Variable):
            got = type(variable).__name__
            raise TypeError(f"variables: expected Variables, or a dict from names, got {got}")
        if variable.name in found:
            repeated.add(variable.name)
        found[variable.name] = variable
    refuse_repeated(repeated)
    return found


def refuse_repeated(names: Iterable[str]) -> None:
    if found := sorted(names):
        raise ValueError(
            f"variables: expected names that differ, got several of {found}; pass a dict from "
            "names to variables"
        )


def array_of(value: Any) -> Array:
    return value.value if isinstance(value, Variable) else value


@dataclass
class Report:
    """What did not fit when state was loaded.

    Attributes:
        missing: names that the state does not have; they stay as they are.
        unexpected: names that only the state has.
        mismatched: names whose shape or dtype differs, and how.
        config: settings of the optimizer that differ, and how.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything to report."""
        return any((self.missing, self.unexpected, self.mismatched, self.config))

    def __str__(self) -> str:
        parts = []
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            if names:
                parts.append(f"{what}: {', '.join(names)}")
        parts += [
            f"{name}: {how}" for name, how in (*self.mismatched.items(), *self.config.items())
        ]
        return "; ".join(parts) or "everything fits"


def match(given: Mapping[str, tuple[Any, Any]], targets: Mapping[str, Array]) -> Report:
    """Compare the shapes and dtypes that a state has with those of arrays."""
    report = Report(
        missing=[name for name in targets if name not in given],
        unexpected=[name for name in given if name not in targets],
    )
    for name, array in targets.items():
        if name in given:
            shape, dtype = given[name]
            if (tuple(shape), dtype) != (array.shape, array.dtype):
                report.mismatched[name] = (
                    f"expected shape {array.shape} of {array.dtype}, got {tuple(shape)} of {dtype}"
                )
    return report


def differences(saved: Any, own: Any, live: Iterable[str], where: str = "") -> dict[str, str]:
    """What differs between configs, but for keys that state itself restores."""
    if not (isinstance(saved, Mapping) and isinstance(own, Mapping)):
        return {} if saved == own else {where: f"the state has {saved!r}, the optimizer {own!r}"}
    found: dict[str, str] = {}
    for key in {**saved, **own}:
        if key not in _NOT_COMPARED and key not in live:
            path = f"{where}.{key}" if where else key
            found |= differences(saved.get(key), own.get(key), live, path)
    return found


class Stateful:
    """What an optimizer has whose state can be kept. A front end defines the five hooks."""

    def _own_state(self) -> dict[str, Variable | Array]:
        """Hook: all state that is no slot, by name: counts, numbers that may change."""
        raise NotImplementedError

    def _hyperparameters(self) -> dict[str, Any]:
        """Hook: hyperparameters that are numbers and may be set, by name."""
        raise NotImplementedError

    def _variable_slots(self) -> Iterator[tuple[Variable, Mapping[str, Variable]]]:
        """Hook: the variables that it has met, and the slots of each by name."""
        raise NotImplementedError

    def _make_slots(self, variables: Sequence[Any]) -> None:
        """Hook: make the slots of variables or arrays that had no step yet, as far as it can."""
        raise NotImplementedError

    def _expect(self, variables: Sequence[Any]) -> None:
        """Hook: variables that were given with a state that has none of them.

        Their state is made when they are first updated, also where all variables are to be known
        beforehand.
        """

    def _restored_settings(self) -> frozenset[str]:
        """Hook: keys of the config that state restores, or that are functions of the caller's."""
        raise NotImplementedError

    def _compatible_weights(self, weights: list[Any]) -> list[Any]:
        """A list of weights, in today's layout if it is in an older one."""
        return weights

    # ----- by name -------------------------------------------------------------------------------

    def state_dict(self, variables: Names | Iterable[Any] | None = None) -> dict[str, Any]:
        """All state by name: ``"iterations"``, ``"emb/m"``, ..., and the ``"config"``.

        The learning rate is state, unless it is a schedule; in the legacy API, so are the other
        hyperparameters that are numbers or arrays. The arrays are the optimizer's own, not copies:
        the next step changes them.

        Args:
            variables: a dict from names to variables or arrays, if their own names do not do.

        Raises:
            ValueError: several variables of one name.

        Example:
            >>> import numpy as np, slotwise
            >>> var = slotwise.Variable(np.ones(1), name="w")
            >>> opt = slotwise.optimizers.SGD(0.5, momentum=0.5)
            >>> _ = opt.apply_gradients([(np.array([2.0]), var)])
            >>> [*opt.state_dict()], opt.state_dict()["w/m"]
            (['iterations', 'learning_rate', 'w/m', 'config'], array([-1.]))
        """
        return {**entries(self, named(variables)).arrays, CONFIG: config_of(self)}

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
        values = {name: np.asarray(value) for name, value in state.items() if name != CONFIG}
        given = {name: (value.shape, value.dtype) for name, value in values.items()}
        targets = prepare(self, given, named(variables)).arrays
        report = match(given, targets)
        report.config = compare_config(self, state.get(CONFIG))
        if strict and report:
            raise ValueError(f"load_state_dict: {report}")
        for name, array in targets.items():
            if name in values and name not in report.mismatched:
                _tracking.mark(array)
                array[...] = values[name]
        return report


@dataclass
class Entries:
    """An optimizer's state: arrays by name, and of each slot the array beside which it is."""

    arrays: dict[str, Array]
    owners: dict[str, Array]


def entries(optimizer: Stateful, names: Names) -> Entries:
    """All state of an optimizer.

    Args:
        optimizer: the optimizer.
        names: what to call variables; others have their own names.

    Raises:
        ValueError: several of one name.
    """
    known = {memory_of(array_of(v)): (name, array_of(v)) for name, v in names.items()}

    found = Entries({n: array_of(v) for n, v in optimizer._own_state().items()}, {})
    repeated = set()
    for variable, slots in optimizer._variable_slots():
        default = variable.name, variable.value
        owner_name, owner = known.get(memory_of(variable.value), default) if slots else default
        for slot, value in slots.items():
            name = f"{owner_name}/{slot}"
            if name in found.arrays:
                repeated.add(name)
            found.arrays[name], found.owners[name] = value.value, owner
    refuse_repeated(repeated)
    return found


def prepare(optimizer: Stateful, given: Iterable[str], names: Names) -> Entries:
    """The same, after the slots were made that a state has, as for a first step."""
    own = _known(optimizer, names)
    having = list(dict.fromkeys(owner for name in given if (owner := owner_of(name, own))))
    optimizer._make_slots([own[name] for name in having])
    return entries(optimizer, names)


def _known(optimizer: Stateful, names: Names) -> dict[str, Any]:
    """Those of the caller's, then what the optimizer has met under other names."""
    given = {memory_of(array_of(value)) for value in names.values()}
    met = {v.name: v for v, _ in optimizer._variable_slots() if memory_of(v.value) not in given}
    return {**met, **names}


def owner_of(name: str, variables: Names) -> str | None:
    """The variable that a slot of this name is beside."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if name in variables:
            return name
    return None


def config_of(optimizer: Stateful) -> Any:
    """The class and config as JSON would give them back."""
    try:
        return json.loads(json.dumps(_serialization.serialize(optimizer, notes_doubles=True)))
    except TypeError as error:
        what = f"{type(optimizer).__name__}.get_config"
        raise TypeError(f"{what}: expected what JSON can hold: {error}") from None


def compare_config(optimizer: Stateful, saved: Any) -> dict[str, str]:
    if saved is None:
        return {}
    return differences(saved, config_of(optimizer), optimizer._restored_settings())
