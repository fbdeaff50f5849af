# SPDX-License-Identifier: Apache-2.0
"""What follows from the class and the description of an optimizer: names, docstring, rows."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import slotwise
from slotwise import optimizers

CLASSES = [
    pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")
    for module in (optimizers.current, optimizers.legacy)
    for name in module.__all__
]
BUILT_IN = [param for param in CLASSES if hasattr(param.values[0], "description")]


def documented(doc: str) -> list[str]:
    """The arguments that a docstring has, several of them before one colon too."""
    section = doc.split("Args:\n")[1].split("\n\n", maxsplit=1)[0]
    entries = re.findall(r"(?m)^    (\w[\w, ]*(?:\n        [\w, ]+)*):", section)
    return [name for entry in entries for name in re.split(r",\s*", entry)]


@pytest.mark.parametrize("cls", BUILT_IN)
def test_docstrings_have_each_parameter_once(cls: type[Any]) -> None:
    doc = inspect.getdoc(cls)
    assert doc is not None
    assert "{{" not in doc and max(map(len, doc.splitlines())) <= 96
    names = [*inspect.signature(cls.__init__).parameters][1:]
    assert sorted(documented(doc)) == sorted(names)


@pytest.mark.parametrize("cls", BUILT_IN)
def test_classes_are_known_by_their_names(cls: type[Any]) -> None:
    is_legacy = cls.__module__.startswith(optimizers.legacy.__name__)
    name = cls.__name__.upper()
    assert type(optimizers.get(name, use_legacy_optimizer=is_legacy)) is cls
    module = "keras.optimizers.legacy" if is_legacy else "keras.optimizers"
    assert optimizers.serialize(cls())["module"] == module
    api = "legacy" if is_legacy else "current"
    rows = [row for row in slotwise.support_matrix() if row["api"] == api]
    assert cls.__name__ in {row["optimizer"] for row in rows}


def test_all_classes_are_exported() -> None:
    assert {*optimizers.current.__all__} < {*optimizers.__all__}
    assert all(hasattr(optimizers, name) for name in optimizers.__all__)


def test_either_api_makes_a_loss_scale_optimizer() -> None:
    current = optimizers.LossScaleOptimizer(optimizers.SGD())
    legacy = optimizers.LossScaleOptimizer(inner_optimizer=optimizers.legacy.SGD())
    for opt in (current, legacy):
        assert isinstance(opt, optimizers.LossScaleOptimizer)
    assert type(legacy) is optimizers.LossScaleOptimizer
    assert issubclass(type(current), optimizers.LossScaleOptimizer)
    assert hasattr(legacy, "get_gradients") and not hasattr(current, "get_gradients")
