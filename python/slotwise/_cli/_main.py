# SPDX-License-Identifier: Apache-2.0
"""The commands, and what becomes of errors: one line, and an exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

import slotwise
from slotwise._cli import _convert, _diff, _export, _get, _info, _show, _verify
from slotwise._cli._errors import FAILED, INTERRUPTED, PIPE_CLOSED, REFUSED, TEXT, Failed, Refused
from slotwise._cli._text import printable

_COMMANDS = (_info, _show, _verify, _diff, _get, _export, _convert)


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    found = argparse.ArgumentParser(
        prog="slotwise",
        description="Look at checkpoints of slotwise, compare, check and convert them.",
        epilog=f"'slotwise COMMAND --help' says more about a command.\n\n{TEXT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=f"slotwise {slotwise.__version__}")
    commands = found.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for module in _COMMANDS:
        module.add(commands)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: those of the process by default.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names have characters that it may lack
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            given = parser().parse_args(arguments)
        except SystemExit:
            _flush()  # of the help, whose reader may be gone
            raise
        trouble = REFUSED if given.command == "diff" else FAILED
        try:
            code: int = given.run(given)
            _flush()
        except Refused as error:
            return _say(error, REFUSED)
        except BrokenPipeError:
            raise
        except OSError as error:
            return _say(f"{error.filename}: {error.strerror}" if error.filename else error, trouble)
        except (Failed, slotwise.StateError, MemoryError) as error:
            return _say(error, trouble)
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:  # what is left is written at exit, to nobody
        _drop_output()
        return PIPE_CLOSED
    return code


def _flush() -> None:
    if sys.stdout is not None:  # it may be closed
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError:
            _drop_output()
            raise


def _drop_output() -> None:
    """Have what is left of the output written to nobody at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(what: object, code: int) -> int:
    text = str(what) or type(what).__name__
    print(f"slotwise: {printable(text)}", file=sys.stderr)
    return code
