# SPDX-License-Identifier: Apache-2.0
"""State from and to other libraries: Keras's lists of weights, PyTorch's state dicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from slotwise import _arguments, _stateful
from slotwise._identity import memory_of
from slotwise._lock import held, locks_of
from slotwise._names import Names, array_of, named
from slotwise._stateful import Met
from slotwise._variable import Variable
from slotwise.optimizers._kinds import NUMBER, check
from slotwise.optimizers._state import values_of
from slotwise.optimizers._state_dict import StateDict
from slotwise.optimizers.current import Optimizer, _keras3

__all__ = ["keras_weights", "load_keras_weights", "load_torch_state_dict", "torch_state_dict"]

P = ParamSpec("P")
T = TypeVar("T")


def load_keras_weights(
    optimizer: Any,
    arrays: Sequence[Any],
    variables: Names | Iterable[Any] | None = None,
    *,
    keras: Literal[2, 3] | None = None,
) -> None:
    """Take over the values that ``optimizer.variables`` of the same optimizer in Keras has.

    In the legacy API, ``get_weights`` returns them. Keras 2 (tf_keras) has the count of
    iterations, averages, then slots; neither the learning rate is among them nor, in the current
    API, the product that Nadam hides: they stay as they are. Keras 3 (``tf.keras`` since
    TensorFlow 2.16) has both, and the sums of gradients.

    Args:
        optimizer: one of `slotwise.optimizers`.
        arrays: the list, in Keras's order.
        variables: in the order of Keras's, if the optimizer has made no step yet.
        keras: which Keras it is from, 2 or 3. By default, the one that numbers, shapes and dtypes
            fit; where both would do, that is an error.

    Raises:
        ValueError: another number of arrays, another shape; a list that may be from either Keras.
            Nothing was written.
        TypeError: another dtype.

    Example:
        >>> import numpy as np, slotwise
        >>> var = slotwise.Variable(np.zeros(2, np.float32), name="w")
        >>> opt = slotwise.optimizers.SGD(momentum=0.5)
        >>> arrays = [np.array(7), np.array([1.0, 2.0], np.float32)]
        >>> slotwise.interop.load_keras_weights(opt, arrays, [var])
        >>> [x.numpy().tolist() for x in opt.variables]
        [7, [1.0, 2.0]]
        >>> arrays.insert(1, np.array(0.5, np.float32))                    # Keras 3's has the rate
        >>> slotwise.interop.load_keras_weights(opt, arrays, [var])
        >>> float(opt.learning_rate)
        0.5
    """
    optimizer = _inner("load_keras_weights", optimizer)
    values = values_of("load_keras_weights", "arrays", arrays)
    own = [*named("load_keras_weights", variables).values()]
    with _stateful.written([optimizer]):
        _stateful.make_slots(optimizer, own)
        given = _stateful.compatible_weights(optimizer, values)
        which = _keras_of(optimizer, given) if keras is None else keras
        weights = _weights("load_keras_weights", optimizer, which)
        _check("load_keras_weights", weights, given)
        for weight, array in zip(weights, given, strict=True):
            if weight.variable is not None:
                weight.variable.assign(array)
        _keras3.take_over(optimizer, which)


def keras_weights(optimizer: Any, *, keras: Literal[2, 3] = 2) -> list[NDArray[Any]]:
    """What ``set_weights`` of the same optimizer in Keras takes.

    Args:
        optimizer: one of `slotwise.optimizers`.
        keras: which Keras is to take it: 2 (tf_keras) or 3 (``tf.keras`` since TensorFlow 2.16).

    Raises:
        ValueError: Keras 3 has no such optimizer.

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.SGD(0.5)
        >>> int(opt.iterations), slotwise.interop.keras_weights(opt)
        (0, [array(0)])
        >>> slotwise.interop.keras_weights(opt, keras=3)
        [array(0), array(0.5, dtype=float32)]
    """
    optimizer = _inner("keras_weights", optimizer)
    with held(locks_of([optimizer])):
        return [weight.value for weight in _weights("keras_weights", optimizer, keras)]


def _weights(what: str, optimizer: Any, keras: int) -> list[_keras3.Weight]:
    """What the list of weights of an optimizer in Keras has."""
    if keras not in (2, 3):
        raise ValueError(f"{what}: keras: expected 2 or 3, got {keras!r}")
    if isinstance(optimizer, Optimizer):
        return _keras3.weights_of(optimizer, keras)
    if keras == 3:
        got = f"legacy.{type(optimizer).__name__}"
        raise ValueError(f"{what}: optimizer: expected one that Keras 3 has, got {got}")
    return [_keras3.weight(each, each.dtype) for each in optimizer.variables()]


def _keras_of(optimizer: Any, arrays: Sequence[NDArray[Any]]) -> int:
    """Which Keras a list of weights is from; if from none, the one to compare it with."""
    what = "load_keras_weights"
    if not isinstance(optimizer, Optimizer):
        return 2
    layouts = {keras: _weights(what, optimizer, keras) for keras in (2, 3)}
    found = [keras for keras, weights in layouts.items() if _keras3.fit(weights, arrays)]
    meanings = {tuple(id(weight.variable) for weight in layouts[keras]) for keras in found}
    if len(meanings) > 1:
        raise ValueError(f"{what}: expected keras=2 or keras=3, since the arrays fit both layouts")
    lengths = {len(weights): keras for keras, weights in reversed(layouts.items())}
    if not found and len(arrays) not in lengths:
        expected = " (Keras 2) or ".join(map(str, sorted(lengths))) + " (Keras 3)"
        raise ValueError(
            f"{what}: arrays: expected a list of length {expected}, got one of length {len(arrays)}"
        )
    return found[0] if found else lengths[len(arrays)]


def _check(what: str, weights: Sequence[_keras3.Weight], arrays: Sequence[NDArray[Any]]) -> None:
    if len(arrays) != len(weights):
        expected = f"arrays: expected a list of length {len(weights)}"
        raise ValueError(f"{what}: {expected}, got one of length {len(arrays)}")
    for number, (weight, array) in enumerate(zip(weights, arrays, strict=True)):
        where = f"{what}: arrays[{number}], '{weight.name}'"
        if array.dtype not in weight.dtypes:
            expected = " or ".join(map(str, weight.dtypes))
            raise TypeError(f"{where}: expected {expected}, got {array.dtype}")
        if array.shape != weight.shape:
            raise ValueError(f"{where}: expected shape {weight.shape}, got {array.shape}")


def _inner(op: str, optimizer: Any) -> Any:
    """The optimizer without loss scaling, whose numbers other libraries do not have there."""
    if not isinstance(optimizer, StateDict):
        raise _arguments.refused(op, "optimizer", "one of slotwise.optimizers", optimizer)
    if _stateful.communicators_of([optimizer]):
        raise ValueError(
            f"{op}: optimizer: expected one that has all of its state, got one with comm, which "
            "has a rank's part; slotwise.save it, and load it into one without"
        )
    return getattr(optimizer, "inner_optimizer", optimizer)


@dataclass(frozen=True)
class _Form:
    """An optimizer's state in PyTorch."""

    slots: Mapping[str, str]  # PyTorch's names, by ours of either API
    numbers: Mapping[str, str] = field(default_factory=dict)  # the group's names, by ours
    rate: int = 0  # the sign of the learning rate that our momentum holds as a factor
    is_decoupled: bool = False  # whether PyTorch's weights decay beside the gradients
    is_counted: bool = False  # whether the count of steps matters, which PyTorch has by parameter


