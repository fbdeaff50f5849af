# SPDX-License-Identifier: Apache-2.0
"""What a variable shares with tensors of other libraries, with the libraries themselves."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from slotwise import IndexedSlices, Variable


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64"])
def test_torch_shares(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6).to(getattr(torch, dtype)).reshape(2, 3)
    var = Variable(tensor)
    assert var.dtype == (ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype))
    var.assign_add(np.ones((2, 3)))
    assert tensor.tolist() == [[1, 2, 3], [4, 5, 6]]
    tensor[0, 0] = 9
    assert int(var.value[0, 0]) == 9
    parameter = torch.nn.Parameter(torch.zeros(2))
    with pytest.raises((TypeError, ValueError), match=r"^Variable: initial_value: .*grad"):
        Variable(parameter)
    Variable(parameter.detach()).assign([1.0, 2.0])
    assert parameter.tolist() == [1.0, 2.0]


def test_minus_of_torch() -> None:
    torch = pytest.importorskip("torch")
    slices = -IndexedSlices(torch.ones(2, 3), torch.tensor([1, 0]), (4, 3))
    assert np.asarray(slices.values).tolist() == [[-1.0] * 3] * 2


def test_jax_is_read_only() -> None:
    jax = pytest.importorskip("jax")
    array = jax.numpy.ones(3)
    with pytest.raises(ValueError, match="expected a writable array, got a read-only one"):
        Variable(array)
    var = Variable(np.array(array))
    var.assign(2.0 * array)
    assert (var.value.tolist(), array.tolist()) == ([2.0] * 3, [1.0] * 3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # TensorFlow's
def test_tensorflow_is_not_shared() -> None:
    tf = pytest.importorskip("tensorflow")
    for value in (tf.ones(3), tf.Variable(tf.ones(3))):
        with pytest.raises((TypeError, ValueError), match=r"^Variable: initial_value: "):
            Variable(value)
        assert Variable(np.array(value)).value.tolist() == [1.0] * 3
