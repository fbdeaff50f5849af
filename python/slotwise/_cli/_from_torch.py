# SPDX-License-Identifier: Apache-2.0
"""State dicts that PyTorch saved. They are loaded with weights_only: no code of the file runs."""

from __future__ import annotations

import inspect
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from slotwise import Variable, interop
from slotwise._cli._converted import NONE, Converted, library, one_line, optimizer_class
from slotwise._cli._errors import Failed, Refused
from slotwise._names import array_of_tensor

_MODELS = ("model_state_dict", "state_dict", "model")
_OPTIMIZERS = ("optimizer_state_dict", "optimizer")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_ALIKE = (  # state that is shaped like its parameter
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer"),
    *("square_avg", "grad_avg", "acc_delta", "sum", "exp_inf", "prev"),
)
_OWN = "torch."  # before a class of slotwise.torch
_ARGUMENTS = {"eps": "epsilon", "alpha": "rho", "lr": "learning_rate"}


def read(source: str, optimizer: str | None) -> Converted:
    """Read state dicts.

    Args:
        source: the file.
        optimizer: its class, which the file does not say; "none" leaves it out.

    Raises:
        Refused: what has no place in a checkpoint.
        Failed: a damaged file; one with other objects than tensors and plain data.
    """
    torch = library("torch")
    try:
        is_mapped = zipfile.is_zipfile(source)  # the older format cannot be
        found = torch.load(source, map_location="cpu", weights_only=True, mmap=is_mapped)
    except Exception as error:  # in many classes
        text = one_line(error)
        if type(error).__name__ == "UnpicklingError":  # which tells at length how to run its code
            text = "with weights_only: it has more than tensors and plain data, or is damaged"
        raise Failed(f"{source}: PyTorch cannot load it: {text}") from None
    weights, state, rest = _parts(source, torch, found)
    extra, notes = _extra(rest)
    for name, value in weights.items():
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise Refused(f"{source}: '{name}': expected a dense tensor, got {value.layout}")
        # Tensors may share memory, and be expanded; each is saved for itself.
        weights[name] = value.detach().contiguous()
    if state is None or optimizer == NONE:
        notes += ["the optimizer is left out"] if state is not None else []
        return Converted(weights, None, extra, notes)
    if optimizer is None:
        raise Refused(
            f"{source}: it has the state of an optimizer and not its class: --optimizer CLASS says "
            f"which it is (torch.Adam, Adam, ...), --optimizer {NONE} leaves it out"
        )
    names = _parameters(source, weights, state)
    if not all("param_names" in group for group in state["param_groups"]):
        text = (
            "the optimizer's parameters have no names: they are taken in the order of the tensors"
        )
        notes.append(text)
    made: Any
    try:
        if optimizer.startswith(_OWN):
            made = _torch_optimizer(torch, optimizer.removeprefix(_OWN), weights, state, names)
        else:
            made = _keras_optimizer(optimizer, weights, state, names)
            if any("eps" in group for group in state["param_groups"]):
                notes.append("PyTorch adds epsilon at another place: later steps differ a little")
    except Refused:
        raise
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise Refused(f"{source}: --optimizer {optimizer}: {one_line(error)}") from None
    return Converted(weights, made, extra, notes)


def _is_state(value: Any) -> bool:
    """Whether it is an optimizer's."""
    return isinstance(value, Mapping) and {"state", "param_groups"} <= value.keys()


def _parts(source: str, torch: Any, found: Any) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """The weights, the optimizer's state dict or None, and whatever else there is."""

    def are_weights(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(n, str) and isinstance(x, torch.Tensor) for n, x in value.items()
        )

    if _is_state(found):
        text = "expected the weights, too, in one file: {'model': ..., 'optimizer': ...}"
        raise Refused(f"{source}: it is the state dict of an optimizer alone: {text}")
    if are_weights(found):
        return dict(found), None, {}
    if isinstance(found, Mapping):
        rest = dict(found)
        model = next((key for key in _MODELS if are_weights(rest.get(key))), None)
        own = next((key for key in _OPTIMIZERS if _is_state(rest.get(key))), None)
        if model is not None:
            state = rest.pop(own) if own is not None else None
            return dict(rest.pop(model)), state, rest
    expected = f"a dict of tensors, or one that has it as {', '.join(_MODELS)}"
    raise Refused(f"{source}: expected {expected}, got {type(found).__name__}")