_ADAM = _Form({"m": "exp_avg", "v": "exp_avg_sq", "vhat": "max_exp_avg_sq"}, is_counted=True)
_MOMENTUM = {"momentum": "momentum"}
_FORMS = {
    "Adam": _ADAM,
    "AdamW": replace(_ADAM, is_decoupled=True),
    "RectifiedAdam": _ADAM,
    "SGD": _Form(dict.fromkeys(("momentum", "m"), "momentum_buffer"), _MOMENTUM, -1),
    "RMSprop": _Form(
        {
            **dict.fromkeys(("rms", "velocity"), "square_avg"),
            **dict.fromkeys(("mg", "average_gradient"), "grad_avg"),
            "momentum": "momentum_buffer",
        },
        {**_MOMENTUM, "rho": "alpha"},
        1,
    ),
    "Adagrad": _Form({"accumulator": "sum"}),
}
_RATED = "momentum_buffer"
_COUNT = "step"
_UNKNOWN = (
    "maximize",
    "dampening",
    "nesterov",
    "weight_decay",
    "lr_decay",
)  # options of a group that are refused, unless they are the same here


def _form(op: str, optimizer: Any) -> _Form:
    for cls in type(optimizer).__mro__:
        if cls.__name__ in _FORMS:
            return _FORMS[cls.__name__]
    got = type(optimizer).__name__
    raise TypeError(f"{op}: optimizer: expected one of {[*_FORMS]}, got {got}")


