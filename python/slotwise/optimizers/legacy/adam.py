"""Adam."""

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


def _update(opt: Any) -> Update:
    if opt.amsgrad:
        return Update("AdamWithAmsgrad", ("m", "v", "vhat"), "whole")
    use_nesterov = (False,)
    return Update("Adam", ("m", "v"), "whole", use_nesterov)


def _coefficients(x: Numbers) -> dict[str, Any]:
    return {
        "beta1_power": x.power("beta_1"),
        "beta2_power": x.power("beta_2"),
        "lr": x.lr,
        "beta1": x["beta_1"],
        "beta2": x["beta_2"],
        "epsilon": x["epsilon"],
    }


DESCRIPTION = Description(
    name="Adam",
    parameters=(
        Parameter("learning_rate", 0.001),
        Parameter("beta_1", 0.9),
        Parameter("beta_2", 0.999),
        Parameter("epsilon", 1e-7, Kind.NUMBER, through_float32=False),
        Parameter("amsgrad", False, Kind.FLAG),
    ),
    slots=(Slot("m"), Slot("v"), Slot("vhat", exists=lambda opt: opt.amsgrad)),
    update=_update,
    coefficients=_coefficients,
    config=("learning_rate", "decay", "beta_1", "beta_2", "epsilon", "amsgrad"),
    spare_slots=1,
)


class Adam(Described):
    """Adam: steps by running means of gradients, scaled by those of their squares.

        t    = iterations + 1
        m   += (grad - m) * (1 - beta_1)
        v   += (grad^2 - v) * (1 - beta_2)
        lr_t = learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t)
        var -= lr_t * m / (sqrt(v) + epsilon)                    or, with amsgrad,

        vhat = max(vhat, v)
        var -= lr_t * m / (sqrt(vhat) + epsilon)

    Args:
        learning_rate: a number, a schedule, a callable or an array.
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0; 0 and None mean 1e-7.
        amsgrad: whether to scale by the largest v so far.
        name: what errors call the optimizer.
        sparse: ``"keras"``, or ``"lazy"``: rows without a gradient stay as they are, see
            `slotwise.support_matrix`.
        kwargs: ``clipnorm``, ``clipvalue``, ``global_clipnorm``, ``decay``, ``lr``,
            ``gradient_aggregator``, ``gradient_transformers``: see `Optimizer`.

    Slots:
        ``m``, ``v``, and ``vhat`` with amsgrad.

    Raises:
        TypeError, ValueError: arguments that do not fit.

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.Adam(learning_rate=0.1)
        >>> var = slotwise.Variable(10.0)
        >>> loss = lambda: (var**2) / 2.0                    # d(loss) / d(var) = var
        >>> _ = opt.minimize(loss, [var])
        >>> round(float(var), 6)                             # the first step: -learning_rate
        9.9

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014; Reddi et al., "On the
        convergence of Adam and beyond", 2018.
    """

    description = DESCRIPTION
    __init__ = constructor(DESCRIPTION)
