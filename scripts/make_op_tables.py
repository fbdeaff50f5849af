"""Write the tables of ops in docs/raw_ops.md from the functions' signatures and the registry."""

import inspect
import re
from pathlib import Path
from typing import Any

from slotwise import _core, raw_ops

PAGE = Path(__file__).parents[1] / "docs" / "raw_ops.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
_COMMON = ("use_locking", "duplicates", "bounds", "name")


def page(text: str) -> str:
    """The page with its tables made anew."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    return pattern.sub(lambda _: BEGIN + "\n" + tables() + "\n" + END, text)


def tables() -> str:
    dense = [rule for rule in _core.RULES if rule["has_dense"]]
    ours = [rule for rule in dense if not _is_tensorflows(rule)]
    theirs = [rule for rule in dense if _is_tensorflows(rule)]
    others = [rule for rule in _core.RULES if not rule["has_dense"]]
    parts = [
        "Ops of TensorFlow's:\n",
        *_table(theirs, "Apply"),
        "\nOps that TensorFlow does not have (Keras, the papers, or optax define them):\n",
        *_table(ours, "Apply"),
        "\nA sparse op takes the arguments of the dense one, with `grad` for its gradient, and "
        "`indices` after it:\n",
        *_sparse([*theirs, *ours], others),
        "\nThe scatter ops change rows of any dtype of numbers; `ScatterUpdate` sets them:\n",
        *_scatter(),
    ]
    return "\n".join(parts) + "\n"


def _is_tensorflows(rule: dict[str, Any]) -> bool:
    return f"ResourceApply{rule['name']}" in raw_ops.__all__


def _table(rules: list[dict[str, Any]], prefix: str) -> list[str]:
    rows = ["| op | arguments | options |", "|---|---|---|"]
    for rule in sorted(rules, key=lambda rule: rule["name"]):
        written = {"var", *rule["slots"]}
        rows.append(f"| `{prefix}{rule['name']}` | {_arguments(prefix + rule['name'], written)} |")
    return rows


def _arguments(op: str, written: set[str]) -> str:
    """Arguments, those that are updated with a star, then options in a column of their own."""
    parameters = inspect.signature(getattr(raw_ops, op)).parameters.values()
    own = [p for p in parameters if p.name not in _COMMON]
    stars = [p.name + (r"\*" if p.name in written else "") for p in own if p.default is p.empty]
    options = [f"{p.name}={p.default}" for p in own if p.default is not p.empty]
    return f"{', '.join(stars)} | {', '.join(options)}".strip()


def _sparse(rules: list[dict[str, Any]], others: list[dict[str, Any]]) -> list[str]:
    names = [f"`SparseApply{rule['name']}`" for rule in rules if rule["has_sparse"]]
    without = [f"`Apply{rule['name']}`" for rule in rules if not rule["has_sparse"]]
    return [
        ", ".join(sorted(names)) + ".",
        f"\n{' and '.join(sorted(without))} measure the whole of `var` before they change any of "
        "it, so they have no sparse op. Of one rule there is a sparse op only:\n",
        *_table(others, "SparseApply"),
    ]


def _scatter() -> list[str]:
    names = [n for n in raw_ops.__all__ if n.startswith("Scatter")]
    listed = ", ".join(f"`{name}`" for name in names)
    return [f"{listed}: {_arguments(names[0], {'ref'}).rstrip('| ')}."]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
