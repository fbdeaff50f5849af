# SPDX-License-Identifier: Apache-2.0
"""What all commands have: a parser with a description, and the function that runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

from slotwise._cli._errors import TEXT

# argparse has the class, and does not export it.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], short: str, long: str
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: to which it is added.
        name: of the command.
        run: what it does; returns the exit code.
        short: for the list of commands.
        long: for its own help.
    """
    found = commands.add_parser(
        name,
        help=short,
        description=f"{long}\n",
        epilog=TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.set_defaults(run=run)
    return found


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
