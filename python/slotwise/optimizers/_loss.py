"""Recording a loss, to differentiate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slotwise._autodiff import GradientTape
from slotwise._variable import Variable


def recorded(
    loss: Any,
    var_list: Any,
    tape: GradientTape | None,
    listed: Callable[[Any], Sequence[Any]],
    transform: Callable[[Any], Any],
) -> tuple[GradientTape, Any, list[Variable]]:
    """A loss as a value, the tape that recorded it, and the variables.

    Args:
        loss: a function of no arguments, or a value with its ``tape``.
        var_list: the variables, or a function that returns them, called after the loss.
        tape: the tape, or None for a new one.
        listed: makes a list of the variables.
        transform: what is done to the loss.
    """
    if not callable(loss) and tape is None:
        raise ValueError(
            f"`tape` is required when a `Tensor` loss is passed. Received: loss={loss}, "
            f"tape={tape}."
        )
    tape = GradientTape() if tape is None else tape
    with tape:
        if callable(loss):
            if not callable(var_list):
                tape.watch(listed(var_list))
            loss = loss()
            if callable(var_list):
                var_list = var_list()
        loss = transform(loss)
    variables = list(listed(var_list))
    for var in variables:
        if not isinstance(var, Variable):
            got = type(var).__name__
            raise TypeError(f"minimize: var_list: expected slotwise.Variables, got {got}")
    return tape, loss, variables
