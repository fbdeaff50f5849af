# SPDX-License-Identifier: Apache-2.0
"""Forged checkpoints, opened in every way: `python -m support.state_forge FOLDER COUNT SEED`.

Whoever forges a file can make its checksums, too. It ends with 1 if an opening gave anything but a
StateError or what the file says, or took long.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import socket
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slotwise
from slotwise import distributed
from slotwise.distributed._placement import Placement
from slotwise.state import Reader, StateError, _checksums, _format, _index
from support.spread import chunk_of, even

SECONDS = 10  # for an opening; they take milliseconds
NAMES = ("one.safetensors", "several", "several", "delta.safetensors", "parts", "parts-delta")
INDEX = _index.INDEX
Edit = Callable[[random.Random, Path], None]

# Values that no field expects; those in bytes are put into the text as they are.
HOSTILE: list[Any] = [
    *(None, True, False, -1, 0, 1, 1.5, 1e308),
    *(2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63)),
    *("", "x", "x" * 300, "x" * 5000, "\ud800", "\0", "a\nb", "../x.safetensors", ".", "é" * 130),
    *("x.safetensors", "x" * 300 + ".safetensors", "\ud800.safetensors", "\0.safetensors"),
    *([], [1], [0] * 64, [1] * 65, [0] * 100_000, [2**62, 2**62, 0], [0, 2**63 - 1], [[]]),
    *(["x"], ["x", "x"], [2.0, 3], [True], [-1], ["model"], [None], [{}]),
    *({}, {"a": 1}, {"a": {}}, {"x": "x"}),
    *(b"NaN", b"-Infinity", b"1" * 5000, b"-" + b"9" * 2_000_000, b"0." + b"3" * 2_000_000),
    *(b"1e999999", b"[" * 90 + b"]" * 90, b"[" * 5000 + b"]" * 5000),
    *(b'{"a":' * 300 + b"1" + b"}" * 300, b'{"a":1,"a":2}'),
    *(b'"\\ud800"', b"01", b"nul", b'"', b"'x'", b"/**/1"),
]


def dump(value: Any) -> bytes:
    """JSON, with bytes put in as they are."""
    raw: list[bytes] = []

    def plain(inner: Any) -> Any:
        if isinstance(inner, bytes):
            raw.append(inner)
            return f"@raw{len(raw) - 1}@"
        if isinstance(inner, dict):
            return {key: plain(x) for key, x in inner.items()}
        return [plain(x) for x in inner] if isinstance(inner, list) else inner

    text = json.dumps(plain(value), separators=(",", ":")).encode()
    for number, found in enumerate(raw):
        text = text.replace(b'"@raw%d@"' % number, found)
    return text


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every member of a tree, by what holds it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, member in inner:
        found.append((value, key))
        if isinstance(member, (dict, list)):
            found += places(member)
    return found


def mutate(rng: random.Random, tree: Any) -> None:
    """Change, remove, rename, or add a member."""
    for _ in range(rng.choice((1, 1, 1, 2))):
        holder, key = rng.choice(places(tree) or [(tree, "x")])
        what = rng.randrange(5)
        if what == 0 and (isinstance(holder, dict) or holder):
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            name = rng.choice([v for v in HOSTILE if isinstance(v, str)])
            holder[name] = holder.pop(key, None)
        elif what == 2 and isinstance(holder, dict):
            holder[rng.choice(["x", "y", "é", "__metadata__"])] = rng.choice(HOSTILE)
        elif what == 3 and isinstance(holder, list):
            holder.append(rng.choice([*holder, *HOSTILE]))
        else:
            holder[key] = copy.deepcopy(rng.choice(HOSTILE))


def edit_file(path: Path, edit: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change the header and our metadata, and seal them again."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    own = json.loads(header["__metadata__"][_format.KEY])
    edit(header, own)
    if isinstance(header.get("__metadata__"), dict):
        text = dump(own).decode("utf-8", "surrogatepass")
        header["__metadata__"] |= {"xxh3_64": "0" * 16, _format.KEY: text}
    write(path, dump(header), data[8 + length :])


def write(path: Path, text: bytes, data: bytes) -> None:
    if text.startswith(_format._BEFORE + b"0" * 16):
        text = _checksums.seal(text, _format._BEFORE)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def edit_index(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    index = json.loads(path.read_bytes())
    edit(index)
    if isinstance(index.get("metadata"), dict) and "xxh3_64" in index["metadata"]:
        index["metadata"] |= {"xxh3_64": "0" * 16}
    text = dump(index)
    if text.startswith(_index._BEFORE + b"0" * 16):
        text = _checksums.seal(text, _index._BEFORE)
    path.write_bytes(text)


def some_file(rng: random.Random, path: Path) -> Path:
    return path if path.is_file() else rng.choice(sorted(path.glob("*.safetensors")))


def forge_header(rng: random.Random, path: Path) -> None:
    edit_file(some_file(rng, path), lambda header, own: mutate(rng, header))


def forge_metadata(rng: random.Random, path: Path) -> None:
    edit_file(some_file(rng, path), lambda header, own: mutate(rng, own))


def forge_everywhere(rng: random.Random, path: Path) -> None:
    """The same in all files, so that they agree."""
    seed = rng.random()
    for file in [path] if path.is_file() else sorted(path.glob("*.safetensors")):

        def edit(header: dict[str, Any], own: dict[str, Any]) -> None:
            sums = own.pop("checksums")
            mutate(random.Random(seed), own)
            own["checksums"] = sums

        edit_file(file, edit)


def forge_config(rng: random.Random, path: Path) -> None:
    for file in [path] if path.is_file() else sorted(path.glob("*.safetensors")):
        edit_file(file, lambda header, own: mutate(random.Random(0.5), own["config"] or own))


def forge_entry(rng: random.Random, path: Path) -> None:
    """A tensor's."""

    def edit(header: dict[str, Any], own: dict[str, Any]) -> None:
        names = [name for name in header if name != "__metadata__"]
        mutate(rng, header[rng.choice(names)])

    edit_file(some_file(rng, path), edit)