def _slots(form: _Form, optimizer: Any, entry: Met | None) -> dict[str, Variable]:
    """The slots of a variable that are in use and that PyTorch has, too, by our names."""
    if entry is None:
        return {}
    theirs = form.slots
    slots = {name: slot for name, slot in entry.slots.items() if name in theirs}
    # In the current API, there is one without momentum, too.
    is_idle = isinstance(optimizer, Optimizer) and not getattr(optimizer, "momentum", 0) > 0
    return {n: x for n, x in slots.items() if not (is_idle and theirs[n] == _RATED)}


def _entries(optimizer: Any, variables: Iterable[Any]) -> list[Met | None]:
    """What the optimizer keeps for each."""
    met = {entry.memory: entry for entry in _stateful.met(optimizer)}
    return [None if v is None else met.get(memory_of(array_of(v))) for v in variables]


def _named(op: str, optimizer: Any, variables: Sequence[Any]) -> list[Any]:
    """Variables, arrays and None, with the variables that names are of."""
    met = {entry.variable.name: entry.variable for entry in _stateful.met(optimizer)}
    for each in variables:
        if isinstance(each, str) and each not in met:
            raise ValueError(f"{op}: variables: expected {[*met]}, got {each!r}")
        if not isinstance(each, (str, Variable, np.ndarray, type(None))):
            what, got = f"{op}: variables", type(each).__name__
            raise TypeError(f"{what}: expected Variables, arrays, names or None, got {got}")
    return [met[each] if isinstance(each, str) else each for each in variables]


def _group(
    op: str, form: _Form, optimizer: Any, state_dict: Mapping[str, Any], count: int
) -> dict[str, Any]:
    """The options, which must be the same for all, with the numbers of all parameters."""
    state_dict = _mapping(op, "state_dict", state_dict)
    for key in ("state", "param_groups"):
        if key not in state_dict:
            raise ValueError(f"{op}: state_dict: expected {key!r} in it, got none")
    groups = _arguments.items_of(op, "param_groups", "dicts", state_dict["param_groups"])
    groups = [_mapping(op, f"param_groups[{i}]", group) for i, group in enumerate(groups)]
    numbers = [
        _arguments.index_of(op, f"params of group {i}", number)
        for i, group in enumerate(groups)
        for number in _arguments.items_of(
            op,
            f"param_groups[{i}]['params']",
            "numbers",
            group.pop("params", None),
        )
    ]
    if not groups:
        raise ValueError(f"{op}: param_groups: expected one or more, got none")
    for group in groups:
        group.pop("param_names", None)
    if any(group != groups[0] for group in groups):
        raise ValueError(f"{op}: expected the same options of all param_groups")
    if len(numbers) != count:
        what = f"{op}: variables: expected as many as parameters"
        raise ValueError(f"{what}, {len(numbers)}, got {count}")
    for key in _UNKNOWN:
        own = getattr(optimizer, key, 0) or 0
        value = groups[0].get(key)
        number = _arguments.converted(op, key, "a number", 0 if value is None else value, float)
        if number != own:
            what = f"{op}: '{key}' of the state dict"
            raise ValueError(f"{what}: expected {own}, got {value}")
    is_decoupled = groups[0].get("decoupled_weight_decay", form.is_decoupled)
    if groups[0].get("weight_decay") and not is_decoupled:
        what = f"{op}: 'weight_decay' of the state dict: expected 0 or AdamW's"
        raise ValueError(f"{what}, got one that is added to gradients")
    return {**groups[0], "params": numbers}


