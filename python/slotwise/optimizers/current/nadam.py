# SPDX-License-Identifier: Apache-2.0
"""Nadam."""

from __future__ import annotations

from typing import Any

import numpy as np

from slotwise._variable import Variable, own_array
from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import nadam
from slotwise.optimizers._numbers import Part, Reading, compute_type
from slotwise.optimizers._signature import constructor
from slotwise.optimizers._state import Entry
from slotwise.optimizers._step import Step
from slotwise.optimizers.current._described import Described
from slotwise.optimizers.current._keras3 import Weight, weight
from slotwise.optimizers.current._made import COMMON


@_registry.register("current")
class Nadam(Described):
    """Nadam: Adam with Nesterov momentum that is warmed up.

        t    = iterations + 1
        u_t  = beta_1 * (1 - 0.5 * 0.96^t)
        U    = U * u_t, at first 1
        m   += (grad - m) * (1 - beta_1)
        v   += (grad^2 - v) * (1 - beta_2)
        bar  = (1 - u_t) * grad / (1 - U) + u_(t+1) * m / (1 - U * u_(t+1))
        var -= learning_rate * bar / (sqrt(v / (1 - beta_2^t)) + epsilon)

    As in Keras, U is not among `variables`, and goes by a count of its own: once `iterations` was
    changed from outside, each variable of a step multiplies it.

    Args:
        {{learning_rate}}
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0.
        {{common}}

    Slots:
        ``m``, ``v``.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.Nadam(learning_rate=0.2)
        >>> var = slotwise.Variable(10.0)
        >>> opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> f"{float(var):.5f}"
        '9.78744'

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    description = nadam.CURRENT
    __init__ = constructor(nadam.CURRENT, COMMON)

    _u_product: Variable | None = None
    _u_product_counter: Variable | None = None

    def _make_state(self, entries: list[Entry]) -> None:
        if self._u_product is None and entries:
            dtype = compute_type(entries[0].variable.dtype)
            self._u_product = Variable(np.ones((), dtype), trainable=False, name="u_product")
            counter = Variable(np.ones((), np.int64), trainable=False, name="u_product_counter")
            self._u_product_counter = counter
        super()._make_state(entries)

    def _own_state(self) -> dict[str, Any]:
        hidden = (self._u_product, self._u_product_counter)  # not among `variables`, as in Keras
        return {**super()._own_state(), **{x.name: x for x in hidden if x is not None}}

    def _reading(self, step: Step) -> Reading:
        """The reading, with a part for each U, and with what U and its count become."""
        reading = super()._reading(step)
        assert self._u_product is not None
        assert self._u_product_counter is not None
        product, counter = own_array(self._u_product)[()], int(self._u_product_counter)
        x = reading.numbers(type(product))
        decay = nadam.current_beta_1(x, x.step)
        count = len(step.variables)
        parts: list[tuple[Any, list[int]]] = []
        for i in range(count):
            is_counted = counter == x.step + 1
            if not is_counted:
                product, counter = product * decay, counter + 1
            if not parts or 1 - parts[-1][0] != 1 - product:
                parts.append((product, [i]))
            elif is_counted:
                parts[-1][1].extend(range(i, count))
                break
            else:
                parts[-1][1].append(i)
        changes = (
            (own_array(self._u_product), float(product)),
            (own_array(self._u_product_counter), counter),
        )
        found = [Part(pairs, number) for number, pairs in parts]
        return reading._replace(parts=found, changes=changes)

    def _slots_in_keras(self, keras: int) -> list[Weight]:
        """Keras 3 has U among its variables."""
        slots = super()._slots_in_keras(keras)
        if keras == 2 or self._u_product is None:
            return slots
        theirs = next(iter(self._index_dict)).variable.dtype
        return [*slots, weight(self._u_product, theirs, self._u_product.dtype)]

    def _after_keras3(self) -> None:
        """Let U go by `iterations`, as it does there."""
        if self._u_product_counter is not None:
            self._u_product_counter.assign(self._step_count() + 1)
