"""Optimizers with state: Keras's classes, over the kernels of `slotwise.raw_ops`."""

from slotwise.optimizers import legacy, schedules
from slotwise.optimizers._registry import deserialize, get, serialize
from slotwise.optimizers._serialization import custom_object_scope
from slotwise.optimizers.loss_scale import LossScaleOptimizer

__all__ = [
    "LossScaleOptimizer",
    "custom_object_scope",
    "deserialize",
    "get",
    "legacy",
    "schedules",
    "serialize",
]
