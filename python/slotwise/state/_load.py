# SPDX-License-Identifier: Apache-2.0
"""Loading checkpoints, by name, after they were verified."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from slotwise import _match, _names, _stateful, _tracking
from slotwise._arguments import converted, flag_of, items_of, named_of, shown, text_of
from slotwise._match import Report
from slotwise._names import Array, Given, Kind, Names, array_of, owner_of, prefix_of
from slotwise._stateful import CLOCK, STEPS, Group, Prepared
from slotwise.distributed import DistributedError
from slotwise.distributed._parts import Parted
from slotwise.distributed._placement import Placement
from slotwise.optimizers import _configs
from slotwise.optimizers._kinds import PATH
from slotwise.state import _threads
from slotwise.state._errors import StateError
from slotwise.state._files import AnyPath
from slotwise.state._format import Tensor
from slotwise.state._incoming import Incoming, Shares
from slotwise.state._index import Parts
from slotwise.state._memory import IntoArray, IntoRows, IntoStored, Sink
from slotwise.state._ranks import Exchange, Ranks
from slotwise.state._reader import Part, Reader
from slotwise.state._snapshot import Touched, communicators, count_from, excluding_steps, grouped
from slotwise.state._spread import Dealt, Own, deal, kind_of, parted_of, ranks_of, same_everywhere

Verify = Literal["before", "during"] | Literal[False]
_IN_PART = "arrays were overwritten in part"


@dataclass
class Loaded:
    """What was loaded.

    Attributes:
        id: of the checkpoint; of the last delta, if there are any.
        config: the optimizer's class and config, for `slotwise.optimizers.deserialize`; of several,
            a dict of these by name, as the only item of another dict: ``{"optimizers": ...}``.
        extra: as it was saved.
        optimizer: the one that was given, or made; or the dict of several.
        report: what did not fit.
        arrays: all tensors by name, where neither optimizer nor variables were given; else none.
    """

    id: str
    config: Any
    extra: Any
    optimizer: Any
    report: Report
    arrays: dict[str, Array]


def load(
    path: AnyPath,
    *,
    optimizer: Any = None,
    variables: Given = None,
    deltas: Sequence[AnyPath] = (),
    strict: bool = True,
    rename: Mapping[str, str] | None = None,
    custom_objects: dict[str, type[Any]] | None = None,
    verify: Verify = "before",
    mmap: bool = False,
    progress: bool | None = None,
) -> Loaded:
    """Read a checkpoint into variables and an optimizer, by name. No code is run.

    Where tables or slots are spread over ranks, all ranks call it, with the same arguments, and
    read it together; any number of ranks may have saved it, or one process.

    Args:
        path: what `slotwise.save` wrote.
        optimizer: an optimizer, new or used; a dict of several, by the names that they were saved
            with; ``"saved"`` for new ones of the classes and configs that were saved; None to leave
            their state out.
        variables: Variables (or tables on ranks), a dict from names to these, arrays or PyTorch's
            tensors, or a module of PyTorch; None to leave their values out. With neither, all
            tensors are returned in ``arrays``. Those that are trained and that the checkpoint has
            no slots of, while it has some of others, begin anew: they are in ``report.fresh``.
        deltas: what `slotwise.save_delta` wrote since, in order.
        strict: whether a name, shape, dtype or setting that does not fit is an error; else it is
            left out and reported.
        rename: from names in the checkpoint to those here, of variables (their slots follow) or of
            any tensor.
        custom_objects: classes of your own by name, for ``optimizer="saved"``.
        verify: ``"before"`` reads all once to verify the checksums, then again to load, so that
            nothing is written from a damaged file; ``"during"`` reads once, as is always done for
            ``arrays``; False does not verify.
        mmap: return views of the file in ``arrays``; not of tensors in parts.
        progress: whether to show a bar (with tqdm installed); by default, if it takes long.

    Raises:
        StateError: no checkpoint, or a damaged one; deltas that do not follow one another. Nothing
            was written, except for damage found with ``verify="during"``, as the text says then.
        ValueError: something does not fit, with ``strict``; there is no optimizer for ``"saved"``.
            Nothing was written, and an optimizer that was not built is not.
        TypeError: arguments that do not fit.
        DistributedError: any of these on one of several ranks; all raise it.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> path = tempfile.mkdtemp() + "/w.safetensors"
        >>> _ = slotwise.save(path, variables={"w": np.ones(3), "b": np.zeros(2)})
        >>> w, names = np.zeros(3), {"w": "weights"}
        >>> state = slotwise.load(path, variables={"weights": w}, rename=names, strict=False)
        >>> w, str(state.report)
        (array([1., 1., 1.]), 'unexpected: b')
    """
    path, deltas = _paths("load", path, deltas)
    rename = {} if rename is None else named_of("load", "rename", rename)
    for new in rename.values():
        text_of("load", "values of rename", new)
    strict, mmap = flag_of("load", "strict", strict), flag_of("load", "mmap", mmap)
    progress = None if progress is None else flag_of("load", "progress", progress)
    if not isinstance(verify, (str, bool)) or verify not in ("before", "during", False):
        raise ValueError(f"load: verify: expected 'before', 'during' or False, got {shown(verify)}")
    if mmap and (deltas or optimizer is not None or variables is not None):
        raise ValueError(
            "load: mmap: expected False with variables, an optimizer or deltas, got True"
        )
    if isinstance(optimizer, str) and optimizer != "saved":
        raise ValueError(f"load: optimizer: expected 'saved', got {optimizer!r}")
    names = None if variables is None else _names.named("load", variables)
    comms = communicators("load", optimizer, names)
    ranks = ranks_of("load", comms)
    with ExitStack() as stack:

        def begin() -> tuple[Content, Any]:
            layers = [stack.enter_context(Reader(p)) for p in (path, *deltas)]
            is_saved = isinstance(optimizer, str)
            made = _made(layers[-1], custom_objects) if is_saved else optimizer
            return Content(layers, rename), made

        (content, optimizer), _ = ranks.agree(begin)
        layers, last = content.layers, content.layers[-1].metadata
        if optimizer is None and variables is None:
            behind = rows_behind(layers[-1])
            for name in behind:
                refuse_behind("load", layers[-1].path, behind, name)
        if mmap:
            arrays = {n: layers[0].read(n, mmap=True, verify=bool(verify)) for n in content.names}
            return Loaded(last["id"], last["config"], last["extra"], None, Report(), arrays)
        if optimizer is None and variables is None:  # new ones: there is nothing to protect
            arrays = {n: np.empty(*content.kind(n)) for n in content.names}
            content.fill(arrays, verify and "during", progress)
            return Loaded(last["id"], last["config"], last["extra"], None, Report(), arrays)
        group = grouped("load", optimizer)

        def prepare() -> tuple[Touched, _Targets]:
            tracked = stack.enter_context(excluding_steps(group, names or {}))
            stack.enter_context(_stateful.written(group.values()))
            found = content.targets(group, names)
            if strict and found.report:
                raise ValueError(f"load: {path}: {found.report}")
            content.require_whole(found.fitting)
            for full, each in found.prepared.put_off.items():
                each.check(content.read(f"{full}/{CLOCK}", None, True))
            _stateful.bring_to_now(group, names or {})
            _names.require_current("load", found.arrays)
            return tracked, found

        (tracked, found), _ = ranks.agree(prepare)
        kinds, parted, report, fitting = found.kinds, found.parted, found.report, found.fitting
        comms += [part.comm for part in parted.values()]  # of slots that were made just now, too
        ranks = ranks_of("load", comms)
        try:
            if parted or ranks.size > 1:
                told = {"id": last["id"], "report": str(report), "strict": strict, "verify": verify}
                told |= {"names": [*fitting], "parts": [*parted]}
                told |= {f"'{name}'": kind.told for name, kind in kinds.items()}
                same_everywhere("load", ranks, told)
                own = {n: Own(kinds[n], part.runs) for n, part in parted.items()}
                dealt = deal("load", ranks, own)
                content.fill_ranks(ranks, fitting, kinds, dealt, verify, progress)
            else:
                content.fill(fitting, verify, progress)
        except BaseException:
            for touched in tracked:
                touched.mark()
            raise
        found.prepared.finish()
        _track(group, names or {}, last["id"], fitting)
        return Loaded(last["id"], last["config"], last["extra"], optimizer, report, {})


def load_array(
    path: AnyPath,
    name: str,
    rows: slice | None = None,
    mmap: bool = False,
    verify: bool = True,
    deltas: Sequence[AnyPath] = (),
) -> Array:
    """One variable or slot of a checkpoint, or rows of it; nothing else is read.

    Args:
        path: the file or folder; any safetensors file will do.
        name: ``"emb"``, ``"emb/m"``, ``"iterations"``.
        rows: a slice of step 1.
        mmap: whether to return a read-only view of the file instead of a copy.
        verify: whether to verify the checksums of what is read (of views, now, in one pass).
        deltas: what `slotwise.save_delta` wrote since, in order; of these, all touched rows of the
            tensor are read.

    Raises:
        KeyError: there is none of this name.
        StateError: no checkpoint, or a damaged one; deltas that do not follow one another; rows
            that have steps to make up for (``sparse="deferred"``).
        ValueError: rows that are no such slice; views of deltas, or of a tensor in parts.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> folder = tempfile.mkdtemp() + "/step-1"
        >>> _ = slotwise.save(folder, variables={"emb": np.eye(3, dtype=np.float32)})
        >>> slotwise.load_array(folder, "emb", rows=slice(1, 2), mmap=True)
        array([[0., 1., 0.]], dtype=float32)
    """
    path, deltas = _paths("load_array", path, deltas)
    text_of("load_array", "name", name)
    if isinstance(rows, slice):
        converted("load_array", "rows", "a slice of integers", rows, lambda rows: rows.indices(0))
    mmap = flag_of("load_array", "mmap", mmap)
    verify = flag_of("load_array", "verify", verify)
    if mmap and deltas:
        raise ValueError("load_array: mmap: expected False with deltas, got True")
    with ExitStack() as stack:
        layers = [stack.enter_context(Reader(p)) for p in (path, *deltas)]
        refuse_behind("load_array", layers[-1].path, rows_behind(layers[-1]), name)
        if deltas:
            return Content(layers, {}).read(name, rows, verify)
        return layers[0].read(name, rows, mmap, verify)


def _paths(op: str, path: Any, deltas: Any) -> tuple[str, list[str]]:
    found = enumerate(items_of(op, "deltas", "paths", deltas))
    return PATH(op, "path", path), [PATH(op, f"deltas[{n}]", each) for n, each in found]


class _Targets(NamedTuple):
    """What is to be filled.

    Attributes:
        arrays: by name.
        kinds: of the wholes that these are, or are parts of.
        parted: those that are parts.
        prepared: what begins anew.
        report: what does not fit.
        fitting: of the arrays, those that are filled.
    """

    arrays: dict[str, Array]
    kinds: dict[str, Parts]
    parted: dict[str, Parted]
    prepared: Prepared
    report: Report
    fitting: dict[str, Array]


class Content:
    """The tensors of a base and its deltas, by the names that they have here."""

    def __init__(self, layers: Sequence[Reader], rename: Mapping[str, str]) -> None:
        self.layers = layers
        parent = None
        for layer in layers:
            _check_chain(layer, parent, layers[0])
            parent = layer.metadata["id"]
        last = layers[-1].metadata
        prefixes = _configs.prefixes(last["config"])
        names = {n: _renamed(n, rename) for n in last["variables"]}
        names |= {n: _renamed_state(n, prefixes, rename) for n in last["state"]}
        self._here, self._in_file = names, {here: n for n, here in names.items()}
        self._variables = {names[n] for n in last["variables"]}
        if len(self._in_file) < len(last["variables"]) + len(last["state"]):
            raise ValueError("load: rename: expected names that differ")
        self.bases = {name: self._base(name) for name in self._in_file}

    @property
    def names(self) -> list[str]:
        return [*self._in_file]

    def has(self, name: str) -> bool:
        return name in self._in_file

    def _base(self, name: str) -> int:
        """The latest layer that has the whole tensor."""
        own = self._in_file[name]
        for number in reversed(range(len(self.layers))):
            layer = self.layers[number]
            if own not in layer:
                break
            if own not in layer.metadata["rows"]:
                return number
        raise StateError(f"{self.layers[0].path}: '{own}' is missing, which deltas change")

    def kind(self, name: str) -> Kind:
        """Shape and dtype."""
        tensor = self.layers[self.bases[name]].tensor(self._in_file[name])
        return tensor.shape, tensor.dtype

    def read(self, name: str, rows: slice | None, verify: bool) -> Array:
        """One tensor, or rows of it."""
        if name not in self._in_file:
            raise KeyError(f"{self.layers[-1].path}: no tensor '{name}'")
        kind = self.kind(name)
        own, base = self._in_file[name], self.bases[name]
        array = self.layers[base].read(own, rows, verify=verify)
        begin = rows.indices(kind[0][0])[0] if rows is not None else 0
        for layer in self.layers[base + 1 :]:
            which = layer.metadata["rows"][own]
            found = self._row_ids(layer, {which}, verify)[which]
            ids = checked_rows(found, kind, layer, own) - begin
            inside = (ids >= 0) & (ids < len(array))
            array[ids[inside]] = layer.read(own, verify=verify)[inside]
        return array

    def targets(self, group: Group, names: Names | None) -> _Targets:
        """The arrays to fill, and what does not fit them."""
        given: dict[str, Kind] = {}
        targets: dict[str, Array] = {}
        if names is not None:
            given |= {n: self.kind(n) for n in self._in_file if n in self._variables}
            targets |= {n: array_of(value) for n, value in names.items()}
        differing = _configs.compare_config("load", group, self.layers[-1].metadata["config"])
        prepared = Prepared({}, {}, {}, {})
        if group:
            own = {n: self.kind(n) for n in self._in_file if n not in self._variables}
            given |= own
            prepared = _stateful.prepare("load", group, own, names or {})
            _names.refuse_repeated("load", targets.keys() & prepared.arrays.keys())
            targets |= prepared.arrays
        parted = parted_of(targets, prepared.owners)
        kinds = {n: Parts(x.dtype, x.shape, False) for n, x in targets.items()}
        kinds |= {n: kind_of("load", n, targets[n], part) for n, part in parted.items()}
        report = _match.match(given, kinds)
        report.config, report.fresh = differing, [*prepared.fresh]
        for name, array in targets.items():
            if not array.flags.writeable:
                raise ValueError(f"load: '{name}': expected a writable array, got a read-only one")
        fitting = {n: x for n, x in targets.items() if n in self._in_file}
        fitting = {n: x for n, x in fitting.items() if n not in report.mismatched}
        return _Targets(targets, kinds, parted, prepared, report, fitting)

    def require_whole(self, wanted: Collection[str]) -> None:
        """Raise if just a part is to be loaded of what tells how rows are now."""
        for variable, own in _put_off(self.layers[-1]):
            here = {self._here[name] for name in own if name in self._here}
            if (left_out := here - set(wanted)) and left_out != here:
                raise ValueError(
                    f"load: {self.layers[-1].path}: rows of '{variable}' have steps to make up "
                    "for, by its optimizer: expected both to be loaded, got no place for "
                    f"{', '.join(sorted(left_out))}"
                )

    def _plan(
        self, names: Iterable[str], verify: bool
    ) -> Iterator[tuple[Reader, list[tuple[str, Tensor, Array | None]]]]:
        """What is read of each layer; of rows, which they are."""
        wanted = [*names]
        for number, layer in enumerate(self.layers):
            rows = self._row_ids(layer, {*layer.metadata["rows"].values()}, verify)
            found = []
            for name in wanted:
                own = self._in_file[name]
                if number < self.bases[name]:
                    continue
                ids = layer.metadata["rows"].get(own)
                if ids is not None:
                    ids = checked_rows(rows[ids], self.kind(name), layer, own)
                found.append((name, layer.tensor(own), ids))
            yield layer, found

    def fill_ranks(
        self,
        ranks: Ranks,
        targets: Mapping[str, Array],
        kinds: Mapping[str, Parts],
        dealt: Mapping[str, Dealt],
        verify: Verify,
        progress: bool | None,
    ) -> None:
        """Read a share of all tensors on each rank, and send each what is its own."""

        def begin() -> list[Shares]:
            return [
                Shares(
                    ranks,
                    layer,
                    [
                        Incoming(tensor, targets[n], kinds[n], dealt.get(n), ids)
                        for n, tensor, ids in found
                    ],
                )
                for layer, found in self._plan(targets, bool(verify))
            ]

        plan, _ = ranks.agree(begin)
        path, size = self.layers[0].path, sum(own.size for own in plan)
        wanted = progress if ranks.rank == 0 else False

        def check() -> Exchange:
            with _threads.progress_bar(f"verify {path}", size, wanted) as advance:
                for own in plan:
                    yield from own.verify(advance)

        def load() -> Exchange:
            with _threads.progress_bar(f"load {path}", size, wanted) as advance:
                for own in plan:
                    yield from own.load(verify == "during", advance)

        if verify == "before":
            ranks.do(check())
        try:
            ranks.do(load())
        except (OSError, StateError) as error:
            raise StateError(f"{error}; {_IN_PART}") from error
        except DistributedError as error:
            raise DistributedError(f"{error}; {_IN_PART}") from error

    def fill(self, targets: Mapping[str, Array], verify: Verify, progress: bool | None) -> None:
        plan: list[tuple[Reader, list[Part]]] = []
        for layer, found in self._plan(targets, bool(verify)):
            parts = []
            for name, tensor, ids in found:
                sink = _sink(targets[name], tensor, ids)
                parts.append(Part(tensor, 0, tensor.size, sink))
            plan.append((layer, parts))
        size = sum(part.tensor.size for _, parts in plan for part in parts)
        path = self.layers[0].path
        if verify == "before":
            with _threads.progress_bar(f"verify {path}", size, progress) as advance:
                for layer, parts in plan:
                    layer.fill([part._replace(sink=None) for part in parts], True, advance)
        with _threads.progress_bar(f"load {path}", size, progress) as advance:
            try:
                for layer, parts in plan:
                    layer.fill(parts, verify == "during", advance)
            except (OSError, StateError) as error:
                raise StateError(f"{error}; {_IN_PART}") from error

    @staticmethod
    def _row_ids(layer: Reader, names: set[str], verify: bool) -> dict[str, Array]:
        for name in names:
            if name not in layer:
                raise StateError(f"{layer.path}: '{name}' is missing")
        return {name: layer.read(name, verify=verify) for name in names}


def _put_off(layer: Reader) -> Iterator[tuple[str, set[str]]]:
    """Variables of which rows have steps to make up for; all that belongs to each, by name."""
    if "id" not in layer.metadata:  # slotwise did not write it
        return
    variables, state = layer.metadata["variables"], layer.metadata["state"]
    prefixes = _configs.prefixes(layer.metadata["config"])
    for name in state:
        base, _, last = name.rpartition("/")
        if last == STEPS:
            prefix = prefix_of(base, prefixes)
            owners = {base: None, **{prefix + v: None for v in variables}}
            variable = base.removeprefix(prefix)
            yield variable, {variable, *(n for n in state if owner_of(n, owners) == base)}


def rows_behind(layer: Reader) -> dict[str, str]:
    """The tensors whose rows have steps to make up for, and the variables that these belong to."""
    return {
        name: variable
        for variable, own in _put_off(layer)
        for name in own
        if name.rpartition("/")[2] not in (STEPS, CLOCK)
    }


def refuse_behind(op: str, path: object, behind: Mapping[str, str], name: str) -> None:
    """Raise if rows of a tensor are to be shown that have steps to make up for."""
    if name in behind:
        raise StateError(
            f"{path}: {op}: expected rows that are up to date, got those of '{behind[name]}', "
            "which have steps to make up for: load it into a Variable with its optimizer, or save "
            "it after the optimizer's flush()"
        )


def _sink(array: Array, tensor: Tensor, rows: Array | None) -> Sink:
    """Where a tensor of a file goes, in an array that is whole."""
    if rows is not None:
        return IntoRows(array, rows)
    if tensor.buckets:
        return IntoStored(array, Placement.even(len(array), 1))
    return IntoArray(array)


def _made(layer: Reader, custom_objects: dict[str, type[Any]] | None) -> Any:
    """The optimizer that was saved, or the dict of several, without state."""
    config = layer.metadata["config"]
    if config is None:
        raise StateError(f"{layer.path}: optimizer: expected one, but it was saved without")
    try:
        return _configs.from_config(config, custom_objects)
    except Exception as error:  # of whatever class the config names
        text = str(error)[:1000]
        raise StateError(f"{layer.path}: the optimizer's config: {text}") from error


def _check_chain(layer: Reader, parent: str | None, base: Reader) -> None:
    if "id" not in layer.metadata:
        raise StateError(
            f"{layer.path}: slotwise did not write it; slotwise.state.Reader reads its tensors"
        )
    expected = layer.metadata["parent"]
    if expected == parent:
        return
    if layer is base:
        raise StateError(f"{layer.path}: it is a delta since checkpoint {expected}, not a base")
    raise StateError(f"{layer.path}: expected a delta since {parent}, is one since {expected}")


def checked_rows(ids: Array, kind: Kind, layer: Reader, name: str) -> Array:
    """The rows of a tensor of a shape and dtype that a delta holds."""
    shape, dtype = kind
    are_rows = bool(shape) and ids.ndim == 1 and ids.dtype == np.int64
    are_rows = are_rows and bool(((ids >= 0) & (ids < shape[0])).all())
    places = ids
    if are_rows and layer.metadata["rows"][name] in layer.metadata["parts"]:
        places = Placement.even(shape[0], 1).places(ids)
    if not are_rows or not (places[1:] > places[:-1]).all():
        raise StateError(f"{layer.path}: '{name}': expected ascending rows within {shape}")
    tensor = layer.tensor(name)
    if (tensor.shape, tensor.dtype) != ((ids.size, *shape[1:]), dtype):
        raise StateError(f"{layer.path}: '{name}' does not fit its rows")
    return ids


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    if name in rename:
        return rename[name]
    owner = owner_of(name, rename)
    return name if owner is None else rename[owner] + name[len(owner) :]


def _renamed_state(name: str, prefixes: Iterable[str], rename: Mapping[str, str]) -> str:
    """The name that state has here, after the optimizer's prefix, if it has one."""
    if name in rename:
        return rename[name]
    prefix = prefix_of(name, prefixes)
    return prefix + _renamed(name.removeprefix(prefix), rename)


def _track(
    group: Group, names: Mapping[str, Any], identity: str, loaded: Mapping[str, Array]
) -> None:
    """Tracked rows count from what was loaded, if all of the variable was."""
    state = _stateful.entries("load", group, names)
    for name, value in names.items():
        array = array_of(value)
        touched = _tracking.find(array)
        if touched is None:
            continue
        slots = [slot for slot, owner in state.owners.items() if owner is array]
        own = {name: array, **{slot: state.arrays[slot] for slot in slots}}
        if own.keys() <= loaded.keys():
            count_from(touched, identity, own)
        else:
            touched.mark()
