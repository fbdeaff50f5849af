# SPDX-License-Identifier: Apache-2.0
"""The settings of the current API's optimizers, and what a step reads of them.

The learning rate is one float32 number, or a schedule.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from slotwise._lock import Locked
from slotwise._variable import Variable, own_array
from slotwise.optimizers import _serialization
from slotwise.optimizers._description import Description, Options, Parameter
from slotwise.optimizers._kinds import (
    FLAG,
    OPTIONAL_NUMBER,
    RATE,
    Checked,
    Number,
    OneOf,
    is_function,
    scheduled,
)
from slotwise.optimizers._numbers import Float, Reading, configured, rounded
from slotwise.optimizers._ranks import Ranks
from slotwise.optimizers._schedule import is_schedule
from slotwise.optimizers._state import Entry
from slotwise.optimizers._step import NO_CLIPS, Around, Clips, Step

CLIPS = ("clipnorm", "global_clipnorm", "clipvalue")  # the first that is above 0 is the one

EMA_VARIANTS = ("keras2", "keras3")  # whose averages; see `Optimizer`

# Parameters of all constructors.
PARAMETERS = (
    Parameter("weight_decay", None, OPTIONAL_NUMBER),
    Parameter("clipnorm", None, OPTIONAL_NUMBER),
    Parameter("clipvalue", None, OPTIONAL_NUMBER),
    Parameter("global_clipnorm", None, OPTIONAL_NUMBER),
    Parameter("use_ema", False, FLAG),
    Parameter(
        "ema_momentum",
        0.99,
        Number(
            at_least=0,
            at_most=1,
            words="`{name}` must be in the range [0, 1]. Received: {name}={value}",
        ),
    ),
    Parameter(
        "ema_overwrite_frequency",
        None,
        Number(
            at_least=0,
            optional=True,
            whole=True,
            words="`{name}` must be an integer > 1 or None. Received: {name}={value}",
        ),
    ),
    Parameter("jit_compile", True, FLAG),
    Parameter("loss_scale_factor", None, Number(above=0, optional=True), keyword_only=True),
    Parameter(
        "gradient_accumulation_steps",
        None,
        Number(
            at_least=2,
            optional=True,
            whole=True,
            words="`{name}` must be an integer >= 2. Received: {name}={value}",
        ),
        keyword_only=True,
    ),
    Parameter("ema_variant", EMA_VARIANTS[0], OneOf(EMA_VARIANTS), keyword_only=True),
)

# What Keras 2 does not have: only in configs where it differs from the default.
BEYOND = {p.name: p.default for p in PARAMETERS if p.keyword_only}

# What all configs begin with.
SETTINGS = (
    "weight_decay",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "jit_compile",
)


class LearningRate(Locked, Checked):
    """Keeps the learning rate; an optimizer's constructor sets it by `_build_learning_rate`."""

    _iterations: Variable  # of calls, which schedules go by
    _learning_rate: Any = None  # a Variable or a schedule
    _current_learning_rate: Variable | None = None  # of a schedule
    _given_learning_rate: float | None = None  # before it was rounded

    def _build_learning_rate(self, learning_rate: Any) -> Any:
        """What an optimizer keeps as ``_learning_rate``: a variable, or the schedule.

        Args:
            learning_rate: a number, a function that returns one, called once, or a schedule.

        Raises:
            TypeError, ValueError: something else, or a number that is not finite.
        """
        owner = type(self).__name__
        given = RATE(owner, "learning_rate", learning_rate)
        if is_schedule(given):
            self._current_learning_rate = self._scheduled(given)
            return given
        number = RATE.of(owner, "learning_rate", given)
        self._given_learning_rate = float(number)
        return Variable(np.array(number, np.float32), trainable=False, name="learning_rate")

    def _scheduled(self, schedule: Any) -> Variable:
        value = scheduled(type(self).__name__, schedule, own_array(self._iterations)[()])
        array = np.array(value, np.float64 if isinstance(value, np.float64) else np.float32)
        return Variable(array, trainable=False, name="current_learning_rate")

    def _compute_current_learning_rate(self) -> None:
        """Ask the schedule, if there is one, for the rate of this step."""
        if isinstance(self._learning_rate, Variable) or not is_schedule(self._learning_rate):
            return
        now = self._scheduled(self._learning_rate)
        if self._current_learning_rate is None:
            self._current_learning_rate = now
        else:
            self._current_learning_rate.assign(now)

    @property
    def learning_rate(self) -> Any:
        """The rate, a variable; of a schedule, the one that the latest step was made with.

        Assigning a number writes to the variable, unless there is a schedule; a schedule may be
        assigned.
        """
        if isinstance(self._learning_rate, Variable):
            return self._learning_rate
        if self._learning_rate is None:
            raise ValueError(
                "Missing learning rate, please set self.learning_rate at optimizer creation time."
            )
        if not is_schedule(self._learning_rate):
            return self._learning_rate
        if self._current_learning_rate is None:
            raise AttributeError(
                "learning_rate: a schedule that was assigned has no current rate before a step"
            )
        return self._current_learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        owner = type(self).__name__
        given = RATE(owner, "learning_rate", learning_rate)
        if is_schedule(given):
            self._learning_rate = given
        elif is_schedule(self._learning_rate):
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` object as its "
                "`learning_rate` constructor argument, hence its learning rate is not settable. If "
                "you need the learning rate to be settable, you should instantiate the optimizer "
                "with a float `learning_rate` argument."
            )
        else:
            number = RATE.of(owner, "learning_rate", given)
            with self._lock.step():
                self.learning_rate.assign(number)
                self._given_learning_rate = float(number)

    @property
    def lr(self) -> Any:
        """The same as `learning_rate`."""
        return self.learning_rate

    @lr.setter
    def lr(self, learning_rate: Any) -> None:
        self.learning_rate = learning_rate

    def _rate(self, kind: type[Float]) -> Float:
        return rounded(self.learning_rate, kind)

    def _serialize_hyperparameter(self, hyperparameter: Any) -> Any:
        """A hyperparameter as plain data, for `get_config`."""
        if isinstance(hyperparameter, Variable):
            is_rate = hyperparameter is self._learning_rate
            given = self._given_learning_rate if is_rate else None
            return configured(hyperparameter.value[()], given)
        value = hyperparameter() if is_function(hyperparameter) else hyperparameter
        return value if isinstance(value, np.float64) else _serialization.plain(value)


class Settings(LearningRate):
    """Keeps the settings that all optimizers have, and reads them for a step."""

    # All optimizers have these.
    weight_decay: Any
    clipnorm: Any
    clipvalue: Any
    global_clipnorm: Any
    use_ema: bool
    ema_momentum: Any
    ema_overwrite_frequency: int | None
    ema_variant: str
    loss_scale_factor: float | None
    _accumulation: int | None
    _averages: dict[Entry, Variable]
    _ranks: Ranks | None = None  # those with a description may have some
    # Optimizers with a description have these.
    description: Description
    sparse_decay: str

    def _no_averages(self) -> ValueError:
        """What there is to say if `use_ema` was set too late."""
        raise NotImplementedError

    def _step_count(self) -> int:
        """How many updates there were."""
        return int(own_array(self._iterations)) // (self._accumulation or 1)

    def _is_plain(self) -> bool:
        """Whether a call is an update by its own gradients, and no more."""
        changes = self.loss_scale_factor is not None or self._accumulation is not None
        return not changes and self.ema_variant == "keras2"

    def _clips(self) -> Clips:
        """The kind of clipping that is done in a step, and its limit."""
        return self._limits() if self._ranks is None else NO_CLIPS

    def _limits(self) -> Clips:
        """The same over all ranks, if there are several."""
        for kind in CLIPS:
            limit = getattr(self, kind)
            if limit and limit > 0:
                return {**NO_CLIPS, kind: limit}
        return NO_CLIPS

    def _decay_before(self) -> Any:
        """The weight decay that comes before the update; None: no decay."""
        return self.weight_decay

    def _momentum_of_average(self) -> float:
        is_first = self.ema_variant == "keras3" and self._step_count() == 0
        return 0.0 if is_first else float(self.ema_momentum)

    def _overwrites(self) -> bool:
        """Whether variables get the value of their averages in this step."""
        frequency = self.ema_overwrite_frequency
        return bool(frequency and (self._step_count() + 1) % frequency == 0)

    # ----- for a step of an optimizer with a description -----------------------------------------

    def _options(self) -> Options:
        return {name: bool(getattr(self, name) > 0) for name in self.description.options}

    def _reading(self, step: Step) -> Reading:
        rate, description = self.learning_rate, self.description
        values = {name: getattr(self, name) for name in description.read}
        rates = tuple(None if kind is None else rounded(rate, kind) for kind in step.types)
        counter = own_array(self._iterations)
        return Reading(values, description.exact, rates, self._step_count(), counter)

    def _around(self) -> Around:
        average = None
        if self.use_ema:
            if not self._averages:
                raise self._no_averages()
            average = (self._momentum_of_average(), self._overwrites())
        return Around(self._clips(), self._decay_before(), average, self._scope_around)

    @property
    def _scope_around(self) -> str:
        """The rows that decay, and whose average follows, as the extension calls them."""
        return "rows" if self.sparse_decay == "touched" else "whole"
