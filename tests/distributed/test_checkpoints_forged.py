# SPDX-License-Identifier: Apache-2.0
"""Forged indexes and headers of tensors in parts: an error, at once, or what they say."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slotwise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slotwise import distributed
from slotwise.distributed import DistributedError
from slotwise.state import Reader, StateError, _checksums
from support import state_forge
from support.spread import chunk_of, chunks_of, even

ROWS = np.arange(1200, dtype=np.float32).reshape(600, 2)
PART = np.arange(400.0).reshape(20, 20)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A table of five chunks (128 rows each) in two files, chunks of an array, an empty table."""

    def save(comm: Any) -> None:
        tables = {"emb": even(comm, ROWS), "none": even(comm, ROWS[:0], "none")}
        slotwise.save(path, variables={**tables, "part": chunk_of(comm, PART), "w": np.ones(3)})

    path = tmp_path_factory.mktemp("forged") / "good"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_checksums, "chunk_of_units", chunks_of(1024))
        distributed.in_threads(2, save)
        yield path


def forged(good: Path, edit: Any) -> Path:
    path = good.with_name("forged")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(good, path)
    state_forge.edit_index(path / state_forge.INDEX, edit)
    return path


def test_the_good_one(good: Path) -> None:
    def look(index: dict[str, Any]) -> None:
        pieces = index["parts"]["emb"]["pieces"]
        assert [(first, count) for _, first, count in pieces] == [(0, 512), (512, 88)]

    arrays = slotwise.load(forged(good, look)).arrays
    np.testing.assert_array_equal(arrays["emb"], ROWS)
    np.testing.assert_array_equal(arrays["part"], PART)
    assert arrays["none"].shape == (0, 2)


def set_piece(number: int, **changes: Any) -> Any:
    def edit(index: dict[str, Any]) -> None:
        piece = index["parts"]["emb"]["pieces"][number]
        for place, value in changes.items():
            piece[["file", "first", "count"].index(place)] = value

    return edit


def set_entry(name: str = "emb", **changes: Any) -> Any:
    return lambda index: index["parts"][name].update(changes)


def drop_piece(number: int) -> Any:
    return lambda index: index["parts"]["emb"]["pieces"].pop(number)


def again(index: dict[str, Any]) -> None:
    pieces = index["parts"]["emb"]["pieces"]
    pieces.append([pieces[0][0], 600, 512])
    index["parts"]["emb"]["shape"] = [1112, 2]


FORGED: list[tuple[Any, str]] = [
    (set_piece(1, first=384), "'emb': pieces: expected one that begins with unit 512"),
    (set_piece(1, first=640), "'emb': pieces: expected one that begins with unit 512"),
    (set_piece(0, first=-1), "'emb': pieces: expected one that begins with unit 0"),
    (set_piece(0, first=0.0), "'emb': pieces: expected one that begins with unit 0"),
    (set_piece(0, first=False), "'emb': pieces: expected one that begins with unit 0"),
    (set_piece(0, count=0), "'emb': pieces: expected one that begins with unit 0"),
    (set_piece(0, count=-512), "'emb': pieces: expected one that begins with unit 0"),
    (set_piece(1, count=89), "'emb': pieces: expected 600 units, got 601"),
    (set_piece(1, count=2**70), "'emb': pieces: expected 600 units"),
    (set_piece(0, file="model-00009-of-00009.safetensors"), "'emb': expected another of the"),
    (set_piece(0, file="../x.safetensors"), "'emb': expected names of .safetensors files"),
    (set_piece(0, file=3), "'emb': expected names of .safetensors files"),
    (drop_piece(0), "'emb': pieces: expected one that begins with unit 0"),
    (drop_piece(1), "'emb': pieces: expected 600 units, got 512"),
    (again, "'emb': pieces: expected multiples of 128 units"),
    (set_entry(shape=[600, 3]), "'emb': pieces: expected multiples of 85 units"),
    (set_entry(shape=[601, 2]), "'emb': pieces: expected 601 units, got 600"),
    (set_entry(shape=[2**62, 2**62, 0]), r"'emb': expected sizes from 0 to 2\^63"),
    (set_entry(shape=[2**64, 2]), r"'emb': expected sizes from 0 to 2\^63"),
    (set_entry(shape=[]), "'emb': buckets: expected 4096 for tables, or null"),
    (set_entry(shape="x"), "'emb': expected dtype, shape, buckets and pieces"),
    (set_entry(shape=[1] * 65), "'emb': expected a rank of at most"),
    (set_entry(dtype="F64"), "'emb': pieces: expected multiples of|the index says otherwise"),
    (set_entry(dtype="I32"), "'emb': the index says otherwise"),
    (set_entry(dtype="F3"), "'emb': expected one of BOOL"),
    (set_entry(buckets=4095), "'emb': buckets: expected 4096 for tables, or null"),
    (set_entry(buckets=True), "'emb': buckets: expected 4096 for tables, or null"),
    (set_entry(buckets=None), "'emb': pieces: expected"),
    (set_entry("part", buckets=4096), "'part': pieces: expected"),
    (set_entry(pieces=None), "'emb': expected dtype, shape, buckets and pieces"),
    (set_entry(pieces=[[1]]), "'emb': expected dtype, shape, buckets and pieces"),
    (set_entry(pieces=[]), "'emb': pieces: expected 600 units, got 0"),
    (set_entry("none", shape=[1, 2]), "'none': pieces: expected 1 units, got 0"),
    (lambda index: index.update(parts=[]), "parts: expected a dict by name"),
    (lambda index: index.pop("parts"), "does not fit"),
    (lambda index: index["parts"].pop("emb"), "does not fit"),
    (lambda index: index["parts"].pop("none"), "parts: it does not fit the files, see 'none'"),
    (lambda index: index["parts"].update(w=index["parts"]["none"]), "'w': expected either in one"),
    (lambda index: index["parts"].update(x=index["parts"]["none"]), "does not fit the files"),
    (lambda index: index["parts"].update({"y" * 5000: {}}), "expected a name of at most"),
    (lambda index: index["weight_map"].pop("w"), "does not fit"),
    (lambda index: index["metadata"].update(total_size=1), "expected a total_size of"),
]


