# SPDX-License-Identifier: Apache-2.0
"""Forged files: an error that names file and tensor, or what the file says; at once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from slotwise.state import Reader, StateError, _format, _index
from slotwise.state._checksums import checksum, seal
from support.process import program

COUNT = int(os.environ.get("SLOTWISE_FUZZ", "80"))
SEED = os.environ.get("SLOTWISE_FUZZ_SEED", "0")
INDEX = _index.INDEX
X = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def test_forgeries_at_random(tmp_path: Path) -> None:
    done = program("state_forge", tmp_path, COUNT, SEED)
    assert done.returncode == 0, done.stdout + done.stderr


def own(**members: Any) -> dict[str, Any]:
    """Our metadata, as it should be but for some members."""
    return {
        **{"version": 1, "id": "a" * 32, "parent": None, "config": None, "extra": None},
        **{"variables": ["x"], "state": [], "checksums": {"x": checksum(bytes(8))}},
        **members,
    }


def forged(path: Path, text: str | bytes, data: bytes = bytes(8)) -> Path:
    """A file of this header, sealed if it is ours."""
    text = text if isinstance(text, bytes) else text.encode()
    if text.startswith(_format._BEFORE):
        text = seal(text, _format._BEFORE)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def sealed(path: Path, entries: str = f'"x":{json.dumps(X)}', metadata: Any = None) -> Path:
    text = metadata if isinstance(metadata, str) else json.dumps(own() | (metadata or {}))
    start = _format._BEFORE.decode() + "0" * 16 + '","slotwise":' + json.dumps(text) + "}"
    return forged(path, f"{start},{entries}}}")


def check_refused(path: Path, match: str) -> None:
    began = time.perf_counter()
    for call in (Reader, slotwise.load):
        with pytest.raises(StateError, match=match) as error:
            call(path)
        assert str(path) in str(error.value) and len(str(error.value)) < 1000
    assert time.perf_counter() - began < 10


def entry(**changes: Any) -> str:
    return f'"x":{json.dumps({**X, **changes})}'


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        (entry(shape=[2] + [1] * 64), "'x': expected a rank of at most"),
        (entry(shape=[1] * 1_000_000), "'x': expected a rank of at most"),
        (entry(shape=[2**63]), r"'x': expected sizes from 0 to 2\^63"),
        (entry(shape=[2**62, 2**62, 0]), r"'x': expected sizes from 0 to 2\^63"),
        (entry(data_offsets=[2**64, 2**64 + 8]), r"'x': expected sizes from 0 to 2\^63"),
        (entry(data_offsets=[0, 8, 8]), "'x': expected dtype, shape and two data_offsets"),
        (entry(shape="2"), "'x': expected dtype, shape and two data_offsets"),
        (entry(shape={"2": 1}), "'x': expected dtype, shape and two data_offsets"),
        (entry(shape=[True, 2]), "'x': expected sizes"),
        (f"{entry()},{entry()}", "'x' comes twice"),
        ('"x":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}', "'dtype' comes"),
        (f'"{"x" * 5000}":{json.dumps(X)}', "expected a name of at most 4096 bytes"),
        (f'"\\ud800":{json.dumps(X)}', "expected a name of at most 4096 bytes of UTF-8"),
        (f'"y":{json.dumps(X)}', "'[xy]': expected a tensor and its checksums"),
        (f'{entry()},"y":{{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}', "'y': expected"),
        (entry(shape=[float("nan")]), "NaN"),
    ],
)
def test_entries(tmp_path: Path, entries: Any, match: Any) -> None:
    """Under a checksum that is right."""
    slotwise.load(sealed(tmp_path / "x.safetensors"))
    check_refused(sealed(tmp_path / "x.safetensors", entries), match)


@pytest.mark.parametrize(
    "number", ["1" * 5_000_000, "-" + "1" * 5_000_000, "0." + "1" * 5_000_000, "1e" + "1" * 5_000]
)
def test_long_numbers_take_no_time(tmp_path: Path, number: Any) -> None:
    """Their value would take a time that goes by the square of their length."""
    path = tmp_path / "x.safetensors"
    check_refused(sealed(path, f'"x":{{"shape":[{number}]}}'), "numbers of at most 4300 characters")
    text = json.dumps(own())[:-1] + f',"extra":{number}}}'
    check_refused(sealed(path, metadata=text), "numbers of at most 4300 characters")


def test_depth(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"

    def nested(depth: Any) -> Any:
        return json.dumps(own())[:-1] + ',"more":' + "[" * depth + "]" * depth + "}"

    slotwise.load(sealed(path, metadata=nested(_format.DEPTH - 1)))
    check_refused(sealed(path, metadata=nested(_format.DEPTH)), "at most 100 levels")
    check_refused(sealed(path, metadata=nested(1_000_000)), "recursion")
    check_refused(forged(path, b"[" * 50_000_000), "recursion")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 0}, "version: expected a number from 1 on"),
        ({"version": True}, "version: expected a number from 1 on"),
        ({"version": 3}, "a newer slotwise wrote it"),
        ({"id": "a"}, "an id of 32 hexadecimal digits"),
        ({"id": None}, "id: expected another kind of value"),
        ({"parent": 3}, "parent: expected another kind of value"),
        ({"variables": ["x", "x"]}, "expected names that differ"),
        ({"state": ["x"]}, "expected names that differ"),
        ({"variables": [], "state": []}, "'x': it is neither of variables nor of state"),
        ({"rows": {"y": "x"}}, "expected names that differ"),
        ({"rows": {"y": "y"}}, "'y' is neither of variables nor of state"),
        ({"checksums": {"x": "0" * 15}}, "'x': expected a checksum of each chunk"),
        ({"checksums": {"x": ["0" * 16]}}, "'x': expected a checksum of each chunk"),
        ({"checksums": {"x": "G" * 16}}, "'x': expected a checksum of each chunk"),
        ({"checksums": {"x": checksum(bytes(8)), "y": ""}}, "'y': expected a tensor"),
        ({"config": [1]}, "config: expected another kind of value"),
    ],
)
def test_metadata(tmp_path: Path, change: Any, match: Any) -> None:
    check_refused(sealed(tmp_path / "x.safetensors", metadata=change), match)


def test_a_config_that_makes_no_optimizer(tmp_path: Path) -> None:
    for config in ({}, {"class_name": "Adam", "config": 3}, {"class_name": [], "config": {}}):
        path = sealed(tmp_path / "x.safetensors", metadata={"config": config})
        with pytest.raises(StateError, match=r"x\.safetensors: the optimizer's config: "):
            slotwise.load(path, optimizer="saved")
    path = sealed(tmp_path / "x.safetensors")
    with pytest.raises(StateError, match="optimizer: expected one, but it was saved without"):
        slotwise.load(path, optimizer="saved")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_other_encodings(tmp_path: Path, encoding: Any) -> None:
    text = f"{{{entry()}}}"
    Reader(forged(tmp_path / "x.safetensors", text)).close()
    with pytest.raises(StateError, match="the header: damaged"):
        Reader(forged(tmp_path / "x.safetensors", text.encode(encoding)))


def test_names_that_cannot_be_saved(tmp_path: Path) -> None:
    for name in ("\ud800", "x" * 5000):
        with pytest.raises(ValueError, match=r"save: .*: expected a name of at most 4096 bytes"):
            slotwise.save(tmp_path / "x", variables={name: np.ones(3)})
    with pytest.raises(ValueError, match=r"save: .* at most 100 levels"):
        extra: list[Any] = []
        for _ in range(150):
            extra = [extra]
        slotwise.save(tmp_path / "x", extra=extra)
    with pytest.raises(ValueError, match=r"save: .*'1' comes twice"):
        slotwise.save(tmp_path / "x", extra={1: 2, "1": 3})
    assert not list(tmp_path.iterdir())


def folder(tmp_path: Path) -> Path:
    path = tmp_path / "several"
    slotwise.save(path, variables={"a": np.ones(3), "b": np.zeros(3)}, max_shard_size=8)
    return path


FIRST = _index.shard(1, 2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda index: index.update(weight_map=["a", "b"]), "metadata and weight_map"),
        (lambda index: index.update(metadata=[]), "metadata and weight_map"),
        (lambda index: index["weight_map"].update(c=FIRST), "the index does not fit, see 'c'"),
        (lambda index: index["weight_map"].update(a="other.safetensors"), "'a': expected one of"),
        (lambda index: index["weight_map"].update(a=["x.safetensors"]), "expected names"),
        (lambda index: index["weight_map"].pop("a"), "the index does not fit, see 'a'"),
        (lambda index: index["weight_map"].update({"\ud800": FIRST}), "expected a name"),
        (lambda index: index["metadata"].update(files=[FIRST, FIRST]), "names that differ"),
        (lambda index: index["metadata"].update(files={FIRST: 1}), "expected names"),
        (lambda index: index["metadata"]["files"].append("\ud800.safetensors"), "at most 255"),
        (lambda index: index["metadata"]["files"].append("\0.safetensors"), "expected names"),
        (lambda index: index["metadata"]["files"].append("x" * 300 + ".safetensors"), "most 255"),
        (lambda index: index["metadata"]["files"].append("y.safetensors"), "the file is missing"),
        (lambda index: index["metadata"].update(total_size=1), "total_size"),
        (lambda index: index["metadata"].update(total_size="48"), "total_size"),
        (lambda index: index["metadata"].update(id=None), "expected an id"),
    ],
)
def test_indexes(tmp_path: Path, change: Any, match: Any) -> None:
    """Under a checksum that is right."""
    path = folder(tmp_path)
    index = json.loads((path / INDEX).read_text())
    change(index)
    text = json.dumps(index, separators=(",", ":")).encode()
    if text.startswith(_index._BEFORE):
        text = _index._BEFORE + b"0" * 16 + text[len(_index._BEFORE) + 16 :]
        text = seal(text, _index._BEFORE)
    (path / INDEX).write_bytes(text)
    check_refused(path, match)


def test_files_that_contradict_each_other(tmp_path: Path) -> None:
    """They are of one checkpoint by their ids, but not by the rest."""
    path = folder(tmp_path)
    with Reader(path) as reader:
        identity = reader.metadata["id"]
    slotwise.save(tmp_path / "y.safetensors", variables={"a": np.ones(3)}, extra="other")
    text = (tmp_path / "y.safetensors").read_bytes()
    with Reader(tmp_path / "y.safetensors") as reader:
        changed = text[8:4096].replace(reader.metadata["id"].encode(), identity.encode())
    before = _format._BEFORE
    changed = before + b"0" * 16 + changed[len(before) + 16 :]
    forged(path / FIRST, changed, text[4096:])
    check_refused(path, "its header says otherwise|in no file")


PLACES = ("one.safetensors", "several", f"several/{INDEX}", f"several/{FIRST}")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "nowhere", "/dev/zero", "/dev/full"])
def test_something_else_in_the_place_of_a_file(tmp_path: Path, place: Any, kind: Any) -> None:
    """It is not even opened: a pipe would be waited for."""
    folder(tmp_path)
    slotwise.save(tmp_path / "one.safetensors", variables={"a": np.ones(3)})
    path = tmp_path / place
    os.rename(path, tmp_path / "kept")
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name if kind == "loop" else kind)
    check_refused(tmp_path / place.split("/")[0], "expected a file|missing|cannot be read|there is")


@pytest.mark.parametrize("place", PLACES)
def test_links_to_files_are_followed(tmp_path: Path, place: Any) -> None:
    """Caches of hubs have such links."""
    folder(tmp_path)
    slotwise.save(tmp_path / "one.safetensors", variables={"a": np.ones(3)})
    path = tmp_path / place
    os.rename(path, tmp_path / "kept")
    path.symlink_to(tmp_path / "kept")
    assert slotwise.load(tmp_path / place.split("/")[0]).arrays["a"].tolist() == [1, 1, 1]


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    for path in ("\ud800", "x" * 300, "x/" * 3000, str(tmp_path / "a/b/c")):
        with pytest.raises(StateError):
            slotwise.load(path)
    with pytest.raises(ValueError, match="load: path: expected a path, got one with a null"):
        slotwise.load("x\0")
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="there is no checkpoint"):
        slotwise.load(tmp_path / "file" / "x")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read all: an error of the system stands in for it."""
    path = folder(tmp_path)

    def refused(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        check_refused(path, "it cannot be read: Permission denied")
    with Reader(path) as reader, monkeypatch.context() as patch:
        patch.setattr(os, "preadv", refused)
        with pytest.raises(StateError, match=f"{FIRST}: 'a': it cannot be read: Permission"):
            reader.read("a")


def test_rows_that_wrap_around(tmp_path: Path) -> None:
    """Each difference is positive in 64 bits, but they do not ascend."""
    emb = slotwise.Variable(np.zeros((10, 2)), name="emb")
    touched = slotwise.track(emb)
    slotwise.save(tmp_path / "base", variables=[emb])
    touched.mark(np.arange(7))
    delta = tmp_path / "delta.safetensors"
    slotwise.save_delta(delta, since=tmp_path / "base", variables=[emb])
    data = delta.read_bytes()
    with Reader(delta) as reader:
        begin, old = reader.tensor("emb@rows").begin, reader.tensor("emb@rows").checksums[0]
    ids = np.array([0, 2**62, 2**63 - 1, -(2**63), -(2**62), -1, 5]).tobytes()
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].replace(old.encode(), checksum(ids).encode())
    text = _format._BEFORE + b"0" * 16 + text[len(_format._BEFORE) + 16 :]
    forged(delta, text, data[8 + length : begin] + ids + data[begin + len(ids) :])
    with pytest.raises(StateError, match="expected ascending rows"):
        slotwise.load(tmp_path / "base", deltas=[delta], variables=[emb])
