# SPDX-License-Identifier: Apache-2.0
"""Models that Keras 2 (tf_keras) or Keras 3 saved."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np

from slotwise import Variable, interop, optimizers
from slotwise._cli._converted import NONE, Converted, library, one_line, optimizer_class
from slotwise._cli._errors import Failed, Refused

_MODULES = ("keras", "tf_keras")


@dataclass
class _File:
    """What a file says, before any model is built.

    Attributes:
        config: of the model.
        version: of the Keras that wrote it.
        optimizer: its config, if there is one.
        arrays: the optimizer's weights, in order.
    """

    config: Any
    version: str
    optimizer: Any
    arrays: list[Any]


def read(source: str, optimizer: str | None) -> Converted:
    """Read a model.

    Args:
        source: the file.
        optimizer: the class if the file does not say it; "none" leaves it out.

    Raises:
        Refused: what has no place in a checkpoint; a model that would run code of its own.
        Failed: a damaged file.
    """
    h5py = library("h5py")
    try:
        found = _zipped(h5py, source) if zipfile.is_zipfile(source) else _h5(h5py, source)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Failed(
            f"{source}: it cannot be read as a model of Keras: {one_line(error)}"
        ) from None
    _refuse_code(source, found.config)
    keras: Literal[2, 3] = 2 if found.version.startswith("2.") else 3
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    models = library("tf_keras" if keras == 2 else "keras").models
    try:
        model = models.load_model(source, compile=False, safe_mode=True)
    except Exception as error:  # of whatever layer the file names
        raise Failed(f"{source}: Keras cannot load it: {one_line(error)}") from None
    names = _names(model.variables, keras)
    values = {name: np.array(each) for each, name in names}
    by_id = {id(each): name for each, name in names}
    variables = {name: Variable(value, name=name) for name, value in values.items()}
    trained = [variables[by_id[id(each)]] for each in model.trainable_variables]
    made, notes = _optimizer(source, found, optimizer, trained, keras)
    return Converted(dict(variables), made, notes=notes)


def _names(variables: Any, keras: int) -> list[tuple[Any, str]]:
    """Names as Keras has them; a second one of the same name is ``name_1``."""
    found: list[tuple[Any, str]] = []
    taken: set[str] = set()
    for each in variables:
        own = each.path if keras == 3 else each.name.removesuffix(":0")
        name, number = own, 0
        while name in taken:
            number += 1
            name = f"{own}_{number}"
        taken.add(name)
        found.append((each, name))
    return found


def _optimizer(
    source: str, found: _File, wanted: str | None, trained: list[Variable], keras: Literal[2, 3]
) -> tuple[Any, list[str]]:
    """The optimizer with its state, and notes."""
    if wanted == NONE:
        return None, ["the optimizer is left out"] if found.arrays else []
    if not found.arrays:
        has = "only a config" if found.optimizer else "nothing"
        return None, [f"the file has {has} of an optimizer: it is left out"]
    if wanted is None and not found.optimizer:
        raise Refused(
            f"{source}: it has the state of an optimizer and not its class: --optimizer CLASS says "
            f"which it is, --optimizer {NONE} leaves it out"
        )
    try:
        if wanted is not None:
            made = optimizer_class(wanted)()
        else:
            made = optimizers.deserialize(found.optimizer)
        interop.load_keras_weights(made, found.arrays, trained, keras=keras)
    except (TypeError, ValueError) as error:
        text = f"the optimizer: {one_line(error)}; --optimizer {NONE} leaves it out"
        raise Refused(f"{source}: {text}") from None
    return made, []


def _zipped(h5py: Any, source: str) -> _File:
    """A .keras file."""
    with zipfile.ZipFile(source) as file:
        config = json.loads(file.read("config.json"))
        version = str(json.loads(file.read("metadata.json"))["keras_version"])
        arrays = []
        with h5py.File(BytesIO(file.read("model.weights.h5")), "r") as weights:
            group = weights.get("optimizer/vars", {})
            arrays = [np.array(group[str(number)]) for number in range(len(group))]
    optimizer = (config.get("compile_config") or {}).get("optimizer")
    return _File(config, version, optimizer, arrays)


def _h5(h5py: Any, source: str) -> _File:
    """A .h5 file of a whole model."""
    with h5py.File(source, "r") as file:
        if "model_config" not in file.attrs:
            raise Refused(f"{source}: expected a whole model (model.save), got weights alone")
        config = json.loads(file.attrs["model_config"])
        version = str(file.attrs["keras_version"])
        training = json.loads(file.attrs.get("training_config", "{}"))
        arrays = []
        if "optimizer_weights" in file:
            group = file["optimizer_weights"]
            arrays = [np.array(group[name]) for name in group.attrs.get("weight_names", ())]
    return _File(config, version, training.get("optimizer_config"), arrays)


def _refuse_code(source: str, config: Any) -> None:
    """Refuse models that bring code, or name modules that would be imported.

    Raises:
        Refused: it names the class.
    """
    for each in _dicts(config):
        name, module = each.get("class_name"), each.get("module")
        if name == "Lambda":
            raise Refused(f"{source}: a Lambda layer holds code, which is not run")
        if isinstance(module, str) and module.partition(".")[0] not in _MODULES:
            text = f"'{name}' is of the module '{module}': expected classes of Keras"
            raise Refused(f"{source}: {text}")


def _dicts(data: Any) -> Iterator[dict[str, Any]]:
    waiting = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
