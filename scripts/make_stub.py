"""Write the type stub of the extension module from its registry: python/slotwise/_core.pyi."""

from pathlib import Path
from typing import Any

from slotwise import _core

STUB = Path(__file__).parents[1] / "python" / "slotwise" / "_core.pyi"

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
def build_config() -> dict[str, Any]: ...
def allocate(bytes: int) -> NDArray[np.uint8]: ...
def as_array(op: str, name: str, value: Any) -> NDArray[Any]: ...
def gather(table: Any, ids: Any, out: Any) -> NDArray[Any]: ...
def gather_pooled(table: Any, ids: Any, offsets: Any, weights: Any, mode: int) -> NDArray[Any]: ...
def coalesce(
    ids: Any, grads: Any, num_rows: int
) -> tuple[NDArray[np.int64], NDArray[Any], RowPlan]: ...
def clip(
    gradients: list[Any], clipvalue: Any, clipnorm: Any, global_clipnorm: Any
) -> list[NDArray[Any]]: ...
def decay_weights(op: str, var: Any, rows: Any, decay: tuple[Any, Any]) -> None: ...
def average_weights(
    op: str, average: Any, var: Any, rows: Any, settings: tuple[Any, bool]
) -> None: ...
def apply_all(
    steps: list[tuple[Any, ...]],
    after: tuple[tuple[NDArray[Any], Any], ...] = (),
    only_check: bool = False,
) -> None: ...
def scatter(op: int, var: _Var, indices: Any, updates: Any, use_locking: bool) -> _Var: ...

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

class UpdatePlan:
    def __init__(
        self,
        op: str,
        rule: str,
        entries: list[tuple[Any, ...]],
        averages: list[Any] | None = None,
        decays: list[bool] | None = None,
    ) -> None: ...
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
        after: tuple[tuple[NDArray[Any], Any], ...] = (),
    ) -> None: ...

'''


def function(rule: dict[str, Any], prefix: str) -> str:
    arguments = ["var: _Var"]
    arguments += [f"{name}: Any" for name in [*rule["slots"], rule["grad"], *rule["hypers"]]]
    arguments += [f"{name}: bool" for name in [*rule["attrs"], "use_locking"]]
    if prefix == "SparseApply":
        arguments += ["indices: Any", "duplicates: str", "bounds: str"]
    lines = "".join(f"    {argument},\n" for argument in [*arguments, "/"])
    result = "_Var | int" if prefix == "SparseApply" else "_Var"
    return f"def {prefix}{rule['name']}(\n{lines}) -> {result}: ...\n"


def stub() -> str:
    dense = [function(rule, "Apply") for rule in _core.RULES if rule["has_dense"]]
    sparse = [function(rule, "SparseApply") for rule in _core.RULES if rule["has_sparse"]]
    return HEAD + "".join(dense + sparse)


if __name__ == "__main__":
    STUB.write_text(stub())
