"""State on disk: checkpoints, deltas, and tables in files. See docs/state.md."""

from slotwise._tracking import TouchedRows
from slotwise.optimizers._named import Report
from slotwise.state._errors import StateError
from slotwise.state._load import State, load, load_array
from slotwise.state._manager import CheckpointManager
from slotwise.state._reader import Reader
from slotwise.state._save import save, save_delta
from slotwise.state._table_files import open_table
from slotwise.state._track import track, untrack

__all__ = [
    "CheckpointManager",
    "Reader",
    "Report",
    "State",
    "StateError",
    "TouchedRows",
    "load",
    "load_array",
    "open_table",
    "save",
    "save_delta",
    "track",
    "untrack",
]
