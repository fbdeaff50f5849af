"""The learning rate of the current API: one float32 number, or a schedule."""

from __future__ import annotations

from typing import Any

import numpy as np

from slotwise._lock import Locked
from slotwise._variable import Variable
from slotwise.optimizers import _serialization
from slotwise.optimizers._description import Float
from slotwise.optimizers._kinds import RATE, Checked, is_function, scheduled
from slotwise.optimizers._numbers import configured, rounded
from slotwise.optimizers._schedule import is_schedule


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
        value = scheduled(type(self).__name__, schedule, self._iterations.value[()])
        array = np.array(value, np.float64 if isinstance(value, np.float64) else np.float32)
        return Variable(array, trainable=False, name="current_learning_rate")

    def _compute_current_learning_rate(self) -> None:
        """Ask the schedule, if there is one, for the rate of this step."""
        if not is_schedule(self._learning_rate):
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
