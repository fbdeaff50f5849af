"""Adamax."""

from __future__ import annotations

from slotwise.optimizers._descriptions import adamax
from slotwise.optimizers._signature import constructor
from slotwise.optimizers.legacy._described import COMMON, Described


class Adamax(Described):
    """Adamax: Adam scaled by the largest recent gradient.

        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        v    = max(beta_2 * v, |grad|)
        var -= learning_rate / (1 - beta_1^t) * m / (v + epsilon)

    Args:
        learning_rate: a number, a schedule, a callable or an array.
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0; 0 and None mean 1e-7.
        name: what errors call the optimizer.
        sparse: ``"keras"``, or ``"lazy"``: rows without a gradient stay as they are, see
            `slotwise.support_matrix`.
        kwargs: ``clipnorm``, ``clipvalue``, ``global_clipnorm``, ``decay``, ``lr``,
            ``gradient_aggregator``, ``gradient_transformers``: see `Optimizer`.

    Slots:
        ``m``, ``v``.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.Adamax(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> round(float(var), 6)                             # the first step: -learning_rate
        9.9

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
    """

    description = adamax.LEGACY
    __init__ = constructor(adamax.LEGACY, COMMON)
