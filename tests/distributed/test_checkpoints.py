# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of state that is spread over ranks: by any number of them, for any other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import slotwise
from slotwise import distributed, optimizers
from slotwise.distributed import DistributedError
from slotwise.state import Reader, StateError, _checksums, _format, _reader, digests
from support.spread import Table, Wrapped, chunk_of, chunks_of, even, scattered

SAVERS, LOADERS = (1, 2, 3, 8), (1, 2, 5, 16)
DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.float64)
INDEX = "model.safetensors.index.json"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors in parts have a checksum for each 4 KiB or so: many chunks, and rounds."""
    monkeypatch.setattr(_checksums, "chunk_of_units", chunks_of(4096))


class Job:
    """A table, a table's slot of one number a row, a dense variable and chunks of its slot."""

    def __init__(self, comm: Any, table: Any = even, dtype: Any = np.float32, scale: int = 1):
        whole = wholes(dtype)
        given = {name: (x * x.dtype.type(scale)).astype(x.dtype) for name, x in whole.items()}
        self.emb: Table = table(comm, given["emb"])
        self.sums: Table = table(comm, given["sums"], "sums")
        self.w = slotwise.Variable(given["w"], name="w", dtype=dtype)
        self.chunk = chunk_of(comm, given["w/m"])

    @property
    def variables(self) -> dict[str, Any]:
        return {"emb": self.emb, "w": self.w, "sums": self.sums, "w/m": self.chunk}

    def check(self) -> None:
        """It is what the wholes are."""
        whole = wholes(self.w.dtype)
        assert self.emb.local.value.tobytes() == whole["emb"][self.emb.rows].tobytes()
        assert self.sums.local.value.tobytes() == whole["sums"][self.sums.rows].tobytes()
        assert self.w.value.tobytes() == whole["w"].tobytes()


def wholes(dtype: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"emb": (5000, 3), "sums": (5000,), "w": (7, 11), "w/m": (77, 53)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def saved(comm: Any, path: Any, table: Any = even, dtype: Any = np.float32) -> str:
    return slotwise.save(path, variables=Job(comm, table, dtype).variables, extra=[1])


def loaded(
    comm: Any, path: Any, table: Any, dtype: Any, expected: Any = None, **kwargs: Any
) -> Any:
    job = Job(comm, table, dtype, scale=0)
    state = slotwise.load(path, variables=job.variables, **kwargs)
    job.check()
    again = f"{path}.again-{comm.size}"
    slotwise.save(again, variables=job.variables)
    if expected is not None:
        assert digests(again) == expected
    assert state.extra == [1]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("savers", SAVERS)
def test_any_number_of_ranks_loads_what_any_other_saved(tmp_path: Path, savers: Any) -> None:
    path = tmp_path / "ckpt"
    distributed.in_threads(1, saved, tmp_path / "one")
    distributed.in_threads(savers, saved, path)
    expected = digests(tmp_path / "one")
    assert digests(path) == expected
    for loaders in LOADERS:
        table = scattered if loaders == 5 else even
        distributed.in_threads(loaders, loaded, path, table, np.float32, expected)
    whole = wholes(np.float32)
    arrays = slotwise.load(path).arrays
    assert {name: x.tobytes() for name, x in arrays.items()} == {
        name: x.tobytes() for name, x in whole.items()
    }


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_scattered_buckets(tmp_path: Path, dtype: Any) -> None:
    one, three = tmp_path / "one", tmp_path / "three"
    distributed.in_threads(1, saved, one, even, dtype)
    distributed.in_threads(3, saved, three, scattered, dtype)
    assert digests(one) == digests(three)
    distributed.in_threads(2, loaded, three, scattered, dtype, digests(one))


@pytest.mark.usefixtures("small_chunks")
def test_all_bytes_are_the_same_for_every_number_of_ranks(tmp_path: Path) -> None:
    """Those of tensors in parts, as the files have them, one after the other."""
    found = set()
    for ranks in SAVERS:
        path = tmp_path / str(ranks)
        distributed.in_threads(ranks, saved, path, scattered)
        with Reader(path) as reader:
            assert len(reader.metadata["parts"]) == 3
            pieces = reader._of["emb"].pieces
            assert len({id(piece.file) for piece in pieces}) == (1 if ranks == 1 else len(pieces))
            data = b""
            for piece in pieces:
                begin, end = piece.tensor.begin, piece.tensor.end
                data += Path(piece.file.path).read_bytes()[begin:end]
            found.add(data)
    assert len(found) == 1


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_tables_smaller_than_the_number_of_ranks(tmp_path: Path, rows: int) -> None:
    whole = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)

    def save(comm: Any, path: Path) -> None:
        slotwise.save(path, variables=[even(comm, whole)], verify=True)

    def load(comm: Any, path: Path) -> None:
        emb = even(comm, whole * 0)
        slotwise.load(path, variables=[emb])
        np.testing.assert_array_equal(emb.local.value, whole[emb.rows])

    for ranks in (1, 8):
        path = tmp_path / str(ranks)
        distributed.in_threads(ranks, save, path)
        for others in (1, 3, 16):
            distributed.in_threads(others, load, path)
        np.testing.assert_array_equal(slotwise.load_array(path, "emb"), whole)
    assert digests(tmp_path / "1") == digests(tmp_path / "8")


