# SPDX-License-Identifier: Apache-2.0
"""Prints what pyproject.toml requires, a line each: the dependencies and the extras named.

The extra "build" is what building takes.
"""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib  # Python 3.10 has no TOML parser of its own

file = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
project, build = file["project"], file["build-system"]
extras = {**project["optional-dependencies"], "build": build["requires"]}
for required in (project["dependencies"], *(extras[extra] for extra in sys.argv[1:])):
    print(*required, sep="\n")
