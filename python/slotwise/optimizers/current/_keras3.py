# SPDX-License-Identifier: Apache-2.0
"""What Keras 3, ``tf.keras`` since TensorFlow 2.16, has otherwise: configs and lists of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slotwise._variable import Variable
from slotwise.optimizers._kinds import Hyper, Number

_OWN = ("jit_compile", "is_legacy_optimizer")  # what Keras 3's configs do not have
_LIMITS = ("clipnorm", "global_clipnorm", "clipvalue")


def is_config(config: Mapping[str, Any]) -> bool:
    """Whether it is one of Keras 3's."""
    return "loss_scale_factor" in config and "is_legacy_optimizer" not in config


def arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a constructor that a config has, of Keras 2 or 3."""
    found = dict(config)
    if is_config(config) and config.get("use_ema"):
        found.setdefault("ema_variant", "keras3")
    return found


def config_of(optimizer: Any) -> dict[str, Any]:
    """The config with which Keras 3 makes the same optimizer.

    Raises:
        ValueError: Keras 3 has none that computes the same.
    """
    config = optimizer.get_config()
    name = type(optimizer).__name__

    def refuse(argument: str, expected: str) -> None:
        got = getattr(optimizer, argument)
        raise ValueError(
            f"serialize: {name}: {argument}: expected {expected}, as Keras 3 has it, got {got!r}"
        )

    own = vars(type(optimizer)).get("description")  # none of a class derived from ours
    if own is not None and not own.is_in_keras3:
        raise ValueError(f"serialize: optimizer: expected one that Keras 3 has, got {name}")
    if optimizer.use_ema and config.pop("ema_variant", "keras2") == "keras2":
        refuse("ema_variant", "'keras3'")
    if config.pop("sparse", "keras") != "keras":
        refuse("sparse", "'keras'")
    if getattr(optimizer, "adaptive_epsilon", False):
        refuse("adaptive_epsilon", "False")
    limits = [limit for limit in _LIMITS if config[limit] is not None]
    if len(limits) > 1:
        refuse(limits[-1], f"None beside {limits[0]}")
    for key in _OWN:
        del config[key]
    if isinstance(config["learning_rate"], Mapping):
        config["learning_rate"] = _with_names(config["learning_rate"])
    return {
        "loss_scale_factor": None,
        "gradient_accumulation_steps": None,
        **{key: _as_float(optimizer, key, value) for key, value in config.items()},
    }


def _with_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule without names that are None, which Keras 3 does not take."""
    return {
        key: _with_names(value) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if not (key == "name" and value is None)
    }


def _as_float(optimizer: Any, key: str, value: Any) -> Any:
    """A number as Keras 3 wants it: a whole one as a float, too."""
    kind = optimizer._kinds.get(key)
    number = kind.number if isinstance(kind, Hyper) else kind
    is_real = isinstance(number, Number) and not number.whole and value is not None
    return float(value) if is_real else value


# ----- lists of weights --------------------------------------------------------------------------


@dataclass(frozen=True)
class Weight:
    """An array of a list of weights."""

    name: str
    shape: tuple[int, ...]
    dtypes: tuple[np.dtype[Any], ...]  # that it may have; the first is what Keras is given
    variable: Variable | None  # whose value it is; None for what Keras has without need

    def fits(self, array: NDArray[Any]) -> bool:
        return array.shape == self.shape and array.dtype in self.dtypes

    @property
    def value(self) -> NDArray[Any]:
        if self.variable is None:
            return np.zeros(self.shape, self.dtypes[0])
        return np.asarray(self.variable.numpy(), self.dtypes[0])


def weights_of(optimizer: Any, keras: int) -> list[Weight]:
    """What ``variables`` of the same optimizer in Keras has, in its order."""
    found = [weight(optimizer._counter(), np.int64, *([np.int32] if keras == 3 else []))]
    if keras == 3 and isinstance(optimizer._learning_rate, Variable):
        found.append(weight(optimizer._learning_rate, np.float32))
    found += optimizer._weights_in_keras(keras)
    return found


def take_over(optimizer: Any, keras: int) -> None:
    """What follows from values of a list of weights that were written is made of them."""
    if keras == 3:
        optimizer._after_keras3()


def weight(variable: Variable, *dtypes: Any) -> Weight:
    return Weight(variable.name, variable.shape, tuple(map(np.dtype, dtypes)), variable)


def fit(weights: Sequence[Weight], arrays: Sequence[NDArray[Any]]) -> bool:
    return len(weights) == len(arrays) and all(
        each.fits(array) for each, array in zip(weights, arrays, strict=True)
    )
