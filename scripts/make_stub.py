# SPDX-License-Identifier: Apache-2.0
"""Write what names all that there are: stubs of the extension and of the ops, lists of optimizers.

The stubs are of what is made at import, from the extension's registry. An API of optimizers exports
the classes that the modules of its folder define.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from slotwise import _core, optimizers, raw_ops
from slotwise.raw_ops import _make

PACKAGE = Path(__file__).parents[1] / "python" / "slotwise"
LICENSE = "# SPDX-License-Identifier: Apache-2.0\n"

HEAD = '''"""Compiled kernels of slotwise (written by scripts/make_stub.py)."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Var = TypeVar("_Var")

RULES: tuple[dict[str, Any], ...]

def targets() -> list[str]: ...
def active_target() -> str: ...
def set_target(name: str) -> bool: ...
def num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def share_team_of(library: str) -> bool: ...
def owned_by_threads() -> list[Any]: ...
def build_config() -> dict[str, Any]: ...
def allocate(bytes: int) -> NDArray[np.uint8]: ...
def are_all(numbers: list[NDArray[Any]], value: float) -> bool: ...
def are_held(
    tensors: list[Any],
    states: list[dict[str, Any]],
    names: tuple[str, ...],
    arrays: list[NDArray[Any]],
) -> bool: ...
def as_array(op: str, name: str, value: Any) -> NDArray[Any]: ...
def gather(table: Any, ids: Any, out: Any) -> NDArray[Any]: ...
def gather_pooled(tables: list[tuple[Any, Any, Any]], many: bool, out: Any) -> NDArray[Any]: ...
def check_bags(grads: Any, ids: Any, bags: Any) -> None: ...
def expand_bags(grads: Any, ids: Any, bags: Any) -> NDArray[Any]: ...
def pooled_weight_gradient(grads: Any, table: Any, ids: Any, bags: Any) -> NDArray[Any]: ...
def coalesce(
    ids: Any, grads: Any, num_rows: int, exact: bool, bags: Any = None
) -> tuple[NDArray[np.int64], NDArray[Any], RowPlan]: ...
def place_rows(
    op: str, ids: Any, num_rows: int, owners: Any, starts: Any
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]: ...
def exact_terms(
    plan: RowPlan, grads: Any, order: Any, bags: Any = None
) -> tuple[NDArray[np.int64], NDArray[Any]]: ...
def require_current(op: str, name: str, array: Any, known: list[Deferral]) -> None: ...
def clip(
    gradients: list[Any],
    clipvalue: Any,
    clipnorm: Any,
    global_clipnorm: Any,
    sums: list[float] | None = None,
) -> list[NDArray[Any]]: ...
def sums_of_squares(arrays: list[Any]) -> list[float]: ...
def decay_weights(op: str, var: Any, rows: Any, decay: tuple[Any, Any]) -> None: ...
def average_weights(
    op: str, average: Any, var: Any, rows: Any, settings: tuple[Any, bool]
) -> None: ...
def apply_all(
    steps: list[tuple[Any, ...]],
    after: tuple[tuple[NDArray[Any] | list[NDArray[Any]], Any], ...] = (),
    only_check: bool = False,
) -> None: ...
def scatter(op: str, var: _Var, indices: Any, updates: Any, use_locking: bool) -> _Var: ...

class RowPlan:
    def __init__(self, ids: Any, num_rows: int, bounds: str) -> None: ...
    @property
    def num_rows(self) -> int: ...
    @property
    def skipped(self) -> int: ...
    @property
    def unique(self) -> NDArray[np.int64]: ...
    @property
    def counts(self) -> NDArray[np.int64]: ...
    @property
    def inverse(self) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...

class Deferral:
    def __init__(
        self,
        op: str,
        rule: str,
        arrays: tuple[Any, ...],
        scope: str,
        average: Any,
        last: NDArray[np.int32],
        rows: int,
    ) -> None: ...
    @property
    def arrays(self) -> tuple[NDArray[Any], ...]: ...
    @property
    def last(self) -> NDArray[np.int32]: ...
    @property
    def clock(self) -> NDArray[np.float64]: ...
    def restore(self, last: NDArray[np.int32], clock: NDArray[np.float64]) -> None: ...
    @property
    def is_behind(self) -> bool: ...
    @property
    def flushes(self) -> int: ...
    @property
    def now(self) -> int: ...
    def flush(self) -> None: ...
    def read(self, which: int = -1, ids: Any = None, out: Any = None) -> NDArray[Any]: ...