def _extra(rest: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """What JSON can hold, and a note on what it cannot."""
    kept: dict[str, Any] = {}
    left = []
    for key, value in rest.items():
        try:
            json.dumps({key: value})
            kept[str(key)] = value
        except (TypeError, ValueError):
            left.append(str(key))
    return kept or None, [f"left out, as JSON cannot hold it: {', '.join(left)}"] if left else []


def _parameters(source: str, weights: Mapping[str, Any], state: Any) -> list[str]:
    """The names of the optimizer's parameters, in its order."""
    groups = state["param_groups"]
    count = sum(len(group["params"]) for group in groups)
    if all("param_names" in group for group in groups):
        names = [name for group in groups for name in group["param_names"]]
    elif len(groups) > 1:
        expected = "an optimizer that was made with named_parameters()"
        raise Refused(f"{source}: groups of parameters without names: expected {expected}")
    else:
        names = [*weights]
        if len(names) != count:
            names = [name for name in names if name.rpartition(".")[2] not in _BUFFERS]
    if len(names) != count or not weights.keys() >= {*names}:
        text = f"the optimizer has {count} parameters: expected as many tensors, got {len(names)}"
        raise Refused(f"{source}: {text}; one made with named_parameters() says which they are")
    numbers = [number for group in groups for number in group["params"]]
    for name, number in zip(names, numbers, strict=True):
        for key, value in state["state"].get(number, {}).items():
            if key in _ALIKE and value is not None and value.shape != weights[name].shape:
                got = f"{tuple(weights[name].shape)}, got {tuple(value.shape)}"
                raise Refused(f"{source}: {key} of '{name}': expected shape {got}")
    return names


def _torch_optimizer(
    torch: Any, name: str, weights: dict[str, Any], state: Any, names: list[str]
) -> Any:
    """One of `slotwise.torch`: all that PyTorch's has."""
    module = library("slotwise.torch")
    cls = getattr(module, name, None)
    if not (isinstance(cls, type) and issubclass(cls, module.Optimizer)):
        raise Refused(f"--optimizer: expected a class of slotwise.torch, got '{_OWN}{name}'")
    for each in names:
        weights[each] = torch.nn.Parameter(weights[each], requires_grad=True)
    waiting = iter(names)
    groups = [[next(waiting) for _ in group["params"]] for group in state["param_groups"]]
    made: Any = cls([{"params": [weights[each] for each in own]} for own in groups])
    _refuse_numbers_of_another(name, made, state)
    made.load_state_dict(state)
    _refuse_state_of_another(name, made)
    for group, own in zip(made.param_groups, groups, strict=True):
        group["param_names"] = own
    return made


def _refuse_numbers_of_another(name: str, made: Any, state: Any) -> None:
    """Refuse groups that lack a number of the class, or whose weights decay in another way."""
    numbers = [
        key
        for key, default in made.defaults.items()
        if isinstance(default, (int, float, tuple)) and not isinstance(default, bool)
    ]
    for group in state["param_groups"]:
        missing = [key for key in numbers if key not in group]
        if missing:
            text = f"expected {', '.join(missing)} in its groups"
            raise Refused(f"--optimizer {_OWN}{name}: {text}: the state is of another optimizer")
        is_apart = group.get("decoupled_weight_decay", True)
        if name == "AdamW" and group["weight_decay"] and not is_apart:
            text = "expected weights that decay apart, got Adam's, added to gradients"
            raise Refused(f"--optimizer {_OWN}{name}: {text}")


def _refuse_state_of_another(name: str, made: Any) -> None:
    """Refuse what a step of the class would not take, or would have to begin anew."""
    for group in made.param_groups:
        for parameter in group["params"]:
            found = {
                key for key, value in made.state.get(parameter, {}).items() if value is not None
            }
            needed = {*made._needed(group, parameter)}
            if found and (needed - made._optional_slots) - found:
                expected = ", ".join(sorted(needed))
                text = f"expected {expected} in its state, got {', '.join(sorted(found))}"
                raise Refused(f"--optimizer {_OWN}{name}: {text}: it is of another optimizer")


def _keras_optimizer(name: str, weights: dict[str, Any], state: Any, names: list[str]) -> Any:
    """One of `slotwise.optimizers`, with the group's settings."""
    cls, group = optimizer_class(name), dict(state["param_groups"][0])
    group["beta_1"], group["beta_2"] = group.pop("betas", (None, None))
    known = inspect.signature(cls).parameters
    settings = {_ARGUMENTS.get(str(key), str(key)): value for key, value in group.items()}
    settings = {key: x for key, x in settings.items() if key in known and x is not None}
    if settings.get("weight_decay") == 0 and known["weight_decay"].default is None:
        del settings["weight_decay"]  # None is how it says that there is none
    made = cls(**settings)
    for each in names:
        weights[each] = Variable(array_of_tensor("convert", each, weights[each]).copy(), name=each)
    interop.load_torch_state_dict(made, state, [weights[each] for each in names])
    return made
