"""Loss scaling, for gradients in float16."""

from slotwise.optimizers.loss_scale._shared import LossScaleOptimizer, LossScaleOptimizerV3

__all__ = ["LossScaleOptimizer", "LossScaleOptimizerV3"]