def _numbers(op: str, form: _Form, group: Mapping[str, Any]) -> dict[str, float]:
    """Our hyperparameters, as a group has them."""
    found = {ours: group[theirs] for ours, theirs in form.numbers.items() if theirs in group}
    if "betas" in group:
        betas = _arguments.items_of(op, "betas", "numbers", group["betas"])
        if len(betas) != 2:
            raise ValueError(f"{op}: betas: expected two, got {len(betas)}")
        found["beta_1"], found["beta_2"] = betas
    found["learning_rate"] = group.get("lr")
    return {name: float(NUMBER(op, name, x)) for name, x in found.items()}


def _mapping(op: str, name: str, value: Any) -> dict[Any, Any]:
    return _arguments.mapping_of(op, name, value)


def _takes_names(function: Callable[P, T]) -> Callable[P, T]:
    """Take the variables by their former keyword, ``names``, too."""

    @wraps(function)
    def taking(*args: P.args, **kwargs: P.kwargs) -> T:
        if "names" in kwargs and "variables" not in kwargs:
            kwargs["variables"] = kwargs.pop("names")
        return function(*args, **kwargs)

    return taking


@_takes_names
def load_torch_state_dict(
    optimizer: Any, state_dict: Mapping[str, Any], variables: Sequence[Any]
) -> None:
    """Take over the state of a PyTorch optimizer: Adam, AdamW, RAdam, SGD, RMSprop or Adagrad.

    Slots, the count of steps, the learning rate (unless it is a schedule or a callable here) and
    the rates of decay are taken over. PyTorch's momentum has no learning rate in it, ours has: it
    is multiplied by the present one. If that is 0, a momentum other than 0 would be lost, and is
    refused. Averages stay as they are: PyTorch has none. PyTorch adds epsilon at other places: in
    Adam, in RMSprop with momentum and, beside the current API, in RMSprop and Adagrad; ``epsilon``
    stays as it is here. RAdam is PyTorch's with ``adaptive_epsilon=False`` and its own
    ``sma_threshold``. Weights decay alike in AdamW, and in RAdam with ``decoupled_weight_decay``.

    Args:
        optimizer: the optimizer of the same name.
        state_dict: what ``state_dict()`` of PyTorch's returned; all groups have the same options.
        variables: in the order of PyTorch's parameters: Variables, arrays, or names of Variables
            that the optimizer has met; None for a parameter that is left out. Those that have no
            state in PyTorch begin anew; of Adam, AdamW and RAdam, where each parameter has its own
            count of steps there and all have one here, they must be left out.

    Raises:
        TypeError: another optimizer, another dtype.
        ValueError: what has no place here. Nothing was written.

    Example:
        >>> import numpy as np, slotwise
        >>> var = slotwise.Variable(np.zeros(2, np.float32), name="w")
        >>> opt = slotwise.optimizers.SGD(0.1, momentum=0.5)
        >>> buffer = np.array([1.0, 2.0], np.float32)                  # PyTorch's is a tensor
        >>> group = {"lr": 0.5, "momentum": 0.5, "params": [0]}
        >>> theirs = {"state": {0: {"momentum_buffer": buffer}}, "param_groups": [group]}
        >>> slotwise.interop.load_torch_state_dict(opt, theirs, [var])
        >>> opt.state_dict()["w/m"].tolist(), float(opt.learning_rate)
        ([-0.5, -1.0], 0.5)
    """
    op = "load_torch_state_dict"
    optimizer = _inner(op, optimizer)
    form = _form(op, optimizer)
    given = _arguments.items_of(op, "variables", "variables or names", variables)
    group = _group(op, form, optimizer, state_dict, len(given))
    numbers = _numbers(op, form, group)
    of_number = _mapping(op, "state_dict['state']", state_dict["state"])
    states = [
        {
            key: value
            for key, value in _mapping(
                op, f"state_dict['state'][{n}]", of_number.get(n, {})
            ).items()
            if value is not None
        }
        for n in group["params"]
    ]
    own = _named(op, optimizer, given)
    with _stateful.written([optimizer]):
        _stateful.make_slots(optimizer, [each for each in own if each is not None])
        writes: list[tuple[Variable, Any]] = []
        steps: set[int] = set()
        for number, (entry, state) in enumerate(zip(_entries(optimizer, own), states, strict=True)):
            if own[number] is None:
                continue
            if _COUNT in state:
                name, count = f"parameter {number}, {_COUNT!r}", state.pop(_COUNT)
                steps.add(_arguments.converted(op, name, "a number", count, int))
            elif form.is_counted:
                steps.add(0)
            writes += _writes(form, optimizer, number, entry, state, numbers["learning_rate"])
        if len(steps) > 1:
            raise ValueError(
                f"{op}: expected one count of steps, got {sorted(steps)}; a "
                "parameter without state has made 0 (None in variables leaves a parameter out)"
            )
        own_numbers = _stateful.numbers_of(optimizer)
        for name in numbers.keys() & own_numbers.keys():
            check(optimizer, name, numbers[name])
        for slot, value in writes:
            slot.assign(value)
        for step in steps:
            _stateful.set_step_count(optimizer, step)
        for name, own in own_numbers.items():
            if name in numbers:  # which a np.float64 stays: it is not rounded to float32
                rate = numbers[name]
                setattr(optimizer, name, np.float64(rate) if isinstance(own, np.float64) else rate)


