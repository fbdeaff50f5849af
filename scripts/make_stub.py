"""Write the type stub of the extension module from its registry: python/slotwise/_core.pyi."""

from pathlib import Path
from typing import Any

from slotwise import _core

STUB = Path(__file__).parents[1] / "python" / "slotwise" / "_core.pyi"

HEAD = '''"""Compiled kernels of slotwise (written by scripts/make_stub.py)."""

from typing import Any, TypeVar

_Var = TypeVar("_Var")

RULES: tuple[dict[str, Any], ...]

def targets() -> list[str]: ...
def active_target() -> str: ...
def set_target(name: str) -> bool: ...
def num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def build_config() -> dict[str, Any]: ...
'''


def function(rule: dict[str, Any]) -> str:
    arguments = ["var: _Var"]
    arguments += [f"{name}: Any" for name in [*rule["slots"], rule["grad"]]]
    arguments += [f"{name}: Any" for name in rule["hypers"]]
    arguments += [f"{name}: bool" for name in [*rule["attrs"], "use_locking"]]
    lines = "".join(f"    {argument},\n" for argument in [*arguments, "/"])
    return f"def {rule['op']}(\n{lines}) -> _Var: ...\n"


def stub() -> str:
    return HEAD + "".join(function(rule) for rule in _core.RULES)


if __name__ == "__main__":
    STUB.write_text(stub())
