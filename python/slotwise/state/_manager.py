# SPDX-License-Identifier: Apache-2.0
"""A folder of checkpoints, the latest few of which are kept."""

from __future__ import annotations

import operator
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slotwise import _names
from slotwise._arguments import flag_of, refused, shown, takes
from slotwise._variable import Variable
from slotwise.optimizers._kinds import OPTIONAL_COUNT, PATH
from slotwise.state import _atomic, _background
from slotwise.state._background import BackgroundSave
from slotwise.state._errors import StateError
from slotwise.state._files import AnyPath
from slotwise.state._load import Loaded, load
from slotwise.state._ranks import Ranks
from slotwise.state._reader import Reader
from slotwise.state._save import save, save_numbered
from slotwise.state._snapshot import communicators
from slotwise.state._spread import ranks_of

_NAME = re.compile(r"step-(0|[1-9]\d*)|\.step-(0|[1-9]\d*)\.[0-9a-f]{8}\.old", re.ASCII)
_UNREADABLE = float("inf")
_TRIES = 10  # a link that leads nowhere is never found


class CheckpointManager:
    """Saves checkpoints by step into a folder, and removes old ones.

    Each checkpoint is numbered: whichever was written last is the latest, whatever its step. So a
    run that begins below the steps of another, or goes back, keeps its own. One is removed only
    after the new one is on the disk and was read back and verified. What a killed process left is
    removed by the next `save`. Several managers, threads and processes may use one folder. Ranks
    that have parts of what is saved call `save` and `restore` together, each with its own manager.

    Args:
        folder: where the checkpoints are: ``step-1000`` and so on.
        max_to_keep: how many; None for all. Deltas do not count: keep their base elsewhere.
        background: whether `save` returns at once, and another process writes, verifies and
            removes, see `slotwise.save`. `close` waits for it, and so does the end of a ``with``.

    Attributes:
        saving: what the latest `save` in the background returned; None if there was none.

    Raises:
        TypeError, ValueError: ``folder`` is no path, or ``max_to_keep`` no integer above 0.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> w = slotwise.Variable(np.zeros(3), name="w")
        >>> manager = slotwise.CheckpointManager(tempfile.mkdtemp(), max_to_keep=2)
        >>> for step in (10, 20, 30):
        ...     _ = manager.save(step, variables=[w.assign(np.full(3, step))])
        >>> manager.steps
        [20, 30]
        >>> _ = w.assign(np.zeros(3)), manager.restore_latest(variables=[w])
        >>> w.numpy()
        array([30., 30., 30.])
    """

    def __init__(
        self, folder: AnyPath, max_to_keep: int | None = 3, background: bool = False
    ) -> None:
        self.folder = Path(PATH("CheckpointManager", "folder", folder))
        self.max_to_keep = OPTIONAL_COUNT("CheckpointManager", "max_to_keep", max_to_keep)
        self.background = flag_of("CheckpointManager", "background", background)
        self.saving: BackgroundSave | None = None
        self._known: dict[tuple[int, int], int] = {}  # numbers, by files and their times

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "saving": None}  # that is this one's

    def __enter__(self) -> CheckpointManager:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait until what `save` began in the background is complete.

        Raises:
            What `saving.result` does, unless somebody has been told it.
        """
        if self.saving is not None:
            _background.settle(self.saving)

    def path(self, step: Any) -> Path:
        """Where the checkpoint of a step is, or would be.

        Args:
            step: an integer of 0 or more: also of NumPy, a Variable as ``opt.iterations``, or a
                float without a fraction.
        """
        return self.folder / f"step-{_integer('path', step)}"

    @property
    def steps(self) -> list[int]:
        """The steps of which there are checkpoints, in ascending order."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return sorted({int(m[1] or m[2]) for name in names if (m := _NAME.fullmatch(name))})

    def _has(self, step: int) -> bool:
        return step in self.steps

    @property
    def latest(self) -> int | None:
        """The step whose checkpoint was written last, or None.

        Those that older versions wrote have no numbers: they come first, by their steps.
        """
        return next(reversed(self._by_age()), None)

    def _by_age(self) -> list[int]:
        """All steps, the one written last at the end."""
        return [step for _, step in sorted((key, step) for step, key in self._keys().items())]

    def _keys(self) -> dict[int, tuple[float, int]]:
        """The number of each step's checkpoint, and when that was written.

        Two that were begun at once have one number; the times count then, and between those without
        a number, the steps. One that cannot be read comes last, so that nobody takes another for
        the latest.
        """
        for _ in range(_TRIES):
            if found := self._keys_of(self.steps):
                return found
            # There are none, or other managers removed all of them, since they have later ones.
        return {}

    def _keys_of(self, steps: list[int]) -> dict[int, tuple[float, int]]:
        """The keys of those steps that are still there."""
        before, self._known = self._known, {}
        found: dict[int, tuple[float, int]] = {}
        for step in steps:
            place = _atomic.current(self.path(step))
            try:
                status = place.stat()
                file = status.st_ino, status.st_mtime_ns
                self._known[file] = before[file] if file in before else _number(place)
            except FileNotFoundError:  # removed just now
                continue
            except StateError:
                if place.exists():
                    found[step] = _UNREADABLE, 0
                continue
            number = self._known[file]
            found[step] = number, status.st_mtime_ns if number else 0
        return found

    def save(self, step: Any, **arguments: Any) -> Path:
        """Save, then remove what is more than ``max_to_keep``, earliest written first.

        What was written is read back, mostly from memory, before it takes its place.

        Args:
            step: as of `path`.
            arguments: those of `slotwise.save`; ``verify`` is True, and ``background`` as given to
                the manager.

        Returns:
            The path of the checkpoint, where it will be soon if it is written in the background
            (see `saving`).

        Raises:
            TypeError, ValueError: ``step`` is no integer, or below 0; other keywords.
            Others as of `slotwise.save`. All earlier checkpoints are still there.
        """
        number = _integer("save", step)
        path = self.path(number)
        if not takes(save, path, **arguments):
            expected = "keywords of slotwise.save"
            raise refused("CheckpointManager.save", "arguments", expected, [*arguments])
        ranks, arguments = _together("save", arguments)
        ranks.agree(_background.settle)

        def begin() -> int:
            _atomic.clean(self.folder, r"step-\d+")
            numbers = [each for each, _ in self._keys().values() if each < _UNREADABLE]
            return int(max(numbers, default=0)) + 1

        def end() -> None:
            if self.max_to_keep is not None:
                others = [old for old in self._by_age() if old != number]
                for old in others[: max(0, len(others) + 1 - self.max_to_keep)]:
                    _atomic.discard(self.path(old))

        given = {"background": self.background, **arguments, "verify": True}
        saved = save_numbered(path, ranks.first(begin), lambda: ranks.first(end), **given)
        if isinstance(saved, BackgroundSave):
            self.saving = saved
        return path

    def restore(self, step: Any, **arguments: Any) -> Loaded:
        """Load the checkpoint of a step.

        Args:
            step: one of `steps`.
            arguments: those of `slotwise.load`.
        """
        return load(self.path(step), **arguments)

    def restore_latest(self, **arguments: Any) -> Loaded | None:
        """Load the latest checkpoint; None if there is none.

        One that is damaged is an error: `restore` loads an earlier one.

        Args:
            arguments: those of `slotwise.load`.
        """
        ranks, arguments = _together("load", arguments)
        while (step := ranks.first(lambda: self.latest)) is not None:
            try:
                return self.restore(step, **arguments)
            except (StateError, FileNotFoundError):
                if ranks.first(partial(self._has, step)):
                    raise
                # Another manager removed it, since it has a later one.
        return None


