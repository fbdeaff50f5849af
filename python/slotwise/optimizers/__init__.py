"""Optimizers with state: Keras's classes, over the kernels of `slotwise.raw_ops`.

These are the classes of Keras since TensorFlow 2.11; those before it are in `legacy`.
"""

from slotwise.optimizers import legacy, schedules
from slotwise.optimizers._registry import (
    convert_to_legacy_optimizer,
    deserialize,
    get,
    serialize,
)
from slotwise.optimizers._serialization import custom_object_scope
from slotwise.optimizers.current import (
    SGD,
    AdaBelief,
    Adadelta,
    Adafactor,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Ftrl,
    Lamb,
    Lion,
    Nadam,
    Optimizer,
    RMSprop,
)
from slotwise.optimizers.loss_scale import LossScaleOptimizer

__all__ = [
    "SGD",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "convert_to_legacy_optimizer",
    "custom_object_scope",
    "deserialize",
    "get",
    "legacy",
    "schedules",
    "serialize",
]
