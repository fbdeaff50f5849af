# SPDX-License-Identifier: Apache-2.0
"""Files that are written: what safetensors makes of them, and what is read back."""

from __future__ import annotations

import json
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import slotwise
from slotwise.state import Reader, StateError
from slotwise.state._checksums import CHUNK
from support.compare import bits

DTYPES = (
    *("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"),
    ml_dtypes.bfloat16,
)
SHAPES = ((), (0,), (1,), (3, 5), (2, 0, 3), (1023,), (64, 16))


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found = {}
    for dtype in map(np.dtype, DTYPES):
        for shape in SHAPES:
            x = rng.integers(0, 2 if dtype.kind == "b" else 100, shape)
            found[f"{dtype}/{shape}"] = np.asarray(x).astype(dtype)
    return found


def saved(path: Path, name: str, **arguments: Any) -> Path:
    slotwise.save(path / name, **arguments)
    return path / name


@pytest.mark.parametrize("name", ["x.safetensors", "folder"])
def test_every_dtype_and_shape_comes_back(tmp_path: Path, name: Any) -> None:
    given = arrays()
    path = saved(tmp_path, name, variables=given, max_shard_size=3000)
    into = {key: np.ones_like(x) for key, x in given.items()}
    slotwise.load(path, variables=into)
    alone = slotwise.load(path).arrays
    mapped = slotwise.load(path, mmap=True).arrays
    for key, x in given.items():
        for got in (into[key], alone[key], mapped[key]):
            assert got.dtype == x.dtype and got.shape == x.shape
            assert got.tobytes() == x.tobytes()


def test_safetensors_reads_what_we_write(tmp_path: Path) -> None:
    given = arrays()
    path = saved(tmp_path, "x.safetensors", variables=given)
    with safetensors.safe_open(path, "np") as file:
        assert set(file.keys()) == set(given)
        for name, x in given.items():
            got = file.get_tensor(name)
            assert got.shape == x.shape
            assert got.tobytes() == x.tobytes(), name
            assert file.get_slice(name).get_shape() == list(x.shape)
        assert json.loads(file.metadata()["slotwise"])["variables"] == [*given]


