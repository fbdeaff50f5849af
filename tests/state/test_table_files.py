# SPDX-License-Identifier: Apache-2.0
"""Tables in files: as arrays, and larger than the memory that a process may have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import IndexedSlices
from slotwise.optimizers import legacy

# Private memory is capped, maps of files are not: as large as the disk, like the tables themselves.
# A copy of a table, a slot in memory or a gradient of the whole table would end in a MemoryError.
SCRIPT = """
import resource, sys
import numpy as np, slotwise
from slotwise.optimizers import legacy

folder = sys.argv[1]
ROWS, WIDTH = 1 << 21, 64                                   # 512 MiB
slotwise.set_num_threads(1)
np.ones(3) @ np.ones(3)
if int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() > 1 << 40:
    raise SystemExit(print(0))                              # a sanitizer's shadow memory
cap = 160 << 20
resource.setrlimit(resource.RLIMIT_DATA, (cap, cap))
try:
    slotwise.zeros((ROWS, WIDTH))
except MemoryError:
    pass
else:
    sys.exit("the cap does not hold")

def table(name, mode, **kwargs):
    return slotwise.open_table(f"{folder}/{name}", (ROWS, WIDTH), np.float32, mode, **kwargs)

emb = slotwise.Variable(table("emb", "w+"), name="emb")
opt = legacy.Adagrad(0.5, initial_accumulator_value=0.25)
opt.add_slot(emb, "accumulator", lambda shape, dtype: table("slot", "w+", fill_value=0.25))
slotwise.track(emb)
rng, seen = np.random.default_rng(0), {}
def step():
    ids = rng.integers(0, ROWS, 1000)
    grad = rng.standard_normal((1000, WIDTH)).astype(np.float32)
    opt.apply_gradients([(slotwise.IndexedSlices(grad, ids, emb.shape), emb)])
    seen.update((int(i), None) for i in ids)
step()
slotwise.save(f"{folder}/base", optimizer=opt, variables=[emb])
step()
slotwise.save_delta(f"{folder}/delta", since=f"{folder}/base", optimizer=opt, variables=[emb])
rows = np.array(sorted(seen))
kept = emb.value[rows], opt.get_slot(emb, "accumulator").value[rows]
emb.value[rows] = 7
opt.get_slot(emb, "accumulator").value[rows] = 7
slotwise.load(f"{folder}/base", deltas=[f"{folder}/delta"], optimizer=opt, variables=[emb])
assert (emb.value[rows] == kept[0]).all() and kept[0].all(1).all()
assert (opt.get_slot(emb, "accumulator").value[rows] == kept[1]).all()
part = slotwise.load_array(f"{folder}/base", "emb/accumulator", rows=slice(0, 9), mmap=True)
assert part.shape == (9, WIDTH)
status = open("/proc/self/status").read()
print(int(status.split("RssAnon:")[1].split()[0]) >> 10)
"""


def test_a_table_larger_than_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, tmp_path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 160


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
@pytest.mark.parametrize("make", [legacy.Adagrad, legacy.Adam, legacy.SGD])
def test_updates_are_those_of_arrays(tmp_path: Path, dtype: Any, make: Any) -> None:
    rng = np.random.default_rng(0)
    start = rng.standard_normal((100, 5)).astype(dtype)
    mapped = slotwise.open_table(tmp_path / "t", start.shape, dtype, "w+")
    mapped[...] = start
    tables = start.copy(), mapped
    optimizers = make(), make()
    for _ in range(3):
        ids, grad = rng.integers(0, 100, 7), rng.standard_normal((7, 5)).astype(dtype)
        for opt, table in zip(optimizers, tables, strict=True):
            opt.apply_gradients([(IndexedSlices(grad, ids, table.shape), table)])
    assert tables[0].tobytes() == tables[1].tobytes()
    mapped.flush()
    assert slotwise.open_table(tmp_path / "t", (100, 5), dtype, "r").tobytes() == mapped.tobytes()


def test_modes_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "t"
    table = slotwise.open_table(path, 10, np.int32, "w+", fill_value=3)
    assert table.tolist() == [3] * 10 and table.shape == (10,)
    del table
    assert slotwise.open_table(path, (5, 2), np.int32)[4, 1] == 3
    with pytest.raises(ValueError, match=r"shape \(11,\) of int32: expected 44 bytes, got 40"):
        slotwise.open_table(path, 11, np.int32)
    with pytest.raises(ValueError, match="mode: expected"):
        slotwise.open_table(path, 10, np.int32, "c")
    with pytest.raises(ValueError, match="advice: expected"):
        slotwise.open_table(path, 10, np.int32, advice="none")
    with pytest.raises(FileNotFoundError):
        slotwise.open_table(tmp_path / "u", 10)
    with pytest.raises(ValueError, match="read-only"):
        slotwise.open_table(path, 10, np.int32, "r")[0] = 1


def test_a_slot_lies_where_its_initializer_puts_it() -> None:
    memory = np.full(3, 5.0)
    opt, var = legacy.SGD(momentum=0.5), slotwise.Variable(np.ones(3), name="w")
    slot = opt.add_slot(var, "momentum", lambda shape, dtype: memory)
    assert slot.value is memory
    opt.apply_gradients([(np.ones(3), var)])
    assert memory[0] != 5
