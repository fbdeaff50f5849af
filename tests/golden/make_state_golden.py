# SPDX-License-Identifier: Apache-2.0
"""Writes the state files that every later version must read.

    python tests/golden/make_state_golden.py API

Never run it again for a format that has been released: add a folder for the new one.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import slotwise
from golden.state_contents import Job

if __name__ == "__main__":
    job = Job(sys.argv[1])
    job.folder.mkdir()
    job.train()
    slotwise.track(job.variables[0])
    job.save(job.one_file)
    job.save(job.several, max_shard_size=300)
    job.train_rows()
    slotwise.save_delta(job.delta, since=job.several, **job.given)
