# SPDX-License-Identifier: Apache-2.0
"""State on disk: checkpoints, deltas, and tables in files. See docs/state.md."""

from slotwise._match import Report
from slotwise._tracking import TouchedRows
from slotwise.state._background import BackgroundSave
from slotwise.state._digests import digests
from slotwise.state._errors import StateError
from slotwise.state._load import Loaded, load, load_array
from slotwise.state._manager import CheckpointManager
from slotwise.state._reader import Reader
from slotwise.state._save import save, save_delta
from slotwise.state._table_files import open_table
from slotwise.state._track import track, untrack

State = Loaded  # as it was called before

__all__ = [
    "BackgroundSave",
    "CheckpointManager",
    "Loaded",
    "Reader",
    "Report",
    "State",
    "StateError",
    "TouchedRows",
    "digests",
    "load",
    "load_array",
    "open_table",
    "save",
    "save_delta",
    "track",
    "untrack",
]