def forge_data(rng: random.Random, path: Path) -> None:
    """Other numbers, with their checksums: rows of a delta that do not ascend, say."""

    def edit(header: dict[str, Any], own: dict[str, Any]) -> None:
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                own["checksums"][name] = _checksums.checksum(bytes(data[begin:end])) * (end > begin)

    file = some_file(rng, path)
    whole = file.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    data = bytearray(whole[start:])
    for _ in range(rng.choice((1, 8, 100))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    file.write_bytes(whole[:start] + data)
    edit_file(file, edit)


def forge_index(rng: random.Random, path: Path) -> None:
    if path.is_dir():
        edit_index(path / INDEX, lambda index: mutate(rng, index))


def forge_text(rng: random.Random, path: Path) -> None:
    """What is no JSON, or other JSON than it seems."""
    file = some_file(rng, path)
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text, rest = data[8 : 8 + length], data[8 + length :]
    text = rng.choice(
        [
            text.decode().encode("utf-16"),
            text.decode().encode("utf-32"),
            b"\xef\xbb\xbf" + text,
            text.rstrip() + b"x",
            text.rstrip() + b"\0" * 100,
            text.rstrip()[:-1] + b"," + text.rstrip()[1:],  # all keys twice
            text.replace(b'"shape":[', b'"shape":[' + b"1," * rng.choice((60, 64, 100_000)), 1),
            text.replace(b'"shape":[', b'"shape":[' + b"7" * 3_000_000 + b",", 1),
            text.replace(b'"dtype"', b'"dtype":"U8","dtype"', 1),
            b"[" * rng.choice((10, 999, 1_000_000)),
            b'{"a":' * rng.choice((10, 999, 1_000_000)),
            b"9" * 3_000_000,
            b" " * 3_000_000,
            b'"' + b"\\u0000" * 1_000_000 + b'"',
            b"{" + b",".join(b'"%d":{}' % n for n in range(200_000)) + b"}",
            b"",
        ]
    )
    before = _format._BEFORE
    if rng.random() < 0.7 and text.startswith(before):
        text = before + b"0" * 16 + text[len(before) + 16 :]
    write(file, text, rest)


def forge_bytes(rng: random.Random, path: Path) -> None:
    file = rng.choice([some_file(rng, path), path if path.is_file() else path / INDEX])
    data = bytearray(file.read_bytes())
    for _ in range(rng.choice((1, 3, 50))):
        data[rng.randrange(min(len(data), rng.choice((8, 500, 10**6))))] = rng.randrange(256)
    cut = len(data) if rng.random() < 0.7 else rng.randrange(len(data))
    file.write_bytes(data[:cut])


def forge_kind(rng: random.Random, path: Path) -> None:
    """Something else in the place of a file, of the index, or of it all."""
    place = rng.choice([path, some_file(rng, path), path if path.is_file() else path / INDEX])
    kept = place.with_name("kept")
    os.rename(place, kept)
    what = rng.randrange(10)
    if what == 0:
        place.mkdir()
    elif what == 1:
        os.mkfifo(place)
    elif what == 2:
        place.symlink_to(place.name)  # a loop
    elif what == 3:
        place.symlink_to("nowhere")
    elif what == 4:
        place.symlink_to(rng.choice(["/dev/zero", "/dev/full", "/dev/null", "/dev/tty"]))
    elif what == 5:
        with socket.socket(socket.AF_UNIX) as end:
            here = os.getcwd()  # its path must be short
            os.chdir(place.parent)
            end.bind(place.name)
            os.chdir(here)
    elif what == 6:
        place.symlink_to(kept.name)  # that is well
    elif what == 7:
        with open(place, "wb") as file:
            file.truncate(rng.choice((0, 7, 8, 10**6, 2**40)))
    elif what == 8:
        place.write_bytes((2**63).to_bytes(8, "little") * 2)
    else:
        os.rename(kept, place)
        with open(place if place.is_file() else place / INDEX, "r+b") as file:
            file.truncate(2**40)


EDITS: list[Edit] = [
    *(forge_header, forge_metadata, forge_everywhere, forge_config, forge_entry, forge_data),
    *(forge_index, forge_text, forge_bytes, forge_kind),
]


def said(path: Path, name: str) -> tuple[str, list[int], bytes]:
    """A tensor, as plainly as it can be read."""
    if path.is_dir():
        parts = json.loads((path / INDEX).read_bytes()).get("parts", {}).get(name)
        if parts is not None:
            return parts["dtype"], parts["shape"], put_together(path, name, parts)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    found = [own for file in files if (own := said_by(file, name)) is not None]
    assert found, f"{path}: no {name}"
    return found[0]


def said_by(file: Path, name: str) -> tuple[str, list[int], bytes] | None:
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    if name not in header:
        return None
    begin, end = header[name]["data_offsets"]
    return header[name]["dtype"], header[name]["shape"], data[start + begin : start + end]


def put_together(path: Path, name: str, parts: dict[str, Any]) -> bytes:
    """The bytes of a tensor in parts, rows in order."""
    pieces = [said_by(path / file, name) for file, _, _ in parts["pieces"]]
    data = b"".join(piece[2] for piece in pieces if piece is not None)
    if parts["buckets"] is None:
        return data
    stored = np.frombuffer(data, _format.DTYPES[parts["dtype"]]).reshape(parts["shape"])
    found, count = np.empty_like(stored), len(stored)
    found[Placement.even(count, 1).rows_at(np.arange(count))] = stored
    return found.tobytes()


def check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        dtype, shape, data = said(path, name)
        assert (array.dtype, array.shape) == (_format.DTYPES[dtype], tuple(shape)), name
        assert array.tobytes() == data, name


def variables() -> list[slotwise.Variable]:
    emb = slotwise.Variable(np.ones((20, 3), np.float32), name="emb")
    return [emb, slotwise.Variable(np.arange(4.0), name="b")]


def adam() -> Any:
    return slotwise.optimizers.Adam(0.5, sparse="lazy")


def rows() -> slotwise.IndexedSlices:
    return slotwise.IndexedSlices(np.ones((2, 3), np.float32), np.array([3, 7]), (20, 3))


def save(folder: Path) -> None:
    """A file, a folder, and a delta of the folder."""
    given, opt = variables(), adam()
    grads = (rows(), np.ones(4))
    slotwise.track(given[0])
    opt.apply_gradients(zip(grads, given, strict=True))
    what: dict[str, Any] = {"optimizer": opt, "variables": given, "extra": {"n": [1, {}]}}
    slotwise.save(folder / "one.safetensors", **what)
    slotwise.save(folder / "several", **what, max_shard_size=300)
    opt.apply_gradients(zip(grads, given, strict=True))
    slotwise.save_delta(folder / "delta.safetensors", since=folder / "several", **what)
    distributed.in_threads(2, save_parts, folder)


class Spread:
    """A table, a dense variable, and their optimizer, on ranks."""

    def __init__(self, comm: Any) -> None:
        self.emb, self.b = even(comm, np.ones((20, 3), np.float32)), variables()[1]
        self.optimizer = adam()
        self.what: dict[str, Any] = {
            "optimizer": self.optimizer,
            "variables": {"emb": self.emb, "b": self.b, "chunk": chunk_of(comm, np.ones((5, 5)))},
        }

    def step(self) -> None:
        own = np.flatnonzero(np.isin(self.emb.rows, [3, 7]))
        shape = self.emb.local.shape
        grad = slotwise.IndexedSlices(np.ones((len(own), 3), np.float32), own, shape)
        self.optimizer.apply_gradients([(grad, self.emb.local), (np.ones(4), self.b)])


def save_parts(comm: Any, folder: Path) -> None:
    """A folder of two ranks, and a delta of it."""
    job = Spread(comm)
    slotwise.track(job.emb.local)
    job.step()
    slotwise.save(folder / "parts", **job.what)
    job.step()
    slotwise.save_delta(folder / "parts-delta", since=folder / "parts", **job.what)


def load_parts(base: Path, deltas: list[Path]) -> None:
    """On ranks, of which some may be told of an error by others."""

    def load(comm: Any) -> None:
        slotwise.load(base, deltas=deltas, strict=False, **Spread(comm).what)

    try:
        distributed.in_threads(3, load)
    except distributed.DistributedError as error:
        assert "StateError" in str(error), error
        raise StateError(str(error)) from error


def open_all(folder: Path, path: Path) -> Counter[str]:
    """Every way to open it; returns how often each ended how."""
    is_delta, in_parts = "delta" in path.name, path.name.startswith("parts")
    deltas = [path] if is_delta else [folder / ("parts-delta" if in_parts else "delta.safetensors")]
    base = folder / ("parts" if in_parts else "several") if is_delta else path
    opt = adam()
    ways: dict[str, Callable[[], Any]] = {
        "reader": lambda: read_all(path),
        "load": lambda: check(path, slotwise.load(path).arrays) if not is_delta else None,
        "views": lambda: None if in_parts else check(path, slotwise.load(path, mmap=True).arrays),
        "ranks": lambda: load_parts(base, deltas) if in_parts else None,
        "unverified": lambda: slotwise.load(path, verify=False),
        "array": lambda: check(path, {"emb": slotwise.load_array(path, "emb")}),
        "rows": lambda: slotwise.load_array(path, "emb", rows=slice(1, 2)),
        "deltas": lambda: slotwise.load(base, deltas=deltas),
        "delta's array": lambda: slotwise.load_array(base, "emb", deltas=deltas),
        "variables": lambda: slotwise.load(base, variables=variables(), strict=False),
        "optimizer": lambda: slotwise.load(
            base, optimizer=opt, variables=variables(), strict=False, deltas=deltas
        ),
        "saved": lambda: slotwise.load(
            path, optimizer="saved", variables=variables(), strict=False, verify="during"
        ),
        "delta since it": lambda: slotwise.save_delta(
            folder / "next", since=path, variables={"y": np.ones(1)}
        ),
    }
    ends: Counter[str] = Counter()
    for way, call in ways.items():
        began = time.perf_counter()
        try:
            call()
            ends["read"] += 1
        except StateError as error:
            assert str(folder) in str(error), f"{way}: no path in: {error}"
            assert len(str(error)) < 3000, f"{way}: too long: {str(error)[:300]}"
            ends["refused"] += 1
        except KeyError as error:
            if "no tensor 'emb'" not in str(error) and "there is no 'emb'" not in str(error):
                raise AssertionError(f"{way}: {error!r}") from error
            ends["read"] += 1
        except BaseException as error:
            raise AssertionError(f"{way}: {type(error).__name__}: {str(error)[:300]}") from error
        took = time.perf_counter() - began
        assert took < SECONDS, f"{way}: took {took:.0f} s"
    return ends


def read_all(path: Path) -> None:
    with Reader(path) as reader:
        check(path, {name: reader.read(name) for name in reader.names})


def main(folder: str, count: str, seed: str) -> None:
    good, forged = Path(folder, "good"), Path(folder, "forged")
    good.mkdir()
    save(good)
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    for number in range(int(count)):
        rng = random.Random(f"{seed} {number}")
        shutil.copytree(good, forged)
        name = rng.choice(NAMES)
        edit = rng.choice(EDITS)
        edit(rng, forged / name)
        try:
            ends += open_all(forged, forged / name)
        except AssertionError as error:
            cause = error.__cause__
            where = traceback.format_tb(cause.__traceback__)[-1] if cause else ""
            wrong.append(f"{number}, {edit.__name__} of {name}: {error}\n{where}")
        shutil.rmtree(forged)
    print(*wrong, sep="\n")
    print(f"{count} forgeries with seed {seed}: {dict(ends)}, {len(wrong)} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
