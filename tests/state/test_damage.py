# SPDX-License-Identifier: Apache-2.0
"""Damaged files: an error that says where, or what was saved; never anything else."""

from __future__ import annotations

import json
import pickle
import re
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise.state import StateError
from slotwise.state._checksums import CHUNK, checksum, seal
from slotwise.state._format import _BEFORE

NAMES = ("one.safetensors", "folder")


def saved(tmp_path: Path, name: str) -> tuple[Path, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {"emb": rng.standard_normal((40, 3)), "bias": np.arange(7, dtype="f4")}
    slotwise.save(tmp_path / name, variables=given, extra={"epoch": 3}, max_shard_size=500)
    return tmp_path / name, given


def files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else [path]


def check_refused(path: Path, match: str = ".") -> str:
    """Nothing is written, whatever is loaded."""
    into: dict[str, Any] = {"emb": np.zeros((40, 3)), "bias": np.zeros(7, np.float32)}
    with pytest.raises(StateError, match=match) as error:
        slotwise.load(path, variables=into)
    assert not into["emb"].any() and not into["bias"].any()
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_byte_is_found(tmp_path: Path, name: Any) -> None:
    path, given = saved(tmp_path, name)
    rng = np.random.default_rng(1)
    for file in files(path):
        good = file.read_bytes()
        for place in {*range(200), *rng.integers(0, len(good), 100).tolist()}:
            bad = bytearray(good)
            bad[place] ^= int(rng.integers(1, 256))
            file.write_bytes(bad)
            check_refused(path)
        file.write_bytes(good)
    slotwise.load(path, variables={name: np.zeros_like(x) for name, x in given.items()})


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation_is_found(tmp_path: Path, name: Any) -> None:
    path, _ = saved(tmp_path, name)
    for file in files(path):
        good = file.read_bytes()
        for size in {0, 1, 7, 8, 9, 100, len(good) // 2, len(good) - 1}:
            file.write_bytes(good[:size])
            check_refused(path)
        file.write_bytes(good + b"\0")
        check_refused(path)
        file.unlink()
        check_refused(path, "no checkpoint|missing")
        file.write_bytes(good)


def test_the_damaged_tensor_is_named(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "one.safetensors")
    with slotwise.state.Reader(path) as reader:
        places = {name: reader.tensor(name).begin for name in reader.names}
    for name, place in places.items():
        good = path.read_bytes()
        bad = bytearray(good)
        bad[place + 3] ^= 1
        path.write_bytes(bad)
        assert f"'{name}' is damaged" in check_refused(path)
        other = "bias" if name == "emb" else "emb"
        slotwise.load_array(path, other)
        with pytest.raises(StateError, match=f"'{name}' is damaged"):
            slotwise.load_array(path, name, mmap=True)
        slotwise.load_array(path, name, verify=False)
        path.write_bytes(good)


def test_a_lost_file_names_its_tensors(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "folder")
    (path / "model-00001-of-00002.safetensors").unlink()
    assert "tensors: 'emb'" in check_refused(path)


def test_files_of_two_checkpoints_are_not_mixed(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "folder")
    other, _ = saved(tmp_path, "other")
    name = "model-00002-of-00002.safetensors"
    (path / name).write_bytes((other / name).read_bytes())
    check_refused(path, "of another checkpoint than the index")


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_damage_found_while_loading_says_so(tmp_path: Path, chunk: Any) -> None:
    path = tmp_path / "x.safetensors"
    table = np.ones(2 * CHUNK + 100, np.uint8)
    slotwise.save(path, variables={"t": table})
    data = bytearray(path.read_bytes())
    data[len(data) - table.size + chunk * CHUNK] ^= 1
    path.write_bytes(data)
    into = np.zeros_like(table)
    with pytest.raises(StateError, match=r"'t' is damaged.*overwritten in part"):
        slotwise.load(path, variables={"t": into}, verify="during")
    into[:] = 0
    with pytest.raises(StateError, match=r"is wrong$"):
        slotwise.load(path, variables={"t": into})
    assert not into.any()
    assert slotwise.load(path, verify=False).arrays["t"].sum() != table.sum()


def crafted(path: Path, header: object, data: bytes = b"", sealed: bool = False) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text = seal(text, _BEFORE) if sealed else text
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, Any]:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b"null",
        b'{"x":',
        b"\xff\xfe",
        b"[" * 100_000,
        {"x": 1},
        {"x": {}},
        {"__metadata__": 3, **entry()},
        {"__metadata__": {"slotwise": "{}"}, **entry()},
        entry(dtype="F33"),
        entry(dtype=["F32"]),
        entry(shape=(3,)),
        entry(shape=(-2,)),
        entry(shape=(2.0,)),
        entry(shape=2),
        entry(shape=(True, 2)),
        entry(shape=(2**62, 2**62)),
        entry(offsets=(0, 4)),
        entry(offsets=(8, 0)),
        entry(offsets=(4, 12)),
        entry(offsets=(-8, 0)),
        entry(offsets=(0,)),
        entry(offsets=(0, 2**70)),
        {**entry(), "y": entry()["x"]},
    ],
)
def test_headers_are_not_trusted(tmp_path: Path, header: Any) -> None:
    with pytest.raises(StateError):
        slotwise.state.Reader(crafted(tmp_path / "x.safetensors", header, bytes(8)))