def crossed(comm: Any, path: Any) -> None:
    """A table in the place of chunks, chunks in that of a table, a whole in that of both."""
    whole = wholes(np.float32)
    emb, w = chunk_of(comm, whole["emb"] * 0), even(comm, whole["w/m"] * 0, "w/m")
    sums, part = np.zeros((2, 5000), np.float32)[:, :].T[:, 0], chunk_of(comm, whole["w"] * 0)
    variables = {"emb": emb, "w/m": w, "sums": sums, "w": part}
    slotwise.load(path, variables=variables)
    assert emb.tobytes() == chunk_of(comm, whole["emb"]).tobytes()
    assert w.local.value.tobytes() == whole["w/m"][w.rows].tobytes()
    np.testing.assert_array_equal(sums, whole["sums"])
    assert part.tobytes() == chunk_of(comm, whole["w"]).tobytes()


@pytest.mark.usefixtures("small_chunks")
def test_from_any_layout_to_any_other(tmp_path: Path) -> None:
    distributed.in_threads(3, saved, tmp_path / "parts", scattered)
    for name in ("plain", "plain.safetensors"):
        slotwise.save(tmp_path / name, variables=wholes(np.float32), extra=[1])
    for name in ("parts", "plain", "plain.safetensors"):
        for ranks in (1, 2, 5):
            distributed.in_threads(ranks, crossed, tmp_path / name)
    distributed.in_threads(3, loaded, tmp_path / "plain", scattered, np.float32)


def test_rows_that_end_in_the_middle_of_a_chunk(tmp_path: Path) -> None:
    """A plain file has a checksum for each 8 MiB, wherever rows end."""
    whole = np.arange(60_000 * 50, dtype=np.float32).reshape(60_000, 50)
    slotwise.save(tmp_path / "plain", variables={"emb": whole})

    def load(comm: Any) -> None:
        emb = scattered(comm, whole * 0)
        slotwise.load(tmp_path / "plain", variables=[emb])
        assert (emb.local.value == whole[emb.rows]).all()

    distributed.in_threads(3, load)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("name", ["parts", "plain"])
@pytest.mark.parametrize("ranks", LOADERS)
def test_each_byte_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ranks: int
) -> None:
    distributed.in_threads(3, saved, tmp_path / "parts", scattered)
    slotwise.save(tmp_path / "plain", variables=wholes(np.float32), extra=[1])
    read, found = _reader._File.read, []

    def counting(self: Any, memory: Any, tensor: Any, begin: int) -> None:
        found.append((self.path, tensor.begin + begin, memory.size))
        read(self, memory, tensor, begin)

    def load(comm: Any) -> None:
        job = Job(comm, even, scale=0)
        slotwise.load(tmp_path / name, variables=job.variables, verify="during")
        job.check()

    monkeypatch.setattr(_reader._File, "read", counting)
    distributed.in_threads(ranks, load)
    assert len(set(found)) == len(found)
    assert sum(size for _, _, size in found) == sum(x.nbytes for x in wholes(np.float32).values())


@pytest.mark.usefixtures("small_chunks")
def test_no_message_is_large(tmp_path: Path) -> None:
    """A rank sends no more than a chunk at a time, and gets no more than there is of its own."""
    largest = {"sent": 0}

    def note(comm: Any, name: str, args: Any) -> None:
        if name == "all_to_all_v":
            largest["sent"] = max(largest["sent"], args[0].nbytes)

    def work(comm: Any) -> None:
        own = Wrapped(comm, note)
        saved(own, tmp_path / "parts", scattered)
        largest["sent"] = 0
        job = Job(own, even, scale=0)
        slotwise.load(tmp_path / "parts", variables=job.variables)

    distributed.in_threads(4, work)
    assert 0 < largest["sent"] <= 4096 + 4 * wholes(np.float32)["w"].nbytes


