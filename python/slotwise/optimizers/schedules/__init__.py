# SPDX-License-Identifier: Apache-2.0
"""Learning rates that depend on the step."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers import _serialization
from slotwise.optimizers._kinds import shown
from slotwise.optimizers._schedule import LearningRateSchedule
from slotwise.optimizers.schedules.cosine import CosineDecay, CosineDecayRestarts
from slotwise.optimizers.schedules.exponential import ExponentialDecay
from slotwise.optimizers.schedules.inverse_time import InverseTimeDecay
from slotwise.optimizers.schedules.piecewise import PiecewiseConstantDecay
from slotwise.optimizers.schedules.polynomial import PolynomialDecay

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]

for _cls in (
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
):
    _serialization.SCHEDULES[_cls.__name__] = _cls
    _serialization.MODULES[_cls] = "keras.optimizers.schedules"


def serialize(schedule: LearningRateSchedule, use_legacy_format: bool = False) -> dict[str, Any]:
    """A schedule as plain data, for JSON.

    A rate that is a NumPy float64 is noted beside the config, so that it is one again afterwards.

    Args:
        schedule: the schedule.
        use_legacy_format: whether to write Keras's older format, ``class_name`` and ``config``.

    Raises:
        TypeError: no schedule.
        NotImplementedError: a class of your own without ``get_config``.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> data = schedules.serialize(schedules.PiecewiseConstantDecay([10], [1.0, 0.5]))
        >>> data["class_name"], data["config"]
        ('PiecewiseConstantDecay', {'boundaries': [10], 'values': [1.0, 0.5], 'name': None})
    """
    if not isinstance(schedule, LearningRateSchedule):
        raise TypeError(f"serialize: schedule: expected a schedule, got {shown(schedule)}")
    return _serialization.serialize(schedule, use_legacy_format, notes_doubles=True)


def deserialize(
    config: dict[str, Any],
    custom_objects: dict[str, type[Any]] | None = None,
    use_legacy_format: bool = False,
) -> Any:
    """The schedule that `serialize` wrote, in either format.

    Args:
        config: what `serialize` returned; not changed.
        custom_objects: classes of your own, by name.
        use_legacy_format: accepted for compatibility; either format is read.

    Raises:
        ValueError: the name of the class is unknown, or it was written without a config.

    Example:
        >>> from slotwise.optimizers import schedules
        >>> data = schedules.serialize(schedules.PiecewiseConstantDecay([10], [1.0, 0.5]))
        >>> float(schedules.deserialize(data)(11))
        0.5
    """
    return _serialization.deserialize(config, _serialization.SCHEDULES, custom_objects, "decay")


def deserialize_in(arguments: dict[str, Any], custom_objects: dict[str, type[Any]] | None) -> None:
    """Make a schedule of a ``learning_rate`` that is a dict, in arguments of an optimizer."""
    if isinstance(arguments.get("learning_rate"), dict):
        arguments["learning_rate"] = deserialize(arguments["learning_rate"], custom_objects)