def _writes(
    form: _Form,
    optimizer: Any,
    number: int,
    entry: Met | None,
    state: Mapping[str, Any],
    rate: float,
) -> list[tuple[Variable, Any]]:
    """The slots of a parameter, and what to write into them."""
    slots = _slots(form, optimizer, entry)
    what = f"load_torch_state_dict: parameter {number}"
    if not state:
        return [(slot, _first_value(what, entry, name)) for name, slot in slots.items()]
    theirs = {form.slots[ours]: slot for ours, slot in slots.items()}
    if theirs.keys() != state.keys():
        raise ValueError(f"{what}: expected {sorted(theirs)}, got {sorted(state)}")
    writes = []
    for key, slot in theirs.items():
        value = _array(f"parameter {number}, {key!r}", state[key])
        _check_fits(f"{what}, {key!r}", value, slot)
        if key == _RATED:
            value = _rescaled(f"{what}, {key!r}", value, rate, form.rate * rate)
        writes.append((slot, value))
    return writes


def _first_value(what: str, entry: Met | None, name: str) -> NDArray[Any]:
    """What a slot begins with, in its shape."""
    assert entry is not None
    if name not in entry.starts:
        raise ValueError(f"{what}: expected state, as it is not known what '{name}' begins with")
    slot = entry.slots[name]
    return np.broadcast_to(np.asarray(entry.first_value(name), slot.dtype), slot.shape)