@pytest.mark.parametrize(("edit", "match"), FORGED)
def test_forged_indexes_are_refused(good: Path, edit: Any, match: str) -> None:
    path = forged(good, edit)
    for call in (Reader, slotwise.load, slotwise.state.digests):
        with pytest.raises(StateError, match=match) as error:
            call(path)
        assert str(path) in str(error.value)
        assert len(str(error.value)) < 1000


def edit_headers(path: Path, edit: Any) -> None:
    """The same edit of our metadata in all files."""
    for file in sorted(path.glob("*.safetensors")):
        state_forge.edit_file(file, lambda header, own: edit(own))


HEADERS: list[tuple[Any, str]] = [
    (lambda own: own.pop("parts"), "parts: expected another kind of value"),
    (lambda own: own.update(parts={}), "parts: expected another kind of value"),
    (lambda own: own.update(parts=[]), "parts: expected names that differ, at least one"),
    (lambda own: own.update(parts=["emb", "emb"]), "parts: expected names that differ"),
    (lambda own: own.update(parts=["emb", 3]), "parts: expected names of variables"),
    (lambda own: own.update(parts=["emb", "x"]), "parts: expected names of variables"),
    (lambda own: own.update(parts=["emb", "none"]), "'part': expected a checksum of each chunk"),
    (lambda own: own.update(parts=["emb", "none", "part", "w"]), "does not fit the files"),
    (lambda own: own.update(version=1), "expected a checksum of each chunk"),
]


@pytest.mark.parametrize(("edit", "match"), HEADERS)
def test_forged_headers_are_refused(good: Path, edit: Any, match: str) -> None:
    path = forged(good, lambda index: None)
    edit_headers(path, edit)
    with pytest.raises(StateError, match=match):
        slotwise.load(path)


NUMBERS = st.one_of(
    st.integers(-2, 700),
    st.sampled_from([128, 512, 2**31, 2**63 - 1, 2**63, 2**70, None, 1.0, True]),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_numbers_are_refused_or_true(good: Path, data: Any) -> None:
    """Pieces and shapes of any numbers: an error, or the very content."""

    def edit(index: dict[str, Any]) -> None:
        entry = index["parts"][data.draw(st.sampled_from(["emb", "part", "none"]))]
        before.append(copy.deepcopy(index))
        places = [(piece, n) for piece in entry["pieces"] for n in (1, 2)]
        places += [(entry["shape"], n) for n in range(len(entry["shape"]))]
        for holder, n in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3)):
            holder[n] = data.draw(NUMBERS)
        if data.draw(st.booleans()):
            entry["pieces"] = data.draw(st.permutations(entry["pieces"]))
        before.append(index)

    before: list[Any] = []
    path = forged(good, edit)
    try:
        arrays = slotwise.load(path).arrays
    except StateError:
        assert before[0] != before[1]
        return
    state_forge.check(path, arrays)


def test_ranks_are_told_alike(good: Path) -> None:
    path = forged(good, set_piece(1, first=384))

    def load(comm: Any) -> str:
        with pytest.raises((StateError, DistributedError)) as error:
            slotwise.load(path, variables=[even(comm, ROWS)], strict=False)
        return str(error.value)

    assert len(set(distributed.in_threads(3, load))) == 1
