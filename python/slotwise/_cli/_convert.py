# SPDX-License-Identifier: Apache-2.0
"""`slotwise convert`."""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from pathlib import Path

import slotwise
from slotwise._cli import _commands, _from_keras, _from_tensorflow, _from_torch, _text
from slotwise._cli._converted import NONE
from slotwise._cli._errors import DONE, Refused
from slotwise._cli._export import refuse_existing
from slotwise.state._index import INDEX

_LONG = """\
Write a checkpoint of slotwise from a file of another library, which must be installed.

  keras       a model that tf_keras or Keras 3 saved (.keras, .h5): variables, the optimizer with
              its config and state. The model is built, with the library's own layers only.
  pytorch     a state dict, or a dict of them (.pt, .pth, .bin, .ckpt), loaded with weights_only. It
              does not say which optimizer it is of: --optimizer torch.Adam keeps PyTorch's
              semantics, for slotwise.torch; --optimizer Adam takes Keras's.
  tensorflow  a checkpoint (a prefix, or the folder): tensors by name, slots as VARIABLE/SLOT;
              --optimizer legacy.Adam makes the optimizer of them.

What the source holds and the checkpoint does not is named on stderr."""
_READERS = {
    "keras": _from_keras.read,
    "pytorch": _from_torch.read,
    "tensorflow": _from_tensorflow.read,
}


def add(commands: _commands.Commands) -> None:
    short = "make a checkpoint from Keras, PyTorch or TensorFlow"
    parser = _commands.command(commands, "convert", run, short, _LONG)
    parser.add_argument("source", metavar="SOURCE", help="what the other library saved")
    dest = "the checkpoint: a folder, or a file if it ends in .safetensors"
    parser.add_argument("dest", metavar="DEST", help=dest)
    kind = "what SOURCE is (default: by its name and content)"
    parser.add_argument("--from", dest="kind", choices=[*_READERS], help=kind)
    optimizer = f"its class: Adam, legacy.Adam, torch.Adam; {NONE} leaves the optimizer out"
    parser.add_argument("--optimizer", metavar="CLASS", help=optimizer)
    parser.add_argument("--force", action="store_true", help="replace DEST if it exists")


def run(given: argparse.Namespace) -> int:
    refuse_existing(given.dest, given.force)
    kind = given.kind or _kind_of(given.source)
    found = _READERS[kind](given.source, given.optimizer)
    for note in found.notes:
        print(f"slotwise: note: {_text.printable(note)}", file=sys.stderr)
    try:
        slotwise.save(
            given.dest, optimizer=found.optimizer, variables=found.variables, extra=found.extra
        )
    except slotwise.StateError:
        raise
    except (FileExistsError, IsADirectoryError) as error:
        raise Refused(str(error)) from None
    except (TypeError, ValueError) as error:
        raise Refused(f"{given.source}: {error}") from None
    with slotwise.state.Reader(given.dest) as reader:
        count = _text.count(len(reader.names), "tensor")
        total = _text.size(sum(reader.tensor(name).size for name in reader.names))
    print(f"{_text.printable(given.dest)}: {count}, {total}")
    return DONE


def _kind_of(source: str) -> str:
    """Which library wrote a file.

    Raises:
        Refused: there is none, or it cannot be told.
    """
    path = Path(source)
    if os.path.isfile(f"{source}.index") or (path / "checkpoint").is_file():
        return "tensorflow"
    if not path.exists():
        raise Refused(f"{source}: there is no such file or folder")
    if path.suffix == ".safetensors" or (path / INDEX).is_file():
        raise Refused(f"{source}: a safetensors file can be read as it is: expected another")
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return "keras"
    if path.is_file():
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if any(name.endswith("data.pkl") for name in file.namelist()):
                    return "pytorch"
        if path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
            return "pytorch"
    raise Refused(f"{source}: expected a file of Keras, PyTorch or TensorFlow: --from says which")
