# SPDX-License-Identifier: Apache-2.0
"""Holds the order of the rooms: `make lint` runs it.

What a file includes or imports lies in its own room or in one below; so does what a function of
Python imports when it is called. A function that a file of csrc/ declares is defined in the file's
own room: no call climbs by way of the linker. Modules of Python import one another in no
circle. The map in HACKING.md names the rooms in this order. What keeps the state of optimizers asks
them by `_stateful`: it uses none of their private members.

Two things go up, and are meant to: the registry of rules (csrc/core/rules.h) lists by a macro
what csrc/rules/ defines; and modules of Python put what those below are to find there (`_recording`
into `_variable`, classes into `optimizers/_registry.py`). What is imported for type checking alone
(`if TYPE_CHECKING`) is held to the rooms, and counts in no circle.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

# The rooms of csrc/, and what each may include besides its own files.
CSRC = {
    "core": "",
    "simd": "core",
    "passes": "core simd",
    "drivers": "core simd passes",
    "rules": "core simd passes drivers",
    "tables": "core simd passes drivers",
    "bindings": "core simd passes drivers rules tables",
}

# The floors of python/slotwise, from the ground up. Rooms of one floor do not know each other. A
# room is a module or a package; a file is in the one that is most of its name.
PYTHON = (
    "_core _arguments _identity",
    "_overlap _runtime raw_ops",
    "_lock",
    "_tracking",
    "_variable",
    "_tables _names",
    "_match _pooling _recording _stateful initializers",
    "_autodiff distributed",
    "optimizers",
    "optimizers._descriptions optimizers.schedules",
    "optimizers.current optimizers.legacy",
    "optimizers.loss_scale optimizers._support",
    "optimizers.__init__",
    "state",
    "interop",
    "torch._memory torch._threads",
    "torch._gradients torch._state",
    "torch._optimizer",
    "torch.optim torch.nn",
    "torch.__init__",
    "__init__",
    "_cli",
    "__main__",
)

ASKING = ("state", "interop")  # rooms that know no private member of what is in
ASKED = ("_stateful", "optimizers")

Rooms = Mapping[str, frozenset[str]]  # what each room may use besides itself


def from_floors(floors: tuple[str, ...]) -> Rooms:
    found: dict[str, frozenset[str]] = {}
    for floor in floors:
        below = frozenset(found)
        found.update((room, below) for room in floor.split())
    return found


def from_names(names: Mapping[str, str]) -> Rooms:
    return {room: frozenset(below.split()) for room, below in names.items()}


class Arrow(NamedTuple):
    """What a line of a file includes or imports."""

    file: Path
    line: int
    source: str
    verb: str
    target: str
    counts: bool = True  # in circles


def room_of(name: str, rooms: Rooms, separator: str) -> str | None:
    """The room that is most of a file's name."""
    parts = name.split(separator)
    prefixes = (separator.join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in rooms), None)


def wrong_arrows(arrows: list[Arrow], rooms: Rooms, separator: str) -> Iterator[str]:
    for arrow in arrows:
        own, other = (room_of(n, rooms, separator) for n in (arrow.source, arrow.target))
        if own is None or other is None or own == other or other in rooms[own]:
            continue
        where = "above" if own in rooms[other] else "beside it"
        what = f"{arrow.source} {arrow.verb} {arrow.target}, which lies {where}"
        yield f"{arrow.file}:{arrow.line}: {what}"


def homeless(files: Mapping[str, Path], rooms: Rooms, separator: str) -> Iterator[str]:
    for name, path in files.items():
        if room_of(name, rooms, separator) is None:
            yield f"{path}:1: {name} is in no room"


# ----- csrc ---------------------------------------------------------------------------------------

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)
NO_CODE = re.compile(
    r"//[^\n]*|/\*.*?\*/|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*"
    r'|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])*\'',
    re.DOTALL | re.MULTILINE,
)
LABELS = re.compile(r"\b(?:public|protected|private)\s*:(?!:)|\[\[.*?\]\]")
ANGLES = re.compile(r"<[^<>(){};]*>")
TYPE = re.compile(r"\s*(?:template\s*)?(?:class|struct|union)\b\s*(?:alignas\s*\([^)]*\)\s*)?(\w*)")
FUNCTION = re.compile(r"((?:\w+::)*(?:operator\s*(?:\(\)|[^\s\w(]+)|~?\b[A-Za-z_]\w*))\s*\(")
MARK = re.compile(r"[{};]")
GOES_ON = re.compile(r"\s*[,{;]")
NO_FUNCTION = frozenset(["alignas", "decltype", "noexcept", "__attribute__", "static_assert"])


