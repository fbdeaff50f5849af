"""Adagrad."""

from __future__ import annotations

from slotwise.optimizers._descriptions import adagrad
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.current._described import COMMON, Described


class Adagrad(Described):
    """Adagrad: steps scaled by the root of the sum of squared gradients.

        accumulator += grad^2
        var         -= learning_rate * grad / sqrt(accumulator + epsilon)

    Args:
        learning_rate: a number, a schedule, or a function that returns a number, called once.
        initial_accumulator_value: what the accumulators begin with.
        epsilon: added under the root.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, jit_compile, loss_scale_factor,
            gradient_accumulation_steps, ema_variant, kwargs: see `Optimizer`.
        name: what errors call the optimizer.
        sparse: ``"keras"``, or ``"lazy"``: a sparse gradient changes its own rows only, see
            `slotwise.support_matrix`.
        sparse_decay: the rows of a sparse gradient's variable that decay, and whose average
            follows: ``"touched"``, those of the gradient, or ``"whole"``. By default as `sparse`.

    Slots:
        ``accumulator``.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.Adagrad(1.0, initial_accumulator_value=0.0)
        >>> var = slotwise.Variable(10.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])          # d(loss) / d(var) = var
        >>> round(float(var), 6)                             # the first step has unit length
        9.0

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

    description = adagrad.CURRENT
    __init__ = constructor(adagrad.CURRENT, COMMON)
