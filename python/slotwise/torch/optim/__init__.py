# SPDX-License-Identifier: Apache-2.0
"""The optimizers, one file each."""

from slotwise.torch.optim.adadelta import Adadelta
from slotwise.torch.optim.adafactor import Adafactor
from slotwise.torch.optim.adagrad import Adagrad
from slotwise.torch.optim.adam import Adam, AdamW
from slotwise.torch.optim.adamax import Adamax
from slotwise.torch.optim.ftrl import Ftrl
from slotwise.torch.optim.lion import Lion
from slotwise.torch.optim.nadam import NAdam
from slotwise.torch.optim.radam import RAdam
from slotwise.torch.optim.rmsprop import RMSprop
from slotwise.torch.optim.row_wise_adagrad import RowWiseAdagrad
from slotwise.torch.optim.rprop import Rprop
from slotwise.torch.optim.sgd import SGD
from slotwise.torch.optim.sparse_adam import SparseAdam

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "NAdam",
    "RAdam",
    "RMSprop",
    "RowWiseAdagrad",
    "Rprop",
    "SparseAdam",
]
