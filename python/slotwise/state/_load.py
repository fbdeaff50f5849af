"""Loading checkpoints, by name, after they were verified."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slotwise import _tracking
from slotwise.optimizers import _registry, _state_dict
from slotwise.optimizers._state_dict import Array, Names, Report
from slotwise.state import _threads
from slotwise.state._errors import StateError
from slotwise.state._memory import IntoArray, IntoRows
from slotwise.state._reader import Part, Reader
from slotwise.state._save import Path_, check_optimizer, restart

Verify = Literal["before", "during"] | Literal[False]
Kind = tuple[tuple[int, ...], np.dtype[Any]]


@dataclass
class State:
    """What was loaded.

    Attributes:
        id: of the checkpoint; of the last delta, if there are any.
        config: the optimizer's class and config, for `slotwise.optimizers.deserialize`.
        extra: as it was saved.
        optimizer: the one that was given, or made.
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
    path: Path_,
    *,
    optimizer: Any = None,
    variables: Names | Iterable[Any] | None = None,
    deltas: Sequence[Path_] = (),
    strict: bool = True,
    rename: Mapping[str, str] | None = None,
    custom_objects: dict[str, type[Any]] | None = None,
    verify: Verify = "before",
    mmap: bool = False,
    progress: bool | None = None,
) -> State:
    """Read a checkpoint into variables and an optimizer, by name. No code is run.

    Args:
        path: what `slotwise.save` wrote.
        optimizer: an optimizer, new or used; ``"saved"`` for a new one of the class and config that
            were saved; None to leave its state out.
        variables: Variables, or a dict from names to Variables or arrays; None to leave their
            values out. With neither, all tensors are returned in ``arrays``.
        deltas: what `slotwise.save_delta` wrote since, in order.
        strict: whether a name, shape, dtype or setting that does not fit is an error; else it is
            left out and reported.
        rename: from names in the checkpoint to those here, of variables (their slots follow) or of
            any tensor.
        custom_objects: classes of your own by name, for ``optimizer="saved"``.
        verify: ``"before"`` reads all once to verify the checksums, then again to load, so that
            nothing is written from a damaged file; ``"during"`` reads once, as is always done for
            ``arrays``; False does not verify.
        mmap: return views of the file in ``arrays``.
        progress: whether to show a bar (with tqdm installed); by default, if it takes long.

    Raises:
        StateError: no checkpoint, or a damaged one; deltas that do not follow one another. Nothing
            was written, but for damage found with ``verify="during"``, as the text says then.
        ValueError: something does not fit, with ``strict``. Nothing was written.
        TypeError: arguments that do not fit.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> path = tempfile.mkdtemp() + "/w.safetensors"
        >>> _ = slotwise.save(path, variables={"w": np.ones(3), "b": np.zeros(2)})
        >>> w, names = np.zeros(3), {"w": "weights"}
        >>> state = slotwise.load(path, variables={"weights": w}, rename=names, strict=False)
        >>> w, str(state.report)
        (array([1., 1., 1.]), 'unexpected: b')
    """
    if verify not in ("before", "during", False):
        raise ValueError(f"load: verify: expected 'before', 'during' or False, got {verify!r}")
    if mmap and (deltas or optimizer is not None or variables is not None):
        raise ValueError("load: mmap: expected neither variables, an optimizer nor deltas")
    names = None if variables is None else _state_dict.named(variables)
    with ExitStack() as stack:
        layers = [stack.enter_context(Reader(p)) for p in (path, *deltas)]
        content = _Content(layers, rename or {})
        last = layers[-1].metadata
        if isinstance(optimizer, str):
            if optimizer != "saved":
                raise ValueError(f"load: optimizer: expected 'saved', got {optimizer!r}")
            optimizer = _made(layers[-1], custom_objects)
        if optimizer is not None:
            check_optimizer("load", optimizer)
        if mmap:
            arrays = {n: layers[0].read(n, mmap=True, verify=bool(verify)) for n in content.names}
            return State(last["id"], last["config"], last["extra"], None, Report(), arrays)
        targets, report = content.targets(optimizer, names)
        if strict and report:
            raise ValueError(f"load: {path}: {report}")
        arrays = {}
        if optimizer is None and names is None:  # new ones: there is nothing to protect
            targets = arrays = {n: np.empty(*content.kind(n)) for n in content.names}
            verify = verify and "during"
        fitting = {n: x for n, x in targets.items() if content.has(n)}
        fitting = {n: x for n, x in fitting.items() if n not in report.mismatched}
        content.fill(fitting, verify, progress)
        _track(names or {}, last["id"], fitting, optimizer)
        return State(last["id"], last["config"], last["extra"], optimizer, report, arrays)