class Functions(NamedTuple):
    """The functions of a file of C++, each with its class."""

    declared: dict[str, int]  # and the lines
    defined: set[str]


def functions_of(text: str) -> Functions:
    """What a file declares and what it defines, outside of functions."""
    text = NO_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    found, scopes = Functions({}, set()), list[str]()
    start = at = 0  # of the statement; from where to look on
    while (mark := MARK.search(text, at)) is not None:
        head, at = _plain(text[start : mark.start()]), mark.end()
        if mark[0] == "{" and (scope := _scope(head)) is None:  # a body, or a value in braces
            at = _closing(text, at)
            if GOES_ON.match(text, at):  # of a list of initial values, or of a value
                continue
            if (name := _function(head)) is not None:
                found.defined.add(_qualified(scopes, name))
        elif mark[0] == "{":
            scopes.append(scope or "")
        elif mark[0] == "}":
            if scopes:
                scopes.pop()
        elif (name := _function(head)) is not None and not re.search(r"=\s*\w+\s*$", head):
            line = text.count("\n", 0, text.index(name.rpartition("::")[2], start)) + 1
            found.declared.setdefault(_qualified(scopes, name), line)
        start = at
    return found


def _plain(head: str) -> str:
    """A statement without labels, attributes and what is in angle brackets."""
    head, before = LABELS.sub("", head), ""
    while head != before:
        head, before = ANGLES.sub("", head), head
    return head


def _scope(head: str) -> str | None:
    """The class that a brace opens, "" for a namespace, None for what is neither."""
    if re.match(r"\s*(?:inline\s+)?namespace\b|\s*extern\s*$|\s*enum\b", head):
        return ""
    found = TYPE.match(head)
    return None if found is None else found[1]


def _function(head: str) -> str | None:
    if re.match(r"\s*(?:using|typedef|friend)\b", head):
        return None
    for found in FUNCTION.finditer(head):
        if found[1] in NO_FUNCTION:
            continue
        before, after = head[: found.start()], head[found.end() :].lstrip()
        is_macro = found[1].isupper() and not before.strip()
        is_value = "=" in before or "[" in before or after.startswith("*")
        return None if is_value or is_macro else found[1]
    return None


def _qualified(scopes: list[str], name: str) -> str:
    return "::".join([*filter(None, scopes), re.sub(r"\s", "", name)])


def _closing(text: str, at: int) -> int:
    """The end of what is in braces."""
    depth = 1
    for found in MARK.finditer(text, at):
        depth += {"{": 1, "}": -1, ";": 0}[found[0]]
        if depth == 0:
            return found.end()
    return len(text)


def check_csrc(root: Path) -> Iterator[str]:
    rooms, folder = from_names(CSRC), root / "csrc"
    paths = sorted(p for p in folder.rglob("*") if p.suffix in (".h", ".cc"))
    texts = {str(p.relative_to(folder)): p.read_text() for p in paths}
    files = {name: Path("csrc", name) for name in texts}
    yield from homeless(files, rooms, "/")
    arrows = [
        Arrow(files[name], text.count("\n", 0, found.start(1)) + 1, name, "includes", found[1])
        for name, text in texts.items()
        for found in INCLUDE.finditer(text)
        if found[1] in texts
    ]
    yield from wrong_arrows(arrows, rooms, "/")
    found = {name: functions_of(text) for name, text in texts.items()}
    for name, functions in found.items():
        own = room_of(name, rooms, "/")
        for function, line in functions.declared.items():
            homes = [other for other in found if function in found[other].defined]
            if homes and all(room_of(other, rooms, "/") != own for other in homes):
                what = f"{name} declares {function}, which {homes[0]} defines, in another room"
                yield f"{files[name]}:{line}: {what}"


# ----- python -------------------------------------------------------------------------------------


def modules_of(root: Path) -> dict[str, Path]:
    """The modules of the package by name: ``_lock``, ``state.__init__``; and the extension."""
    folder = root / "python" / "slotwise"
    names = (path.relative_to(folder) for path in sorted(folder.rglob("*.py")))
    found = {".".join(name.with_suffix("").parts): Path("python/slotwise", name) for name in names}
    return {**found, "_core": Path("python/slotwise/_core.pyi")}


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """What a module imports of the package: the line, the name, and whether it counts."""
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, counts = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield from ((node.lineno, f"{node.module}.{x.name}", counts) for x in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or ""), counts
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, f"{x.name}.__init__", counts) for x in node.names)
        for_types: list[ast.stmt] = []
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for_types = node.body
        children = ast.iter_child_nodes(node)
        waiting += [(child, counts and child not in for_types) for child in children]