def test_a_huge_header_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(StateError, match="does not fit"):
        slotwise.state.Reader(path)


def test_files_of_newer_versions_are_refused(tmp_path: Path) -> None:
    metadata = {"xxh3_64": "0" * 16, "slotwise": json.dumps({"version": 3, "id": "x"})}
    header = json.dumps({"__metadata__": metadata}, separators=(",", ":")).encode()
    with pytest.raises(StateError, match="a newer slotwise wrote it"):
        slotwise.load(crafted(tmp_path / "x.safetensors", header, sealed=True))


GOOD = {
    "version": 1,
    "id": "a" * 32,
    "parent": None,
    "config": None,
    "extra": None,
    "variables": ["x"],
    "state": [],
    "checksums": {"x": checksum(bytes(8))},
}


@pytest.mark.parametrize(
    "change",
    [
        *({member: None} for member in ("id", "variables", "state", "checksums", "version")),
        {"variables": ["y"]},
        {"variables": [["x"]]},
        {"checksums": {}},
        {"checksums": {"x": ""}},
        {"checksums": {"x": 5}},
        {"rows": {"x": "x@rows"}},
        {"rows": {"x": 5}},
        {"rows": ["x"]},
        {"rows": {"x": "x"}},
        {"parent": 3},
    ],
)
def test_forged_metadata_is_refused(tmp_path: Path, change: Any) -> None:
    """Its checksums are right."""

    def made(metadata: Any) -> Any:
        own = {"xxh3_64": "0" * 16, "slotwise": json.dumps(metadata)}
        header = json.dumps({"__metadata__": own, **entry()}, separators=(",", ":")).encode()
        return crafted(tmp_path / "x.safetensors", header, bytes(8), sealed=True)

    slotwise.load(made(GOOD))
    with pytest.raises(StateError):
        slotwise.load(made({**GOOD, **change}))


@pytest.mark.parametrize("name", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "x.pt", 3])
def test_an_index_leads_nowhere_else(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    slotwise.save(tmp_path / "x.safetensors", variables={"x": np.ones(2)})
    index = {"metadata": {}, "weight_map": {"x": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(StateError, match="expected names"):
        slotwise.state.Reader(folder)


def test_nothing_is_unpickled() -> None:
    """No module of the package knows how."""
    source = Path(slotwise.__file__).parent
    for file in source.rglob("*.py"):
        text = file.read_text()
        assert "pickle" not in text.replace("allow_pickle=False", ""), file
        if file.parts[-2:] != ("raw_ops", "_make.py"):  # compiles functions of its own table
            assert not re.search(r"(?<!def )\b(eval|exec)\(", text), file


def test_an_error_of_state_is_printed_and_pickled_as_users_find_it() -> None:
    assert slotwise.StateError is StateError
    (text,) = traceback.format_exception_only(StateError("w: damaged"))
    assert text == "slotwise.StateError: w: damaged\n"
    again = pickle.loads(pickle.dumps(StateError("w: damaged")))
    assert type(again) is StateError and str(again) == "w: damaged"
