"""Adamax."""

from __future__ import annotations

from typing import Any

from slotwise.optimizers._description import (
    Description,
    Kind,
    Numbers,
    Parameter,
    Slot,
    Update,
)
from slotwise.optimizers.legacy._described import Described, constructor


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {
        "beta1_power": x.power("beta_1"),
        "lr": x.lr,
        "beta1": x["beta_1"],
        "beta2": x["beta_2"],
        "epsilon": x["epsilon"],
    }


DESCRIPTION = Description(
    name="Adamax",
    parameters=(
        Parameter("learning_rate", 0.001),
        Parameter("beta_1", 0.9),
        Parameter("beta_2", 0.999),
        Parameter("epsilon", 1e-7, Kind.NUMBER, through_float32=False),
    ),
    slots=(Slot("m"), Slot("v")),
    update=lambda opt: Update("AdaMax", ("m", "v"), "rows"),
    coefficients=_coefficients,
    config=("learning_rate", "decay", "beta_1", "beta_2", "epsilon"),
)


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

    description = DESCRIPTION
    __init__ = constructor(DESCRIPTION)
