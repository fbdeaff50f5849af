# SPDX-License-Identifier: Apache-2.0
"""Optimizers with state: Keras's classes, over the kernels of `slotwise.raw_ops`.

These are the classes of Keras since TensorFlow 2.11; those before it are in `legacy`.
"""

from slotwise.optimizers import current, legacy, schedules
from slotwise.optimizers._registry import (
    convert_to_legacy_optimizer,
    deserialize,
    get,
    serialize,
)
from slotwise.optimizers._serialization import custom_object_scope
from slotwise.optimizers.current import *  # noqa: F403  (it has an __all__)
from slotwise.optimizers.loss_scale import LossScaleOptimizer

__all__ = [
    "LossScaleOptimizer",
    "convert_to_legacy_optimizer",
    "custom_object_scope",
    "deserialize",
    "get",
    "legacy",
    "schedules",
    "serialize",
]
__all__ += current.__all__