class UpdatePlan:
    def __init__(
        self,
        op: str,
        rule: str,
        entries: list[tuple[Any, ...]],
        averages: list[Any] | None = None,
        decays: list[bool] | None = None,
        deferrals: list[Any] | None = None,
    ) -> None: ...
    @property
    def flushes(self) -> int: ...
    def matches(self, pairs: list[Any]) -> bool: ...
    def apply(
        self,
        pairs: list[Any],
        hypers: tuple[tuple[Any, ...] | None, ...],
        attrs: tuple[bool, ...],
        clipvalue: Any,
        clipnorm: Any,
        global_clipnorm: Any,
        scope: str,
        decay: tuple[tuple[float, float] | None, ...] | None = None,
        average: tuple[float, bool] | None = None,
        around: str = "rows",
        gradient: tuple[float, float] | None = None,
        after: tuple[tuple[NDArray[Any], Any], ...] = (),
    ) -> None: ...

'''


def function(rule: dict[str, Any], prefix: str) -> str:
    arguments = ["var: _Var"]
    arguments += [f"{name}: Any" for name in [*rule["slots"], rule["grad"], *rule["hypers"]]]
    arguments += [f"{name}: bool" for name in [*rule["attrs"], "use_locking"]]
    if prefix == "SparseApply":
        arguments += ["indices: Any", "duplicates: str", "bounds: str"]
        arguments += ["offsets: Any", "weights: Any", "mode: Any", "include_last_offset: Any"]
    lines = "".join(f"    {argument},\n" for argument in [*arguments, "/"])
    result = "_Var | int" if prefix == "SparseApply" else "_Var"
    return f"def {prefix}{rule['name']}(\n{lines}) -> {result}: ...\n"


def extension() -> str:
    dense = [function(rule, "Apply") for rule in _core.RULES if rule["has_dense"]]
    sparse = [function(rule, "SparseApply") for rule in _core.RULES if rule["has_sparse"]]
    return HEAD + "".join(dense + sparse)


def ops(module: ModuleType, made: Iterable[_make.Op]) -> str:
    """The functions of a module, with their docstrings: editors show those of the stub."""
    made = list(made)
    functions = [op_function(op) for op in made]
    others = [f"{op.other_name} = {op.name}\n" for op in made if op.other_name is not None]
    names = "".join(f'    "{name}",\n' for name in module.__all__)
    types = set(re.findall(r"\b(?:Array|ArrayT|Ids|Scalar|SupportsIndex)\b", "".join(functions)))
    integers = types & {"SupportsIndex"}
    parts = [
        f'"""{module.__doc__}"""\n\n# Written by scripts/make_stub.py.\n',
        *(f"from typing import {name}\n" for name in integers),
        f"from slotwise.raw_ops._make import {', '.join(sorted(types - integers))}\n",
        *functions,
        *(["".join(others)] if others else []),
        f"__all__ = [\n{names}]\n",
    ]
    return "\n".join(parts)


def op_function(op: _make.Op) -> str:
    lines = [f"    {name}: {of},\n" for name, of in op.arguments]
    lines += [f"    {name}: {of} = {_quoted(default)},\n" for name, of, default in op.options]
    return f'def {op.name}(\n{"".join(lines)}) -> {op.result}:\n    """{op.doc}"""\n'


def _quoted(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else repr(default)


def exports(api: ModuleType) -> str:
    """The `__init__` of an API of optimizers."""
    imports, names = [], list[str]()
    for found in pkgutil.iter_modules(api.__path__, f"{api.__name__}."):
        if not found.name.rpartition(".")[2].startswith("_"):
            own = classes(importlib.import_module(found.name))
            imports.append(f"from {found.name} import {', '.join(own)}\n")
            names += own
    # Constants come first, as linters sort them: SGD looks like one.
    listed = "".join(f'    "{n}",\n' for n in sorted(names, key=lambda n: (not n.isupper(), n)))
    head = f'"""{api.__doc__}"""\n\n# Written by scripts/make_stub.py.\n'
    return f"{head}{''.join(imports)}\n__all__ = [\n{listed}]\n"


def classes(module: ModuleType) -> list[str]:
    """The public names of classes that a module defines."""
    members = inspect.getmembers(module, inspect.isclass)
    own = [name for name, cls in members if cls.__module__ == module.__name__]
    return [name for name in own if not name.startswith("_")]


def files() -> dict[Path, str]:
    apis = optimizers.current, optimizers.legacy
    texts = {
        **{Path(inspect.getfile(api)): exports(api) for api in apis},
        PACKAGE / "_core.pyi": extension(),
        PACKAGE / "raw_ops" / "dense.pyi": ops(raw_ops.dense, _make.dense_ops()),
        PACKAGE / "raw_ops" / "scatter.pyi": ops(raw_ops.scatter, _make.scatter_ops()),
        PACKAGE / "raw_ops" / "sparse.pyi": ops(raw_ops.sparse, _make.sparse_ops()),
    }
    return {path: LICENSE + text for path, text in texts.items()}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