# ----- one process --------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_chunks")
def test_one_process_reads_what_ranks_saved(tmp_path: Path) -> None:
    path, whole = tmp_path / "ckpt", wholes(np.float32)
    distributed.in_threads(3, saved, path, scattered)
    for rows in (slice(None), slice(17, 90), slice(4999, 5000), slice(10, 10), slice(-3, None)):
        for verify in (True, False):
            for name in ("emb", "sums"):
                found = slotwise.load_array(path, name, rows=rows, verify=verify)
                np.testing.assert_array_equal(found, whole[name][rows])
    np.testing.assert_array_equal(
        slotwise.load_array(path, "w/m", rows=slice(70, 75)), whole["w/m"][70:75]
    )
    with Reader(path) as reader:
        assert sorted(reader.names) == sorted(whole)
        assert reader.tensor("emb").shape == (5000, 3)
        np.testing.assert_array_equal(reader.read("emb"), whole["emb"])
    emb = slotwise.Variable(np.zeros((5000, 3), np.float32), name="emb")
    columns = np.zeros((3, 5000), np.float32).T
    assert slotwise.load(path, variables=[emb], strict=False).report.unexpected
    np.testing.assert_array_equal(emb.value, whole["emb"])
    slotwise.load(path, variables={"emb": columns}, strict=False, verify="during")
    np.testing.assert_array_equal(columns, whole["emb"])


def test_views_of_tensors_in_parts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ckpt"
    distributed.in_threads(2, saved, path)
    assert slotwise.load_array(path, "w", mmap=True).shape == (7, 11)
    with pytest.raises(ValueError, match="mmap: 'emb' is in parts: expected False, got True"):
        slotwise.load_array(path, "emb", mmap=True)
    with pytest.raises(ValueError, match=r"mmap: '.*' is in parts: expected False"):
        slotwise.load(path, mmap=True)


def test_what_has_no_parts_is_of_version_1(tmp_path: Path) -> None:
    def save(comm: Any) -> None:
        slotwise.save(tmp_path / f"{comm.rank}", variables={"w": np.ones(3)})

    distributed.in_threads(2, save)
    with Reader(tmp_path / "1") as reader:
        assert reader.metadata["version"] == 1
    assert b"parts" not in (tmp_path / "1" / INDEX).read_bytes()


def test_a_reader_of_version_1_refuses_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed.in_threads(2, saved, tmp_path / "ckpt")
    monkeypatch.setattr(_format, "PARTS_VERSION", 1)
    with pytest.raises(StateError, match="a version of at most 1, got 2: a newer slotwise"):
        slotwise.load(tmp_path / "ckpt")


def test_a_file_of_a_folder_is_refused(tmp_path: Path) -> None:
    distributed.in_threads(2, saved, tmp_path / "ckpt")
    for file in (tmp_path / "ckpt").glob("*.safetensors"):
        with pytest.raises(StateError, match="one file of a checkpoint: expected its folder"):
            Reader(file)


def test_a_single_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="save: path: expected a folder for tables"):
        distributed.in_threads(2, saved, tmp_path / "ckpt.safetensors")
    assert not [*tmp_path.iterdir()]


def test_several_files_for_each_rank(tmp_path: Path) -> None:
    def save(comm: Any, path: Path) -> None:
        slotwise.save(path, variables=Job(comm).variables, max_shard_size=9000, verify=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_checksums, "chunk_of_units", chunks_of(4096))
        distributed.in_threads(2, save, tmp_path / "many")
        distributed.in_threads(1, saved, tmp_path / "one")
        assert len(os.listdir(tmp_path / "many")) > 10
        assert digests(tmp_path / "many") == digests(tmp_path / "one")
        distributed.in_threads(3, loaded_plainly, tmp_path / "many")


def loaded_plainly(comm: Any, path: Any) -> None:
    job = Job(comm, even, scale=0)
    slotwise.load(path, variables=job.variables)
    job.check()


# ----- optimizers ---------------------------------------------------------------------------------


class Training:
    """An optimizer of a table, whose slots are parts as the table is, and of a dense variable."""

    def __init__(self, comm: Any, table: Any = even, scale: float = 1.0) -> None:
        whole = np.random.default_rng(1).normal(size=(600, 2))
        self.emb: Table = table(comm, whole * scale)
        self.w = slotwise.Variable(np.arange(4.0) * scale, name="w")
        self.optimizer = optimizers.Adagrad(0.5, sparse="lazy")
        slotwise.track(self.emb)

    @property
    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer, "variables": [self.emb, self.w]}

    def step(self, number: int) -> None:
        """Some rows, the same for every number of ranks."""
        rows = np.random.default_rng(number).integers(0, 600, 40)
        own = np.flatnonzero(np.isin(self.emb.rows, rows))
        values = np.stack([self.emb.rows[own], self.emb.rows[own] + number], 1).astype(float)
        grad = slotwise.IndexedSlices(values, own, self.emb.local.shape)
        self.optimizer.apply_gradients(
            [(grad, self.emb.local), (np.full(4, float(number)), self.w)]
        )


