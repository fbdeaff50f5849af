"""Writes the state files that every later version must read.

Never run it again for a format that has been released: add a folder for the new one.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import slotwise
from golden.state_contents import FOLDER, Job

if __name__ == "__main__":
    FOLDER.mkdir()
    job = Job()
    job.train()
    slotwise.track(job.variables[0])
    job.save(FOLDER / "adam.safetensors")
    job.save(FOLDER / "adam", max_shard_size=300)
    job.train_rows()
    slotwise.save_delta(FOLDER / "delta.safetensors", since=FOLDER / "adam", **job.given)