def check_python(root: Path) -> Iterator[str]:
    rooms, modules = from_floors(PYTHON), modules_of(root)
    yield from homeless(modules, rooms, ".")
    sources = {name: path for name, path in modules.items() if path.suffix == ".py"}
    trees = {name: ast.parse((root / path).read_text()) for name, path in sources.items()}
    arrows = []
    for name, path in sources.items():
        for line, full, counts in imports_of(trees[name]):
            if full.startswith("."):
                yield f"{path}:{line}: {name}: expected imports by full names, got '{full}'"
            elif full.partition(".")[0] == "slotwise":
                target = _module(full.partition(".")[2], modules)
                arrows.append(Arrow(path, line, name, "imports", target, counts))
    yield from wrong_arrows(arrows, rooms, ".")
    yield from circles([arrow for arrow in arrows if arrow.counts])
    private = {x for name in trees if _is_in(name, ASKED) for x in _private_names(trees[name])}
    for name, tree in ((name, tree) for name, tree in trees.items() if _is_in(name, ASKING)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in private and not _is_own(node.value):
                what = f"{name} uses {ast.unparse(node)}, a private member of optimizers"
                yield f"{sources[name]}:{node.lineno}: {what}: ask by _stateful"


def _is_in(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def _is_own(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def _private_names(tree: ast.Module) -> Iterator[str]:
    """Of the members that classes of a module define or set."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in (inner for cls in classes for inner in ast.walk(cls)):
        if isinstance(node, ast.FunctionDef):
            name = node.name
        elif isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Store):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
        else:
            continue
        if re.match("_[a-z]", name):
            yield name


def _module(name: str, modules: Mapping[str, Path]) -> str:
    """The module that is imported where something of this name is: itself, or what has it."""
    while name:
        for module in (name, f"{name}.__init__"):
            if module in modules:
                return module
        name = name.rpartition(".")[0]
    return "__init__"


def circles(arrows: list[Arrow]) -> Iterator[str]:
    """Each circle that is found, once."""
    ways: dict[str, dict[str, Arrow]] = {}
    for arrow in arrows:
        ways.setdefault(arrow.source, {}).setdefault(arrow.target, arrow)
    done: set[str] = set()
    for first, ahead in ways.items():
        path: list[tuple[str, Iterator[str]]] = [(first, iter(ahead))]
        while path:
            name, targets = path[-1]
            target = next((each for each in targets if each not in done), None)
            names = [each for each, _ in path]
            if target is None:
                done.add(name)
                path.pop()
            elif target in names:
                arrow, circle = ways[name][target], names[names.index(target) :]
                text = " -> ".join([*circle, target])
                yield f"{arrow.file}:{arrow.line}: a circle of imports: {text}"
            else:
                path.append((target, iter(ways.get(target, {}))))


# ----- the map ------------------------------------------------------------------------------------


def check_map(root: Path) -> Iterator[str]:
    """The table of folders in HACKING.md names each room of a folder of its own, in order."""
    lines = (root / "HACKING.md").read_text().splitlines()
    rows = {
        folder: number
        for number, line in enumerate(lines, 1)
        if line.startswith("|")
        for folder in re.findall(r"`((?:csrc|python/slotwise)/[\w/]*)`", line.split("|")[1])
    }
    for folder, number in rows.items():
        if not (root / folder).is_dir():
            yield f"HACKING.md:{number}: the map names {folder}, which is not there"
    for place in ("csrc", "python/slotwise"):
        for path in sorted((root / place).iterdir()):
            folder = f"{place}/{path.name}/"
            is_room = path.is_dir() and any(path.glob("*.[hcp]*")) and path.name != "__pycache__"
            if is_room and folder not in rows and f"{place}/" not in rows:
                yield f"HACKING.md:1: the map lacks {folder}"
    for place, rooms in (("csrc/", from_names(CSRC)), ("python/slotwise/", from_floors(PYTHON))):
        names = [f.removeprefix(place).rstrip("/") for f in rows if f.startswith(place)]
        names = [name for name in names if name in rooms]
        for upper, lower in ((a, b) for i, a in enumerate(names) for b in names[i + 1 :]):
            if upper in rooms[lower]:
                number = rows[f"{place}{lower}/"]
                yield f"HACKING.md:{number}: the map has {place}{lower}/ below {place}{upper}/"


def problems(root: Path = ROOT) -> list[str]:
    """All that points up, goes in a circle or is in no room, as ``file:line: what``."""
    return [*check_csrc(root), *check_python(root), *check_map(root)]


if __name__ == "__main__":
    found = problems()
    print("\n".join(found) or "all arrows point down")
    sys.exit(bool(found))