def trained(comm: Any, folder: Path, table: Any = even) -> None:
    job = Training(comm, table)
    job.step(1)
    slotwise.save(folder / "base", **job.state)
    for number in (2, 3):
        job.step(number)
        since = folder / ("base" if number == 2 else "delta-2")
        slotwise.save_delta(folder / f"delta-{number}", since=since, **job.state)
    slotwise.save(folder / "whole", **job.state)
    job.step(4)
    slotwise.save(folder / "next", **job.state)


def continued(comm: Any, folder: Path, table: Any, paths: tuple[str, ...]) -> None:
    job = Training(comm, table, scale=0)
    base, *deltas = (folder / path for path in paths)
    state = slotwise.load(base, deltas=deltas, **job.state)
    assert not state.report
    again = folder / f"again-{comm.size}"
    slotwise.save(again, **job.state)
    assert digests(again) == digests(folder / "whole")
    job.step(4)
    slotwise.save(again, **job.state)
    assert digests(again) == digests(folder / "next")
    job.step(5)
    slotwise.save_delta(folder / f"later-{comm.size}", since=again, **job.state)


DELTAS = ("base", "delta-2", "delta-3")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("paths", [("whole",), DELTAS], ids=["whole", "deltas"])
def test_training_goes_on_with_any_number_of_ranks(tmp_path: Path, paths: Any) -> None:
    for savers, table in ((1, even), (3, scattered)):
        folder = tmp_path / str(savers)
        folder.mkdir()
        distributed.in_threads(savers, trained, folder, table)
        for loaders in (1, 2) if savers == 1 else (2, 5):
            distributed.in_threads(loaders, continued, folder, table, paths)
    for name in ("base", "delta-2", "delta-3", "next", "later-2"):
        assert digests(tmp_path / "1" / name) == digests(tmp_path / "3" / name)


@pytest.mark.usefixtures("small_chunks")
def test_one_process_goes_on_with_what_ranks_trained(tmp_path: Path) -> None:
    distributed.in_threads(3, trained, tmp_path, scattered)
    whole = slotwise.load(tmp_path / "whole").arrays
    base, *deltas = (tmp_path / path for path in DELTAS)
    assert slotwise.load_array(deltas[0], "emb").shape[0] < 60
    ids = slotwise.load_array(deltas[0], "emb@rows")
    np.testing.assert_array_equal(
        np.sort(ids), np.unique(np.random.default_rng(2).integers(0, 600, 40))
    )
    found = slotwise.load(base, deltas=deltas).arrays
    emb = slotwise.Variable(np.zeros((600, 2)), name="emb")
    w = slotwise.Variable(np.zeros(4), name="w")
    opt = optimizers.Adagrad(0.5, sparse="lazy")
    slotwise.load(base, deltas=deltas, optimizer=opt, variables=[emb, w])
    for name, x in {**opt.state_dict(), "emb": emb.value}.items():
        if name != "config":
            np.testing.assert_array_equal(found[name], whole[name])
            np.testing.assert_array_equal(x, whole[name])
    part = slotwise.load_array(base, "emb", rows=slice(5, 99), deltas=deltas)
    np.testing.assert_array_equal(part, whole["emb"][5:99])


def test_what_does_not_fit(tmp_path: Path) -> None:
    """The report, and errors, are those of one process, and the same on all ranks."""
    distributed.in_threads(2, trained, tmp_path)
    reports = []

    def load(comm: Any) -> None:
        job = Training(comm)
        other = even(comm, np.zeros((600, 3)))
        more = slotwise.Variable(np.zeros(1), name="more")
        before = job.w.numpy().copy()
        with pytest.raises(
            ValueError, match=r"missing: more.*emb: expected shape .600, 3."
        ) as error:
            slotwise.load(tmp_path / "whole", variables=[other, job.w, more])
        np.testing.assert_array_equal(job.w.value, before)
        assert not other.local.value.any()
        state = slotwise.load(tmp_path / "whole", variables=[other, job.w, more], strict=False)
        reports.append((str(error.value), str(state.report)))
        assert not np.array_equal(job.w.value, before)
        renamed = even(comm, np.zeros((600, 2)), "table")
        slotwise.load(tmp_path / "whole", variables=[renamed, job.w], rename={"emb": "table"})
        assert renamed.local.value.any(axis=1).all()

    distributed.in_threads(3, load)
    assert len(set(reports)) == 1


