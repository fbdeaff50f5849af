"""A folder of checkpoints, the latest few of which are kept."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from slotwise.optimizers._kinds import OPTIONAL_COUNT, PATH
from slotwise.state import _atomic
from slotwise.state._load import State, load
from slotwise.state._save import save


class CheckpointManager:
    """Saves checkpoints by step into a folder, and removes old ones.

    A checkpoint is removed only after the new one is complete and on the disk. What a killed
    process left is removed by the next `save`.

    Args:
        folder: where the checkpoints are: ``step-1000`` and so on.
        max_to_keep: how many; None for all. Deltas do not count: keep their base elsewhere.

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

    def __init__(self, folder: str | os.PathLike[str], max_to_keep: int | None = 3) -> None:
        self.folder = Path(PATH("CheckpointManager", "folder", folder))
        self.max_to_keep = OPTIONAL_COUNT("CheckpointManager", "max_to_keep", max_to_keep)

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or would be."""
        return self.folder / f"step-{step}"

    @property
    def steps(self) -> list[int]:
        """The steps of which there are checkpoints, in ascending order."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        found = [re.fullmatch(r"step-(\d+)|\.step-(\d+)\.[0-9a-f]{8}\.old", n) for n in names]
        return sorted({int(m[1] or m[2]) for m in found if m})

    @property
    def latest(self) -> int | None:
        """The last of `steps`, or None."""
        return max(self.steps, default=None)

    def save(self, step: int, **arguments: Any) -> Path:
        """Save, then remove what is more than ``max_to_keep``, earliest steps first.

        Args:
            step: a number, 0 or more.
            arguments: those of `slotwise.save`.

        Returns:
            The path of the checkpoint.
        """
        if step < 0:
            raise ValueError(f"CheckpointManager.save: step: expected >= 0, got {step}")
        path = self.path(step)
        _atomic.clean(self.folder, r"step-\d+")
        save(path, **arguments)
        if self.max_to_keep is not None:
            others = [old for old in self.steps if old != step]
            for old in others[: max(0, len(others) + 1 - self.max_to_keep)]:
                _atomic.discard(self.path(old))
        return path

    def restore(self, step: int, **arguments: Any) -> State:
        """Load the checkpoint of a step.

        Args:
            step: one of `steps`.
            arguments: those of `slotwise.load`.
        """
        return load(self.path(step), **arguments)

    def restore_latest(self, **arguments: Any) -> State | None:
        """Load the latest checkpoint; None if there is none.

        One that is damaged is an error: `restore` loads an earlier one.

        Args:
            arguments: those of `slotwise.load`.
        """
        return None if self.latest is None else self.restore(self.latest, **arguments)
