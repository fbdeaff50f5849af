"""Write the tables of ops in docs/raw_ops.md and bench/work/ops.py, from the ops themselves."""

import inspect
from pathlib import Path
from typing import Any

from slotwise import _core, raw_ops

ROOT = Path(__file__).parents[1]
STAR = r"\*"


def files() -> dict[Path, str]:
    """The files with their tables made anew."""
    page, bench = ROOT / "docs" / "raw_ops.md", ROOT / "bench" / "work" / "ops.py"
    return {
        page: _replaced(page, "<!-- tables: begin -->\n", "<!-- tables: end -->\n", tables()),
        bench: _replaced(bench, "# signatures: begin\n", "# signatures: end\n", signatures()),
    }


def _replaced(file: Path, begin: str, end: str, text: str) -> str:
    before, _, rest = file.read_text().partition(begin)
    _, found, after = rest.partition(end)
    assert found, f"{file}: expected lines {begin!r} and {end!r}"
    return before + begin + text + end + after


def signatures() -> str:
    """The ops that peers have, and the one on rows alone: inputs, those updated with a star."""
    ops = [(f"Apply{rule['name']}", rule) for rule in _core.RULES if _is_tensorflows(rule)]
    ops += [(f"SparseApply{rule['name']}", rule) for rule in _core.RULES if not rule["has_dense"]]
    lines = []
    for op, rule in ops:
        inputs = [name for name in _inputs(op, rule, "*") if name != "indices"]
        lines.append(f"{op} {' '.join(inputs)}\n")
    return f'_SIGNATURES = """\n{"".join(lines)}"""\n'


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
    return "\n" + "\n".join(parts) + "\n\n"


def _is_tensorflows(rule: dict[str, Any]) -> bool:
    return f"ResourceApply{rule['name']}" in raw_ops.__all__


def _table(rules: list[dict[str, Any]], prefix: str) -> list[str]:
    rows = ["| op | arguments | options |", "|---|---|---|"]
    for rule in sorted(rules, key=lambda rule: rule["name"]):
        op = prefix + rule["name"]
        parameters = inspect.signature(getattr(raw_ops, op)).parameters.values()
        options = [f"{p.name}={p.default}" for p in parameters if p.name in rule["attrs"]]
        cells = f"{', '.join(_inputs(op, rule, STAR))} | {', '.join(options)}".strip()
        rows.append(f"| `{op}` | {cells} |")
    return rows


def _inputs(op: str, rule: dict[str, Any], star: str) -> list[str]:
    """Arguments without a default; a star after those that are updated."""
    parameters = inspect.signature(getattr(raw_ops, op)).parameters.values()
    updated = ("var", *rule["slots"])
    names = [p.name for p in parameters if p.default is p.empty]
    return [name + (star if name in updated else "") for name in names]


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
    names = [f"`{n}`" for n in raw_ops.__all__ if n.startswith("Scatter")]
    return [f"{', '.join(names)}: ref{STAR}, indices, updates."]


if __name__ == "__main__":
    for file, text in files().items():
        file.write_text(text)