def test_a_manager_of_ranks(tmp_path: Path) -> None:
    def work(comm: Any) -> Any:
        job = Training(comm)
        manager = slotwise.CheckpointManager(tmp_path, max_to_keep=2)
        for step in (1, 2, 3):
            job.step(step)
            manager.save(step, **job.state)
        other = Training(comm, scale=0)
        state = manager.restore_latest(**other.state)
        assert state is not None and not state.report
        np.testing.assert_array_equal(other.emb.local.value, job.emb.local.value)
        return manager.steps, int(other.optimizer.iterations)

    assert distributed.in_threads(3, work) == [([2, 3], 3)] * 3
    assert sorted(os.listdir(tmp_path)) == ["step-2", "step-3"]
    shutil.rmtree(tmp_path / "step-3")
    assert distributed.in_threads(2, restored, tmp_path) == [2, 2]


def restored(comm: Any, folder: Path) -> int:
    job = Training(comm, scale=0)
    assert slotwise.CheckpointManager(folder).restore_latest(**job.state) is not None
    return int(job.optimizer.iterations)


# ----- what ranks must agree on -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"extra": "rank"}, "save: extra: expected the same on all ranks, but rank 0 has"),
        ({"path": "rank"}, "save: path: expected the same on all ranks"),
        ({"w": "rank"}, "save: 'w': expected the same on all ranks.*content"),
        ({"more": "rank"}, "save: variables: expected the same on all ranks"),
    ],
)
def test_what_differs_between_ranks_is_an_error(tmp_path: Path, change: Any, match: str) -> None:
    def save(comm: Any) -> None:
        job, what = Job(comm), [*change]
        variables = job.variables
        if what == ["w"]:
            job.w.assign(job.w.value + comm.rank)
        if what == ["more"] and comm.rank:
            variables["more"] = np.ones(1)
        name = f"ckpt-{comm.rank}" if what == ["path"] else "ckpt"
        extra = comm.rank if what == ["extra"] else None
        with pytest.raises(ValueError, match=match):
            slotwise.save(tmp_path / name, variables=variables, extra=extra)

    distributed.in_threads(3, save)
    assert not [*tmp_path.iterdir()]


def test_parts_of_several_communicators_are_refused(tmp_path: Path) -> None:
    def save(comm: Any) -> None:
        tables = [even(comm, np.ones((9, 2))), even(distributed.local(), np.ones((9, 2)), "b")]
        with pytest.raises(ValueError, match="expected tables and optimizers of one communicator"):
            slotwise.save(tmp_path / "ckpt", variables=tables)

    distributed.in_threads(2, save)


def test_damage_on_one_rank_is_an_error_on_all(tmp_path: Path) -> None:
    path = tmp_path / "ckpt"
    distributed.in_threads(3, saved, path)
    file = sorted(path.glob("*.safetensors"))[-1]
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)

    def load(comm: Any, verify: Any) -> bool:
        job = Job(comm, scale=0)
        with pytest.raises(DistributedError, match=f"rank .: StateError: .*{file.name}.*damaged"):
            slotwise.load(path, variables=job.variables, verify=verify)
        return bool(job.emb.local.value.any() or job.w.value.any() or job.chunk.any())

    assert not any(distributed.in_threads(3, load, "before"))
    distributed.in_threads(3, load, "during")
    with pytest.raises(StateError, match="damaged"):
        slotwise.load(path)


def test_a_delta_of_a_whole_variable_whose_slot_is_in_parts(tmp_path: Path) -> None:
    """On one rank, the slot has as many elements as the variable has rows."""

    def save(comm: Any) -> None:
        w = slotwise.Variable(np.zeros(600), name="w")
        opt = optimizers.legacy.Adagrad(0.5)
        opt.add_slot(w, "accumulator", lambda shape, dtype: chunk_of(comm, np.ones(600)))
        touched = slotwise.track(w)
        state: dict[str, Any] = {"optimizer": opt, "variables": [w]}
        slotwise.save(tmp_path / "base", **state)
        w.value[3] = 1
        touched.mark([3])
        slotwise.save_delta(tmp_path / "delta", since=tmp_path / "base", **state)

    distributed.in_threads(1, save)
    assert slotwise.load_array(tmp_path / "delta", "w@rows").tolist() == [3]
    found = slotwise.load(tmp_path / "base", deltas=[tmp_path / "delta"]).arrays
    assert found["w"].nonzero()[0].tolist() == [3]
    np.testing.assert_array_equal(found["w/accumulator"], np.ones(600))
