# SPDX-License-Identifier: Apache-2.0
"""Loss scaling, for gradients in float16."""

from slotwise.optimizers.loss_scale._current import LossScaleOptimizerV3
from slotwise.optimizers.loss_scale._legacy import LossScaleOptimizer

__all__ = ["LossScaleOptimizer", "LossScaleOptimizerV3"]
