# SPDX-License-Identifier: Apache-2.0
"""The kinds of arguments: what a value may be, how it is kept, and what the error says of others.

Every argument of every constructor has one, and so has what is assigned to its attribute later.
A value that does not fit raises ``Class: argument: expected X, got Y``: a TypeError if it is of
another type, a ValueError if it is out of range. Where Keras has words of its own, they are used.

Keras's messages are kept as Keras spells them, here and everywhere in `optimizers`, with
"configued" and two spaces in a row: code that looks for them goes on working. Do not mend them.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn

import numpy as np

from slotwise import _arguments
from slotwise._variable import Variable
from slotwise.distributed._communicator import Communicator
from slotwise.optimizers import _serialization
from slotwise.optimizers._schedule import LearningRateSchedule, is_schedule

_LARGEST = float(np.finfo(np.float32).max)  # hyperparameters become float32 numbers
_FLOATS = (float, np.float32, np.float64)


class Kind:
    """What an argument may be."""

    @property
    def expected(self) -> str:
        """What errors say was expected."""
        raise NotImplementedError

    def __call__(self, owner: str, name: str, value: Any) -> Any:
        """The value as it is kept.

        Args:
            owner: whose argument it is, as errors say it.
            name: the argument.
            value: what was given.

        Raises:
            TypeError, ValueError: it is not of this kind.
        """
        raise NotImplementedError

    def _refuse(
        self, owner: str, name: str, value: Any, error: type[Exception] = TypeError
    ) -> NoReturn:
        raise error(f"{owner}: {name}: expected {self.expected}, got {shown(value)}")


class Checked:
    """Checks what is assigned to attributes that have a kind."""

    _kinds: ClassVar[Mapping[str, Kind]] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self._kinds.get(name)
        kept = value if kind is None else kind(type(self).__name__, name, value)
        object.__setattr__(self, name, kept)


def check(owner: Checked, name: str, value: Any) -> None:
    """Refuse what could not be assigned to an attribute.

    Raises:
        TypeError, ValueError: it is not of the attribute's kind.
    """
    kind = owner._kinds.get(name)
    if kind is not None:
        kind(type(owner).__name__, name, value)


@dataclass(frozen=True)
class Number(Kind):
    """A finite number; NumPy's become Python's, except float64, which means that it is exact."""

    at_least: float = -math.inf
    at_most: float = math.inf
    above: float = -math.inf
    below: float = math.inf
    optional: bool = False
    whole: bool = False
    beside: str = ""  # what else an argument may be
    words: str | None = None  # Keras's, of a number that is none of these

    @property
    def expected(self) -> str:
        text = "an integer" if self.whole else "a number"
        limits = (
            ("above", self.above),
            ("of at least", self.at_least),
            ("below", self.below),
            ("up to", self.at_most),
        )
        found = [f"{word} {limit:g}" for word, limit in limits if math.isfinite(limit)]
        if found:
            text += " " + " and ".join(found)
        return text + self.beside + (" or None" if self.optional else "")

    def __call__(self, owner: str, name: str, value: Any) -> Any:
        if value is None and self.optional:
            return None
        number = _as_number(value)
        if number is None:
            self._refuse(owner, name, value, ValueError if _has_rank(value) else TypeError)
        if not -_LARGEST <= number <= _LARGEST:
            what = "number in float32's range" if math.isfinite(number) else "finite number"
            raise ValueError(f"{owner}: {name}: expected a {what}, got {number}")
        is_in_range = self.above < number < self.below and self.at_least <= number <= self.at_most
        if not is_in_range or (self.whole and number != math.floor(number)):
            if self.words is not None:
                raise ValueError(self.words.format(name=name, value=number, type=type(number)))
            self._refuse(owner, name, value, ValueError)
        return int(number) if self.whole else number


@dataclass(frozen=True)
class Hyper(Kind):
    """A number; in the legacy API also what is asked in each step: a function, an array."""

    number: Number
    is_rate: bool = False  # it may be a schedule
    no_schedule: str | None = None  # Keras's words where it may be all else that a rate may be

    @property
    def expected(self) -> str:
        return self.number.expected

    def __call__(self, owner: str, name: str, value: Any) -> Any:
        """A number as it is kept; a function, a schedule, a Variable or an array as it is."""
        if self.is_rate:
            value = _own_schedule(value)
            if is_schedule(value) and self.no_schedule is not None:
                raise ValueError(self.no_schedule)
            if is_schedule(value):
                return value
            if value is None:  # as in Keras
                self._refuse(owner, name, value, ValueError)
        if is_function(value):
            self._check_function(owner, name, value)
            return value
        number = self.number(owner, name, value)
        return value if isinstance(value, (Variable, np.ndarray)) else number

    def _check_function(self, owner: str, name: str, value: Any) -> None:
        if isinstance(value, type):
            self._refuse(owner, name, value)
        if not _arguments.takes(value):
            raise TypeError(
                f"{owner}: {name}: expected {self.expected}, got {shown(value)} that takes "
                "arguments; to have a rate by the step, derive from "
                "slotwise.optimizers.schedules.LearningRateSchedule and return it from __call__"
            )

    def of(self, owner: str, name: str, value: Any) -> Any:
        """The number that this is now: a function is called."""
        if is_function(value):
            number = replace(self.number, words=None)
            return number(owner, f"what the function given as {name} returned", value())
        return self.number(owner, name, value)


@dataclass(frozen=True)
class Flag(Kind):
    """True or False; the numbers 0 and 1 are taken, too."""

    expected = "True or False"

    def __call__(self, owner: str, name: str, value: Any) -> bool:
        is_number = isinstance(value, (int, np.integer)) and value in (0, 1)
        if not (isinstance(value, (bool, np.bool_)) or is_number):
            self._refuse(owner, name, value)
        return bool(value)


@dataclass(frozen=True)
class Text(Kind):
    """Text, or None."""

    expected = "text or None"

    def __call__(self, owner: str, name: str, value: Any) -> str | None:
        if value is not None and not isinstance(value, str):
            self._refuse(owner, name, value)
        return value


@dataclass(frozen=True)
class OneOf(Kind):
    """One of some words."""

    words: tuple[str | None, ...]

    @property
    def expected(self) -> str:
        return " or ".join(repr(word) for word in self.words)

    def __call__(self, owner: str, name: str, value: Any) -> str | None:
        if not (value is None or isinstance(value, str)) or value not in self.words:
            self._refuse(owner, name, value, ValueError)
        return value


@dataclass(frozen=True)
class Function(Kind):
    """A function."""

    optional: bool = False

    @property
    def expected(self) -> str:
        return "a function or None" if self.optional else "a function"

    def __call__(self, owner: str, name: str, value: Any) -> Any:
        if not callable(value) and not (value is None and self.optional):
            self._refuse(owner, name, value)
        return value


@dataclass(frozen=True)
class Listed(Kind):
    """Several values of a kind, kept as a list; what is no collection is refused."""

    item: Kind
    plural: str
    optional: bool = False

    @property
    def expected(self) -> str:
        return f"a list of {self.plural}" + (" or None" if self.optional else "")

    def __call__(self, owner: str, name: str, value: Any) -> list[Any]:
        if value is None and self.optional:
            return []
        is_text = isinstance(value, (str, bytes))
        if is_text or isinstance(value, Mapping) or not isinstance(value, Iterable):
            self._refuse(owner, name, value)
        if isinstance(value, (np.ndarray, Variable)) and np.ndim(value) != 1:
            self._refuse(owner, name, value, ValueError)
        items: Iterable[Any] = _arguments.converted(owner, name, self.expected, value, iter)
        return [self.item(owner, f"{name}[{i}]", item) for i, item in enumerate(items)]


@dataclass(frozen=True)
class Pattern(Kind):
    """A regular expression."""

    expected = "a regular expression"

    def __call__(self, owner: str, name: str, value: Any) -> str | re.Pattern[str]:
        if not isinstance(value, (str, re.Pattern)):
            self._refuse(owner, name, value)
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(
                f"{owner}: {name}: expected {self.expected}, got {value!r}: {error}"
            ) from None
        return value


@dataclass(frozen=True)
class Held(Kind):
    """A variable."""

    expected = "a slotwise.Variable or an array"

    def __call__(self, owner: str, name: str, value: Any) -> Any:
        if not isinstance(value, (Variable, np.ndarray)):
            self._refuse(owner, name, value)
        return value


@dataclass(frozen=True)
class Ranks(Kind):
    """A communicator, or None."""

    expected = "a slotwise.distributed.Communicator or None"

    def __call__(self, owner: str, name: str, value: Any) -> Any:
        if value is not None and not isinstance(value, Communicator):
            self._refuse(owner, name, value)
        return value


@dataclass(frozen=True)
class Path(Kind):
    """Where something is on the disk."""

    expected = "a path"

    def __call__(self, owner: str, name: str, value: Any) -> str:
        path = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
        if not isinstance(path, str):
            self._refuse(owner, name, value)
        if "\0" in path:
            raise ValueError(f"{owner}: {name}: expected a path, got one with a null character")
        return path


NUMBER = Number()
POSITIVE = Number(above=0)
NOT_NEGATIVE = Number(at_least=0)
FRACTION = Number(at_least=0, at_most=1)
OPTIONAL_NUMBER = Number(optional=True)
COUNT = Number(at_least=1, whole=True)
OPTIONAL_COUNT = Number(at_least=1, optional=True, whole=True)
HYPER = Hyper(NUMBER)
RATE = Hyper(Number(beside=" or a schedule"), is_rate=True)
FLAG = Flag()
TEXT = Text()
FUNCTION = Function(optional=True)
FUNCTIONS = Listed(Function(), "functions", optional=True)
NUMBERS = Listed(NUMBER, "numbers")
PATTERNS = Listed(Pattern(), "regular expressions", optional=True)
VARIABLES = Listed(Held(), "variables", optional=True)
PATH = Path()
RANKS = Ranks()


def scheduled(owner: str, schedule: LearningRateSchedule, step: Any) -> Any:
    """The rate that a schedule has at a step.

    Raises:
        TypeError, ValueError: it returns something else than a finite number.
    """
    value = schedule(step)
    if type(value) in _FLOATS and -_LARGEST <= value <= _LARGEST:
        return value
    name = type(schedule).__name__
    return NUMBER(owner, f"what {name} returned at step {int(step)}", value)


def is_function(value: Any) -> bool:
    """Whether a value is asked for its number without a step."""
    return callable(value) and not (is_schedule(value) or hasattr(value, "__array__"))


def shown(value: Any) -> str:
    """A value that does not fit, as errors say it."""
    if isinstance(value, str):
        return f"{value!r}{_meant(value)}"
    if is_schedule(value):
        return f"the schedule {type(value).__name__}"
    if inspect.isroutine(value):
        return "a function"
    return _arguments.shown(value)


def _meant(text: str) -> str:
    """What was meant by text from a file of settings, say."""
    if text.strip().lower() in ("true", "false"):
        return f", which is text; pass {text.strip().capitalize()}"
    try:
        float(text)
    except ValueError:
        return ""
    return f", which is text; pass float({text!r})"


def _has_rank(value: Any) -> bool:
    """Whether a value is an array that is no single number."""
    return getattr(value, "shape", ()) != () and hasattr(value, "__array__")


def _as_number(value: Any) -> Any:
    """A Python number, or a NumPy float64; None if it is no real number."""
    if type(value) in (float, np.float64):
        return value
    if hasattr(value, "__array__"):  # of NumPy, or of another library
        if _has_rank(value):
            return None
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # float will do
            value = np.asarray(value)[()]
    is_other = isinstance(value, (bool, np.bool_, np.complexfloating))
    if is_other or not hasattr(value, "__float__"):
        return None
    if isinstance(value, (int, np.integer)):
        whole = int(value)
        return whole if abs(whole) <= _LARGEST else (math.inf if whole > 0 else -math.inf)
    if isinstance(value, np.float64):
        return value
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):  # a large fraction, say
        return None


def _own_schedule(value: Any) -> Any:
    """A schedule of Keras's as ours of that name, which computes the same; others as they are."""
    kind = type(value)
    is_of_keras = kind.__module__.partition(".")[0] in ("keras", "tf_keras", "tensorflow")
    own = _serialization.SCHEDULES.get(kind.__name__) if is_of_keras else None
    return value if own is None else own.from_config(dict(value.get_config()))
