# SPDX-License-Identifier: Apache-2.0
"""scripts/check_arrows.py finds arrows that point up, and there are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.scripts import script

arrows = script("check_arrows")
ROOT = arrows.ROOT


def test_all_arrows_point_down() -> None:
    assert arrows.problems() == []


# ----- python -------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package's sources, in which to plant arrows."""
    shutil.copytree(
        ROOT / "python",
        tmp_path / "python",
        ignore=lambda _, names: [n for n in names if "." in n and not n.endswith((".py", ".pyi"))],
    )
    return tmp_path


def _planted(root: Path, text_of: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Where the last line is of what is added to each module, and what is found then."""
    where = {}
    for module, text in text_of.items():
        path = root / "python" / "slotwise" / module
        whole = (path.read_text() if path.exists() else "") + text
        path.write_text(whole)
        where[module] = f"python/slotwise/{module}:{len(whole.splitlines())}"
    return where, list(arrows.check_python(root))


FROM_ABOVE = {
    "_lock.py": (
        "from slotwise import state\n",
        "_lock imports state.__init__, which lies above",
    ),
    "_names.py": (
        "from slotwise.optimizers._kinds import PATH\n",
        "_names imports optimizers._kinds, which lies above",
    ),
    "optimizers/_step.py": (
        "import slotwise.interop\n",
        "optimizers._step imports interop, which lies above",
    ),
    "optimizers/current/adam.py": (
        "from slotwise.optimizers import legacy\n",
        "optimizers.current.adam imports optimizers.legacy.__init__, which lies beside it",
    ),
    "raw_ops/dense.py": (
        "from slotwise import save\n",
        "raw_ops.dense imports __init__, which lies above",
    ),
    "state/_files.py": (
        "import slotwise\n",
        "state._files imports __init__, which lies above",
    ),
}


def test_imports_from_above(package: Path) -> None:
    where, found = _planted(package, {module: text for module, (text, _) in FROM_ABOVE.items()})
    for module, (_, expected) in FROM_ABOVE.items():
        assert f"{where[module]}: {expected}" in found


def test_what_else_is_wrong(package: Path) -> None:
    """In a function, in no room, by a relative name, and a private member of optimizers."""
    texts = {
        "state/_save.py": "def late():\n    from slotwise.interop import keras_weights\n",
        "_other.py": "import numpy\n",
        "state/_files.py": "from . import _index\n",
        "interop.py": "def f(x):\n    return x._own_state()\n",
        "state/_track.py": "class A:\n    def f(self):\n        self._own_state = 1\n",
        "optimizers/_state.py": "class B:\n    def f(self, x):\n        return x._replace()\n",
        "state/_index.py": "if TYPE_CHECKING:\n    from slotwise.interop import keras_weights\n",
    }
    where, found = _planted(package, texts)
    private = "interop uses x._own_state, a private member of optimizers: ask by _stateful"
    assert sorted(found) == sorted(
        [
            f"{where['state/_save.py']}: state._save imports interop, which lies above",
            f"{where['_other.py']}: _other is in no room",
            f"{where['state/_files.py']}: state._files: expected imports by full names, got '.'",
            f"{where['interop.py']}: {private}",
            f"{where['state/_index.py']}: state._index imports interop, which lies above",
        ]
    )


def test_circles_within_a_room(package: Path) -> None:
    for_types = "if typing.TYPE_CHECKING:\n    from slotwise.state._index import INDEX\n"
    assert _planted(package, {"state/_files.py": for_types})[1] == []
    (found,) = _planted(package, {"state/_files.py": "from slotwise.state import _index\n"})[1]
    where, _, circle = found.partition(": a circle of imports: ")
    names = circle.split(" -> ")
    assert names[0] == names[-1] and set(names) == {"state._files", "state._index"}
    assert where.split(":")[0] == f"python/slotwise/{names[-2].replace('.', '/')}.py"


# ----- csrc ---------------------------------------------------------------------------------------


def _csrc(root: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = root / "csrc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(arrows.check_csrc(root))


def test_includes(tmp_path: Path) -> None:
    files = {
        "core/types.h": '#pragma once\n#include "simd/ops-inl.h"\n',
        "simd/ops-inl.h": '#include "hwy/highway.h"\n#include "core/types.h"\n',
        "tables/gather.cc": '#include "rules/moments-inl.h"\n// #include "bindings/x.h"\n',
        "drivers/rows-inl.h": '  #  include "simd/ops-inl.h"\n',
        "rules/moments-inl.h": '#include "drivers/rows-inl.h"\n',
        "bindings/x.h": "",
        "bindings/module.cc": '#include "rules/moments-inl.h"\n#include "tables/gather.cc"\n',
        "other/x.h": "",
    }
    assert _csrc(tmp_path, files) == [
        "csrc/other/x.h:1: other/x.h is in no room",
        "csrc/core/types.h:2: core/types.h includes simd/ops-inl.h, which lies above",
        "csrc/tables/gather.cc:1: tables/gather.cc includes rules/moments-inl.h, "
        "which lies beside it",
    ]


HEADER = """#pragma once
#include <vector>

#define SLOTWISE_MACRO(x) int Missing(x);

namespace slotwise {

// Comment(with a brace { and) a semicolon;
[[nodiscard]] size_t Climbs(const std::vector<int>& a = {1, 2},
                            const char* text = ";{");

using Function = void (*)(const void* context);
inline int Inline(int x) { return x; }
extern const int kTable[sizeof(int)];

struct Thing {
  Thing() = default;
  explicit Thing(int x) : x_{x}, y_(x) {}
  int Get() const { return x_; }
  Thing& operator=(const Thing& other);
  int Own();

 private:
  void Far();
  int x_{0}, y_ = Inline(3);
  void (*function_)(int);
};

int Home(Thing thing);

}  // namespace slotwise
"""


def test_functions_that_are_defined_in_another_room(tmp_path: Path) -> None:
    home = """#include "core/thing.h"
namespace slotwise {
namespace { int Local() { return 1; } }
Thing& Thing::operator=(const Thing& other) { x_ = other.x_; return *this; }
int Thing::Own() { return Local(); }
int Home(Thing thing) { if (thing.Own()) { return 1; } return 2; }
}
"""
    away = """#include "core/thing.h"
namespace slotwise {
size_t Climbs(const std::vector<int>& a, const char* text) { return Home({}); }
void Thing::Far() {}
}
"""
    files = {"core/thing.h": HEADER, "core/other.cc": home, "rules/away.cc": away}
    files["core/sly.cc"] = "namespace slotwise {\nvoid Thing<int>::Far(int);\n}\n"
    what = "which rules/away.cc defines, in another room"
    assert _csrc(tmp_path, files) == [
        f"csrc/core/sly.cc:2: core/sly.cc declares Thing::Far, {what}",
        f"csrc/core/thing.h:9: core/thing.h declares Climbs, {what}",
        f"csrc/core/thing.h:24: core/thing.h declares Thing::Far, {what}",
    ]


def test_what_a_file_declares_and_defines() -> None:
    found = arrows.functions_of(HEADER)
    assert set(found.declared) == {
        *("Climbs", "Home", "Thing::operator=", "Thing::Own", "Thing::Far")
    }
    assert found.defined == {"Inline", "Thing::Thing", "Thing::Get"}


# ----- the map ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (("csrc/rules/", "csrc/core/", "python/slotwise/"), []),
        (("csrc/core/", "csrc/rules/", "python/slotwise/"), ["HACKING.md:3: the map has csrc/"]),
        (("csrc/rules/", "python/slotwise/"), ["HACKING.md:1: the map lacks csrc/core/"]),
        (
            ("csrc/rules/", "csrc/core/", "python/slotwise/state/"),
            ["HACKING.md:1: the map lacks python/slotwise/optimizers/"],
        ),
        (
            ("csrc/gone/", "csrc/rules/", "csrc/core/", "python/slotwise/"),
            ["HACKING.md:2: the map names csrc/gone/, which is not there"],
        ),
    ],
)
def test_the_map(tmp_path: Path, rows: tuple[str, ...], expected: list[str]) -> None:
    rooms = ("csrc/core/a.h", "csrc/rules/a.cc", "python/slotwise/state/a.py")
    for name in (*rooms, "python/slotwise/optimizers/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    table = "".join(f"| `{row}` | text |\n" for row in rows)
    (tmp_path / "HACKING.md").write_text("# The map\n" + table)
    found = list(arrows.check_map(tmp_path))
    assert len(found) == len(expected)
    assert all(text.startswith(start) for text, start in zip(found, expected, strict=True))