def test_safetensors_reads_every_shard_and_the_index_names_it(tmp_path: Path) -> None:
    given = arrays()
    path = saved(tmp_path, "folder", variables=given, max_shard_size=3000)
    index = json.loads((path / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05}.safetensors"
    assert index["metadata"]["total_size"] == sum(x.nbytes for x in given.values())
    for name, file in index["weight_map"].items():
        assert safetensors.numpy.load_file(path / file)[name].tobytes() == given[name].tobytes()


def test_we_read_what_safetensors_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    given = {name: x for name, x in arrays().items() if x.size}
    safetensors.numpy.save_file(given, path, {"format": "np"})
    with Reader(path) as reader:
        assert reader.metadata == {}
        for name, x in given.items():
            assert reader.read(name).tobytes() == x.tobytes()
    with pytest.raises(StateError, match="slotwise did not write it"):
        slotwise.load(path)
    with pytest.raises(StateError, match="slotwise did not write it"):
        slotwise.save_delta(tmp_path / "delta", since=path, variables={})


@pytest.mark.parametrize("name", ["x.safetensors", "folder"])
@pytest.mark.parametrize("mmap", [False, True])
def test_rows_of_a_table_of_many_chunks(tmp_path: Path, name: Any, mmap: Any) -> None:
    table = np.arange(3 * CHUNK // 4 + 17 * 100, dtype=np.float32)[: 3 * CHUNK // 400 * 100]
    table = table.reshape(-1, 100)
    path = saved(tmp_path, name, variables={"t": table, "other": np.ones(3)})
    n = len(table)
    for rows in (slice(0, 1), slice(5, 5), slice(n - 1, n), slice(20_000, 50_001), slice(None)):
        got = slotwise.load_array(path, "t", rows=rows, mmap=mmap)
        np.testing.assert_array_equal(got, table[rows])
        assert got.flags.writeable != mmap or got.size == 0
    for wrong in (slice(0, 9, 2), 3):
        with pytest.raises(ValueError, match="slice of step 1"):
            slotwise.load_array(path, "t", rows=wrong)
    with pytest.raises(KeyError, match="there is no 'u'"):
        slotwise.load_array(path, "u")


def test_arrays_of_any_layout(tmp_path: Path) -> None:
    x = np.arange(2 * CHUNK // 8 + 12, dtype=np.float64).reshape(-1, 2, 2)
    given = {"f": np.asfortranarray(x), "t": x.T, "s": x[::-1, :, ::2], "c": x}
    path = saved(tmp_path, "x.safetensors", variables=given)
    into = {name: np.zeros_like(array) for name, array in given.items()}
    into["s"] = np.zeros_like(x)[::-1, :, ::2]
    slotwise.load(path, variables=into)
    for name, array in given.items():
        np.testing.assert_array_equal(into[name], array)


def test_tensors_are_aligned(tmp_path: Path) -> None:
    given = {
        "a": np.ones(3, np.uint8),
        "b": np.ones(1024, np.float32),
        "c": np.ones(2),
        "d": np.ones(64),
    }
    path = saved(tmp_path, "x.safetensors", variables=given)
    with Reader(path) as reader:
        assert reader.tensor("b").begin % 4096 == 0
        assert reader.tensor("d").begin % 512 == 0
        assert reader.tensor("c").begin % 16 == 0


@pytest.mark.parametrize("strided", [False, True])
def test_memory_beyond_the_arrays(tmp_path: Path, strided: Any) -> None:
    """NumPy reports its memory to tracemalloc."""
    table = np.ones((96 << 20) // 4, np.float32).reshape(-1, 64)
    given = {"t": table.T if strided else table}
    tracemalloc.start()
    slotwise.save(tmp_path / "x", variables=given)
    slotwise.load(tmp_path / "x", variables=given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 64 << 20


def test_bits_of_nan_are_kept(tmp_path: Path) -> None:
    x = np.array([0x7FC00001, 0xFF800001, 0x80000000, 1], np.uint32).view(np.float32)
    path = saved(tmp_path, "x.safetensors", variables={"x": x})
    np.testing.assert_array_equal(bits(slotwise.load_array(path, "x")), bits(x))


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for bad in (np.ones(2, complex), np.ones(2, ">f4"), np.array(["a"]), np.array([None])):
        with pytest.raises(TypeError, match="'x': expected a dtype among"):
            slotwise.save(path, variables={"x": bad})
    with pytest.raises(TypeError, match="what JSON can hold"):
        slotwise.save(path, extra={"x": object()})
    with pytest.raises(TypeError, match="expected a Variable or an array, got list"):
        slotwise.save(path, variables={"x": [1.0]})
    with pytest.raises(TypeError, match="a dict from names"):
        slotwise.save(path, variables=[np.ones(3)])
    with pytest.raises(ValueError, match=r"several of \['w'\]"):
        slotwise.save(path, variables=[slotwise.Variable(1.0, name="w") for _ in range(2)])
    with pytest.raises(
        TypeError, match=r"expected one of slotwise\.optimizers or slotwise\.torch, got str"
    ):
        slotwise.save(path, optimizer="adam")
    with pytest.raises(ValueError, match="max_shard_size"):
        slotwise.save(path, max_shard_size=0)
    assert not list(tmp_path.iterdir())


def test_numpy_numbers_in_extra(tmp_path: Path) -> None:
    extra = {"loss": np.float64(0.1), "ids": np.arange(3), "none": None}
    path = saved(tmp_path, "x", extra=extra)
    assert slotwise.load(path).extra == {"loss": 0.1, "ids": [0, 1, 2], "none": None}


def test_other_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("x")
    with pytest.raises(FileExistsError, match="expected a checkpoint or nothing"):
        slotwise.save(tmp_path / "mine", extra=1)
    (tmp_path / "y.safetensors").mkdir()
    with pytest.raises(IsADirectoryError, match="got a folder"):
        slotwise.save(tmp_path / "y.safetensors", extra=1)
    assert (tmp_path / "mine/notes").read_text() == "x"


def test_a_bar_shows_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Bar:
        def __init__(self, total: Any, desc: Any, **_: Any) -> None:
            self.total, self.done = total, 0
            shown.append((desc, self))

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            pass

        def update(self, count: Any) -> None:
            self.done += count

    given = {"x": np.ones(CHUNK + 1, np.uint8), "y": np.ones(3)}
    path = str(tmp_path / "x")
    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    slotwise.save(path, variables=given, progress=True)
    slotwise.load(path, variables=given, progress=True)
    assert [desc for desc, _ in shown] == [f"save {path}", f"verify {path}", f"load {path}"]
    assert all(bar.done == bar.total == CHUNK + 25 for _, bar in shown)
    monkeypatch.setitem(sys.modules, "tqdm", None)  # not installed
    slotwise.save(path, variables=given, progress=True)
    assert len(shown) == 3


def test_many_small_tensors(tmp_path: Path) -> None:
    given = {f"v{n}": np.full(3, n) for n in range(3000)}
    path = saved(tmp_path, "x.safetensors", variables=given)
    found = slotwise.load(path).arrays
    assert all((found[name] == x).all() for name, x in given.items())