@_takes_names
def torch_state_dict(
    optimizer: Any, variables: Sequence[Any], template: Mapping[str, Any]
) -> dict[str, Any]:
    """The way back: what ``load_state_dict`` of the PyTorch optimizer takes. It needs PyTorch.

    Args:
        optimizer: one that `load_torch_state_dict` takes.
        variables: as there.
        template: ``state_dict()`` of the PyTorch optimizer that is to have the state; its options
            stay, except for the learning rate and the rates of decay.

    Raises:
        ValueError: a momentum that PyTorch's cannot be computed from, since the learning rate, by
            which ours is divided, is 0; or that is too large for its dtype then.

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.SGD(0.5)
        >>> template = {"state": {}, "param_groups": [{"lr": 0.1, "params": []}]}
        >>> slotwise.interop.torch_state_dict(opt, [], template)["param_groups"][0]["lr"]
        0.5
    """
    op = "torch_state_dict"
    optimizer = _inner(op, optimizer)
    form = _form(op, optimizer)
    given = _arguments.items_of(op, "variables", "variables or names", variables)
    group = _group(op, form, optimizer, template, len(given))
    with held(locks_of([optimizer])):
        rates = {name: float(array_of(x)) for name, x in _stateful.numbers_of(optimizer).items()}
        options: dict[str, Any] = {
            theirs: rates[ours] for ours, theirs in form.numbers.items() if theirs in group
        }
        if "betas" in group:
            options["betas"] = (rates["beta_1"], rates["beta_2"])
        if "learning_rate" in rates:
            options["lr"] = rates["learning_rate"]
        rate = float(NUMBER(op, "lr", options.get("lr", group.get("lr"))))
        known = _entries(optimizer, _named(op, optimizer, given))
        slots = {n: _slots(form, optimizer, x) for n, x in zip(group["params"], known, strict=True)}
        states = {n: _state(form, optimizer, own, rate) for n, own in slots.items() if own}
    groups = [{**found, **options} for found in template["param_groups"]]
    return {"state": states, "param_groups": groups}


def _state(
    form: _Form, optimizer: Any, slots: Mapping[str, Variable], rate: float
) -> dict[str, Any]:
    """What PyTorch keeps for a parameter that has these slots here."""
    state = dict[str, Any]()
    if form.rate >= 0:  # gradient descent does not count
        state[_COUNT] = _tensor(np.float32(optimizer.iterations))
    for ours, slot in slots.items():
        theirs, value = form.slots[ours], slot.value
        if theirs == _RATED:
            factor = form.rate / rate if rate else 0.0
            value = _rescaled(f"torch_state_dict: '{slot.name}'", value, rate, factor)
        state[theirs] = _tensor(value)
    return state


def _check_fits(what: str, value: NDArray[Any], slot: Variable) -> None:
    if value.dtype != slot.dtype:
        raise TypeError(f"{what}: expected {slot.dtype}, got {value.dtype}")
    if value.shape != slot.shape:
        raise ValueError(f"{what}: expected shape {slot.shape}, got {value.shape}")


def _rescaled(where: str, momentum: NDArray[Any], rate: float, factor: float) -> NDArray[Any]:
    """A momentum times a factor that is of the learning rate; rounded once."""
    if rate == 0:  # what is lost in 0 cannot be had back
        if momentum.any():
            raise ValueError(
                f"{where}: expected zeros with a learning rate of 0, which is a factor of momentum "
                "here and not in PyTorch, got other numbers"
            )
        return momentum
    wide: NDArray[Any] = momentum.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: NDArray[Any] = (wide * factor).astype(momentum.dtype)
    if (bad := np.isfinite(momentum) & ~np.isfinite(scaled)).any():
        raise ValueError(
            f"{where}: expected numbers that {momentum.dtype} can hold once they are multiplied by "
            f"{factor}, got {wide[bad].flat[0]}"
        )
    return scaled


def _array(name: str, tensor: Any) -> NDArray[Any]:
    """A PyTorch tensor on the CPU, or what NumPy understands, as an array."""
    if str(getattr(tensor, "dtype", "")) == "torch.bfloat16":
        import torch

        bits: NDArray[Any] = tensor.detach().view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    given = tensor.detach() if hasattr(tensor, "detach") else tensor
    return _arguments.array("load_torch_state_dict", name, given)


def _tensor(value: Any) -> Any:
    import torch

    array = np.array(value)
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