def load_array(
    path: Path_,
    name: str,
    rows: slice | None = None,
    mmap: bool = False,
    verify: bool = True,
    deltas: Sequence[Path_] = (),
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
        StateError: no checkpoint, or a damaged one; deltas that do not follow one another.
        ValueError: rows that are no such slice; views of deltas.

    Example:
        >>> import numpy as np, slotwise, tempfile
        >>> folder = tempfile.mkdtemp() + "/step-1"
        >>> _ = slotwise.save(folder, variables={"emb": np.eye(3, dtype=np.float32)})
        >>> slotwise.load_array(folder, "emb", rows=slice(1, 2), mmap=True)
        array([[0., 1., 0.]], dtype=float32)
    """
    if mmap and deltas:
        raise ValueError("load_array: mmap: expected no deltas")
    with ExitStack() as stack:
        layers = [stack.enter_context(Reader(p)) for p in (path, *deltas)]
        if deltas:
            return _Content(layers, {}).read(name, rows, verify)
        return layers[0].read(name, rows, mmap, verify)


class _Content:
    """The tensors of a base and its deltas, by the names that they have here."""

    def __init__(self, layers: Sequence[Reader], rename: Mapping[str, str]) -> None:
        self._layers = layers
        parent = None
        for layer in layers:
            _check_chain(layer, parent, layers[0])
            parent = layer.metadata["id"]
        last = layers[-1].metadata
        self._in_file = {_renamed(n, rename): n for n in (*last["variables"], *last["state"])}
        self._variables = {_renamed(n, rename) for n in last["variables"]}
        if len(self._in_file) < len(last["variables"]) + len(last["state"]):
            raise ValueError("load: rename: expected names that differ")
        self._bases = {name: self._base(name) for name in self._in_file}

    @property
    def names(self) -> list[str]:
        return [*self._in_file]

    def has(self, name: str) -> bool:
        return name in self._in_file

    def _base(self, name: str) -> int:
        """The latest layer that has the whole tensor."""
        own = self._in_file[name]
        for number in reversed(range(len(self._layers))):
            layer = self._layers[number]
            if own not in layer:
                break
            if own not in layer.metadata["rows"]:
                return number
        raise StateError(f"{self._layers[0].path}: '{own}' is missing, which deltas change")

    def kind(self, name: str) -> Kind:
        """Shape and dtype."""
        tensor = self._layers[self._bases[name]].tensor(self._in_file[name])
        return tensor.shape, tensor.dtype

    def read(self, name: str, rows: slice | None, verify: bool) -> Array:
        """One tensor, or rows of it."""
        if name not in self._in_file:
            raise KeyError(f"{self._layers[-1].path}: no tensor '{name}'")
        kind = self.kind(name)
        own, base = self._in_file[name], self._bases[name]
        array = self._layers[base].read(own, rows, verify=verify)
        begin = rows.indices(kind[0][0])[0] if rows is not None else 0
        for layer in self._layers[base + 1 :]:
            which = layer.metadata["rows"][own]
            found = self._row_ids(layer, {which}, verify)[which]
            ids = _checked(found, kind, layer, own) - begin
            inside = (ids >= 0) & (ids < len(array))
            array[ids[inside]] = layer.read(own, verify=verify)[inside]
        return array

    def targets(self, optimizer: Any, names: Names | None) -> tuple[dict[str, Array], Report]:
        """The arrays to fill, and what does not fit them."""
        given: dict[str, tuple[Any, Any]] = {}
        targets: dict[str, Array] = {}
        report = Report()
        if names is not None:
            given |= {n: self.kind(n) for n in self._in_file if n in self._variables}
            targets |= {n: _state_dict.array_of(value) for n, value in names.items()}
        if optimizer is not None:
            own = {n: self.kind(n) for n in self._in_file if n not in self._variables}
            given |= own
            state = _state_dict.prepare(optimizer, own, names or {}).arrays
            _state_dict.refuse_repeated(targets.keys() & state.keys())
            targets |= state
            report.config = _state_dict.compare_config(
                optimizer, self._layers[-1].metadata["config"]
            )
        found = _state_dict.match(given, targets)
        found.config = report.config
        for name, array in targets.items():
            if not array.flags.writeable:
                raise ValueError(f"load: '{name}': expected a writable array")
        return targets, found

    def fill(self, targets: Mapping[str, Array], verify: Verify, progress: bool | None) -> None:
        rows = {
            id(layer): self._row_ids(layer, set(layer.metadata["rows"].values()), bool(verify))
            for layer in self._layers
        }
        plan: list[tuple[Reader, list[Part]]] = []
        size = 0
        for number, layer in enumerate(self._layers):
            parts = []
            for name, array in targets.items():
                own = self._in_file[name]
                if number < self._bases[name]:
                    continue
                ids = layer.metadata["rows"].get(own)
                tensor = layer.tensor(own)
                if ids is None:
                    sink: Any = IntoArray(array)
                else:
                    kind = array.shape, array.dtype
                    sink = IntoRows(array, _checked(rows[id(layer)][ids], kind, layer, own))
                size += tensor.size
                parts.append(Part(tensor, 0, tensor.size, sink))
            plan.append((layer, parts))
        path = self._layers[0].path
        if verify == "before":
            with _threads.progress_bar(f"verify {path}", size, progress) as advance:
                for layer, parts in plan:
                    layer.fill([part._replace(sink=None) for part in parts], True, advance)
        with _threads.progress_bar(f"load {path}", size, progress) as advance:
            try:
                for layer, parts in plan:
                    layer.fill(parts, verify == "during", advance)
            except (OSError, StateError) as error:
                raise StateError(f"{error}; arrays were overwritten in part") from error

    @staticmethod
    def _row_ids(layer: Reader, names: set[str], verify: bool) -> dict[str, Array]:
        for name in names:
            if name not in layer:
                raise StateError(f"{layer.path}: '{name}' is missing")
        return {name: layer.read(name, verify=verify) for name in names}


def _made(layer: Reader, custom_objects: dict[str, type[Any]] | None) -> Any:
    """The optimizer that was saved, without its state."""
    config = layer.metadata["config"]
    if config is None:
        raise StateError(f"{layer.path}: optimizer: expected one, but it was saved without")
    try:
        return _registry.deserialize(config, custom_objects)
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


def _checked(ids: Array, kind: Kind, layer: Reader, name: str) -> Array:
    """The rows of a tensor of a shape and dtype that a delta holds."""
    shape, dtype = kind
    is_ascending = ids.ndim == 1 and ids.dtype == np.int64 and bool((ids[1:] > ids[:-1]).all())
    if not (shape and is_ascending) or (ids.size and not 0 <= ids[0] <= ids[-1] < shape[0]):
        raise StateError(f"{layer.path}: '{name}': expected ascending rows within {shape}")
    tensor = layer.tensor(name)
    if (tensor.shape, tensor.dtype) != ((ids.size, *shape[1:]), dtype):
        raise StateError(f"{layer.path}: '{name}' does not fit its rows")
    return ids


def _renamed(name: str, rename: Mapping[str, str]) -> str:
    if name in rename:
        return rename[name]
    owner = _state_dict.owner_of(name, rename)
    return name if owner is None else rename[owner] + name[len(owner) :]


def _track(
    names: Mapping[str, Any], identity: str, loaded: Mapping[str, Array], optimizer: Any
) -> None:
    """Tracked rows count from what was loaded, if all of the variable was."""
    state = _state_dict.Entries({}, {})
    if optimizer is not None:
        state = _state_dict.entries(optimizer, names)
    for name, value in names.items():
        array = _state_dict.array_of(value)
        touched = _tracking.find(array)
        if touched is None:
            continue
        slots = [slot for slot, owner in state.owners.items() if owner is array]
        own = {name: array, **{slot: state.arrays[slot] for slot in slots}}
        if own.keys() <= loaded.keys():
            restart(touched, identity, own)
        else:
            touched.mark()