def _together(op: str, arguments: dict[str, Any]) -> tuple[Ranks, dict[str, Any]]:
    """The ranks that have parts of what is saved or loaded, and the arguments for that."""
    found = dict(arguments)
    if found.get("variables") is not None:  # which may be an iterator
        found["variables"] = _names.named(op, found["variables"])
    comms = communicators(op, found.get("optimizer"), found.get("variables"))
    return ranks_of(op, comms), found


def _number(place: Path) -> int:
    """The number of a checkpoint in a folder; 0 if an older version wrote it.

    Raises:
        StateError: it cannot be read.
    """
    with Reader(place) as reader:
        number = reader.metadata.get("sequence", 0)
    if type(number) is not int:
        raise StateError(f"{place}: the header is damaged: sequence: expected an integer")
    return number


def _integer(method: str, step: Any) -> int:
    """A step as a number.

    Raises:
        TypeError, ValueError: it is none.
    """
    value = step.value if isinstance(step, Variable) else step
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    what = f"CheckpointManager.{method}: step: expected an integer of 0 or more, got"
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError(f"{what} {value!r}")
        value = int(value)
    try:
        if isinstance(value, (bool, np.ndarray)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{what} {type(step).__name__} {shown(step)}") from None
    if number < 0:
        raise ValueError(f"{what} {number}")
    return number
