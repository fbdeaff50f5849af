# SPDX-License-Identifier: Apache-2.0
"""Recording a loss, to differentiate it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slotwise import _arguments
from slotwise._autodiff import GradientTape, stop_gradient
from slotwise._variable import Variable, settled


def own_or_new(tape: Any) -> GradientTape:
    """A tape of the caller's, or a new one for None."""
    if tape is not None and not isinstance(tape, GradientTape):
        raise _arguments.refused("minimize", "tape", "a slotwise.GradientTape or None", tape)
    return GradientTape() if tape is None else tape


def value_of(loss: Callable[[], Any]) -> Any:
    """What a loss that is a function returns."""
    return _arguments.called("minimize", "loss", "a function of no arguments", loss)


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
    tape = own_or_new(tape)
    variables = None if callable(var_list) else _checked(listed(var_list))
    with tape:
        if callable(loss):
            if variables is not None:
                tape.watch(variables)
            loss = value_of(loss)
        if variables is None:
            expected = "a list of variables or a function of no arguments"
            given = _arguments.called("minimize", "var_list", expected, var_list)
            variables = _checked(listed(given))
        loss = transform(loss)
    return tape, loss, variables


def _checked(variables: Sequence[Any]) -> list[Variable]:
    for var in variables:
        if not isinstance(var, Variable):
            got = type(var).__name__
            raise TypeError(f"minimize: var_list: expected slotwise.Variables, got {got}")
    return list(variables)


def gradients(
    tape: GradientTape, loss: Any, variables: Sequence[Variable], grad_loss: Any = None
) -> list[Any]:
    """The gradients of a loss as numbers, for an update: inside of another tape, too."""
    return [stop_gradient(grad) for grad in tape.gradient(loss, list(variables), grad_loss)]


def tape_of(loss: Any) -> GradientTape | None:
    """The tape that recorded a value; None for a function, which is yet to be recorded.

    Raises:
        TypeError: what no tape recorded.
        ValueError: the tape is gone, or it is not one tape.
    """
    if callable(loss):
        return None
    if isinstance(loss, Variable):
        return GradientTape()
    if settled(loss) is loss or not hasattr(loss._node, "owner"):
        got = type(loss).__name__
        raise TypeError(
            "get_gradients: loss: expected a function of no arguments, or a value that a "
            f"GradientTape recorded, got {got}"
        )
    tape: GradientTape | None = loss._node.owner and loss._node.owner.tape()
    if tape is None:
        raise ValueError(
            "get_gradients: loss: expected a value whose GradientTape still exists, got one of a "
            "tape that was deleted, or of several tapes"
        )
    return tape
