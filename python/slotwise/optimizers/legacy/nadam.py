# SPDX-License-Identifier: Apache-2.0
"""Nadam."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from slotwise import _arguments
from slotwise._variable import Variable, own_array
from slotwise.optimizers import _registry
from slotwise.optimizers._descriptions import nadam
from slotwise.optimizers._numbers import Float, Part, Reading, compute_type
from slotwise.optimizers._signature import constructor
from slotwise.optimizers._step import Step
from slotwise.optimizers.legacy._described import Described
from slotwise.optimizers.legacy._made import COMMON

_log = logging.getLogger("slotwise")


@_registry.register("legacy")
class Nadam(Described):
    """Nadam: Adam with Nesterov momentum that is warmed up.

        t    = iterations + 1
        mu_t = beta_1 * (1 - 0.5 * 0.96^(schedule_decay * t))
        P    = momentum_cache * mu_t, which momentum_cache becomes
        m   += (grad - m) * (1 - beta_1)
        v   += (grad^2 - v) * (1 - beta_2)
        bar  = (1 - mu_t) * grad / (1 - P) + mu_(t+1) * m / (1 - P * mu_(t+1))
        var -= learning_rate * bar / (sqrt(v / (1 - beta_2^t)) + epsilon)

    Args:
        learning_rate: a number, a callable or an array; no schedule.
        beta_1: decay of m.
        beta_2: decay of v.
        epsilon: keeps the denominator from 0; 0 and None mean 1e-7.
        schedule_decay: how fast momentum is warmed up. It is ``decay`` in the config.
        {{common}}

    Slots:
        ``m``, ``v``; and one number, ``momentum_cache``, after `iterations` in `weights`.

    {{raises}}

    Example:
        >>> import slotwise
        >>> opt = slotwise.optimizers.legacy.Nadam(learning_rate=0.2)
        >>> var = slotwise.Variable(10.0)
        >>> _ = opt.minimize(lambda: (var**2) / 2.0, [var])
        >>> f"{float(var):.1f}"
        '9.8'

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    description = nadam.LEGACY
    __init__ = constructor(nadam.LEGACY, COMMON)

    _cache: Variable | None = None
    _of_step: tuple[int, float, float] | None = None  # iterations, the cache before and after

    def _set_up(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        if "decay" in kwargs:  # Keras does not say so
            self._kinds["decay"](type(self).__name__, "decay", kwargs["decay"])
            _log.warning("legacy.Nadam ignores `decay`; use `schedule_decay`.")
        decay = self._kinds["schedule_decay"](
            type(self).__name__, "schedule_decay", arguments["schedule_decay"]
        )
        super()._set_up(arguments, {**kwargs, "decay": decay})

    @property
    def schedule_decay(self) -> Any:
        """How fast momentum is warmed up; ``decay`` in the config."""
        return self._initial_decay

    @schedule_decay.setter
    def schedule_decay(self, value: Any) -> None:
        self._initial_decay = value

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, type[Any]] | None = None
    ) -> Any:
        arguments = _arguments.named_of(f"{cls.__name__}.from_config", "config", config)
        if "decay" in arguments:
            arguments.setdefault("schedule_decay", arguments.pop("decay"))
        return super().from_config(arguments, custom_objects)

    def _decayed_lr(self, var_dtype: DTypeLike) -> Float:
        return self._get_hyper("learning_rate", var_dtype)  # decay is schedule_decay here

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        if self._cache is None and var_list:
            dtype = compute_type(var_list[0].dtype)
            self._cache = Variable(np.ones((), dtype), trainable=False, name="momentum_cache")
            self._weights.append(self._cache)
        super()._create_slots(var_list)

    def _product_before(self) -> float:
        """momentum_cache as it was at the start of this step."""
        assert self._cache is not None
        value, step = float(self._cache), self._step_count()
        if self._of_step is None or self._of_step[0] != step or value not in self._of_step[1:]:
            self._of_step = (step, value, value)
        return self._of_step[1]

    def _reading(self, step: Step) -> Reading:
        """The reading, with momentum_cache, and with what it becomes."""
        reading, before = super()._reading(step), self._product_before()
        parts = [Part(range(len(step.variables)), before)]
        assert self._cache is not None
        kind = compute_type(self._cache.dtype)
        if kind not in step.types:
            return reading._replace(parts=parts)
        product = float(nadam.legacy_product(reading.numbers(kind, part=before)))
        assert self._of_step is not None
        self._of_step = (*self._of_step[:2], product)
        return reading._replace(parts=parts, changes=((own_array(self._cache), product),))
