# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of TensorFlow: of objects (tf.train.Checkpoint), or by names."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from slotwise import Variable, _stateful
from slotwise._cli._converted import NONE, Converted, library, one_line, optimizer_class
from slotwise._cli._errors import Failed, Refused
from slotwise.state import _format

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_SLOT = re.compile(r"(.*)/\.OPTIMIZER_SLOT/([^/]*)/(.*)")
_COUNTS = {"iter": "iterations"}  # the legacy API's name, and ours


def read(source: str, optimizer: str | None) -> Converted:
    """Read a checkpoint.

    Args:
        source: its prefix, or the folder, of which the latest is taken.
        optimizer: the class of the legacy API that the slots are of.

    Raises:
        Refused: names that would be the same; another optimizer.
        Failed: a damaged checkpoint.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = library("tensorflow")
    prefix = tf.train.latest_checkpoint(source) if Path(source).is_dir() else source
    if prefix is None:
        raise Refused(f"{source}: there is no checkpoint of TensorFlow in this folder")
    tensors: dict[str, Any] = {}
    left: list[str] = []
    owners: dict[str, tuple[str, str]] = {}  # of slots: the variable, and the optimizer
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in sorted(reader.get_variable_to_shape_map()):
            value = np.array(reader.get_tensor(name))
            if value.dtype not in _format.DTYPES.values():
                left.append(name)
                continue
            own, owner = _named(name)
            if own in tensors:
                raise Refused(f"{source}: two tensors would be called '{own}'")
            tensors[own] = value
            if owner is not None:
                owners[own] = owner
    except Refused:
        raise
    except Exception as error:  # of TensorFlow, in many classes
        raise Failed(f"{source}: TensorFlow cannot read it: {one_line(error)}") from None
    notes = [f"left out, as they are no numbers: {', '.join(left)}"] if left else []
    if optimizer is None:
        return Converted(tensors, notes=notes)
    if optimizer == NONE:
        return Converted(
            _without_optimizers(tensors, owners), notes=[*notes, "the optimizer is left out"]
        )
    return _with_optimizer(source, optimizer, tensors, owners, notes)


def _named(name: str) -> tuple[str, tuple[str, str] | None]:
    """Our name of a tensor; of a slot, also its variable's and its optimizer's."""
    own = name.removesuffix(_VALUE)
    if (found := _SLOT.fullmatch(own)) is not None:
        return f"{found[1]}/{found[3]}", (found[1], found[2])
    return own, None


def _without_optimizers(
    tensors: dict[str, Any], owners: dict[str, tuple[str, str]]
) -> dict[str, Any]:
    """What is neither a slot nor below an object that has slots or counts steps."""
    found = {optimizer for _, optimizer in owners.values()}
    for count in (*_COUNTS, "_iterations"):
        ending = f"/{count}"
        found |= {name.removesuffix(ending) for name in tensors if name.endswith(ending)}
    prefixes = tuple(f"{name}/" for name in found)
    return {n: x for n, x in tensors.items() if n not in owners and not n.startswith(prefixes)}


def _with_optimizer(
    source: str,
    name: str,
    tensors: dict[str, Any],
    owners: dict[str, tuple[str, str]],
    notes: list[str],
) -> Converted:
    if not name.startswith("legacy."):
        raise Refused(
            f"--optimizer: expected one of the legacy API, legacy.Adam, got '{name}': a checkpoint "
            "of TensorFlow has no names of the others' slots"
        )
    cls, kept = optimizer_class(name), {optimizer for _, optimizer in owners.values()}
    if len(kept) != 1:
        raise Refused(f"{source}: --optimizer: expected slots of one optimizer, got {len(kept)}")
    prefix, trained = f"{kept.pop()}/", sorted({variable for variable, _ in owners.values()})
    variables = {n: Variable(x, name=n) for n, x in tensors.items() if n not in owners}
    numbers = {}
    for own in [own for own in variables if own.startswith(prefix)]:
        short = own.removeprefix(prefix)
        numbers[_COUNTS.get(short, short)] = variables.pop(own).numpy()
    known = {*inspect.signature(cls).parameters, "decay"}
    try:
        settings = {name: float(x) for name, x in numbers.items() if name in known}
        made = cls(**settings)
        _stateful.make_slots(made, [variables[own] for own in trained])
        kept_here = made.state_dict()  # a decay of 0 is no state
        numbers = {n: x for n, x in numbers.items() if n in kept_here or n not in settings}
        made.load_state_dict({**numbers, **{own: tensors[own] for own in owners}})
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{source}: the optimizer: {one_line(error)}") from None
    text = f"settings that are no tensors (epsilon, ...) are the defaults of {name}"
    return Converted(dict(variables), made, notes=[*notes, text])
