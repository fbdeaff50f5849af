# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's sparse training ops: updates of the rows of a table that a batch touched.

The rule of every op is that of its dense op, applied to a row: the same formula, the same bits. The
module `slotwise.raw_ops` says what holds for all ops; this is what sparse ones add.

indices:
    int32 or int64, shape ``(n,)``: the row of ``var`` (and of the slots) that each row of ``grad``
    is for. Or a `slotwise.RowPlan` made of them once. ``grad`` has shape ``(n, *var.shape[1:])``.

duplicates:
    What equal ids mean. ``"sequential"``: each occurrence is applied in turn, on top of the one
    before. ``"sum"``: their gradients are summed in order of appearance, then applied once (what
    Keras does); the sums are never stored. ``"exact"``: the same, except that nothing is rounded
    before the end of a sum, so that the order of ids changes no bit. ``"error"``: a ValueError.

bounds:
    What an id outside of ``[0, rows)`` means. ``"raise"``: a ValueError that names it, before any
    row has changed. ``"skip"``: its gradient is left out, and the op returns how many were. A plan
    has its own bounds; ``"raise"`` refuses one that skipped ids.

offsets, weights, mode, include_last_offset:
    With offsets, rows were pooled by bags, as `slotwise.gather_pooled` does it with the same
    arguments, and ``grad`` has a row for each bag. The gradient of id i in bag b is
    ``weights[i] / d * grad[b]``, in the type that is computed in, with d as in the forward; it is
    formed where it is used. Ids that ``bounds="skip"`` leaves out are in no bag.

Returns:
    ``var``; with ``bounds="skip"``, the number of ids that were left out.
"""

# Written by scripts/make_stub.py.

from typing import SupportsIndex

from slotwise.raw_ops._make import Array, ArrayT, Ids, Scalar

def SparseApplyGradientDescent(
    var: ArrayT,
    alpha: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Gradient descent.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyGradientDescent`.

    Args:
        var: table, updated.
        alpha: step size.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyGradientDescent(
        ...     var=var, alpha=0.5, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Robbins and Monro, "A stochastic approximation method", 1951.
    """

def SparseApplyProximalGradientDescent(
    var: ArrayT,
    alpha: Scalar,
    l1: Scalar,
    l2: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Gradient descent followed by the proximal step of l1 and l2 regularization (FOBOS).

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyProximalGradientDescent`.

    Args:
        var: table, updated.
        alpha: step size.
        l1: l1 regularization strength; at most 0 means none.
        l2: l2 regularization strength.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyProximalGradientDescent(
        ...     var=var, alpha=0.5, l1=0.0, l2=0.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Duchi and Singer, "Efficient online and batch learning using forward backward
        splitting", 2009.
    """

def SparseApplyAdadelta(
    var: ArrayT,
    accum: Array,
    accum_update: Array,
    lr: Scalar,
    rho: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adadelta: steps scaled by the root mean square of past steps over that of past gradients.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdadelta`.

    Args:
        var: table, updated.
        accum: running mean of squared gradients, updated.
        accum_update: running mean of squared updates, updated.
        lr: learning rate.
        rho: decay of both running means.
        epsilon: added under both square roots.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> accum_update = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdadelta(
        ...     var=var, accum=accum, accum_update=accum_update, lr=0.5, rho=0.75,
        ...     epsilon=1.0, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

def SparseApplyAdagrad(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    update_slots: bool = True,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adagrad: steps scaled by the root of the sum of squared gradients.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdagrad`.

    Args:
        var: table, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate.
        grad: the gradients of rows.
        indices: the row that each is for.
        update_slots: whether to add to ``accum``.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdagrad(
        ...     var=var, accum=accum, lr=0.5, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

def SparseApplyAdagradV2(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    update_slots: bool = True,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adagrad with an epsilon outside of the square root.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdagradV2`.

    Args:
        var: table, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate.
        epsilon: added to the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        update_slots: whether to add to ``accum``.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdagradV2(
        ...     var=var, accum=accum, lr=0.5, epsilon=1.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

def SparseApplyKerasAdagrad(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adagrad with an epsilon inside of the square root.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyKerasAdagrad`.

    Args:
        var: table, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate.
        epsilon: added to ``accum`` in the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyKerasAdagrad(
        ...     var=var, accum=accum, lr=0.5, epsilon=1.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011; Keras, ``keras.optimizers.Adagrad``.
    """

def SparseApplyAdagradDA(
    var: ArrayT,
    gradient_accumulator: Array,
    gradient_squared_accumulator: Array,
    grad: Array,
    indices: Ids,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    global_step: SupportsIndex,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adagrad by dual averaging: var is computed anew from the sums of all gradients.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdagradDA`.

    Args:
        var: table, updated.
        gradient_accumulator: sum of gradients, updated.
        gradient_squared_accumulator: sum of squared gradients, updated.
        grad: the gradients of rows.
        indices: the row that each is for.
        lr: learning rate.
        l1: l1 regularization strength; at most 0 means none.
        l2: l2 regularization strength.
        global_step: number of this step, an integer; rounded to float32 for every dtype.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> gradient_accumulator = np.ones((3, 2))
        >>> gradient_squared_accumulator = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdagradDA(
        ...     var=var, gradient_accumulator=gradient_accumulator,
        ...     gradient_squared_accumulator=gradient_squared_accumulator, lr=0.5, l1=0.0,
        ...     l2=0.0, global_step=1, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

def SparseApplyProximalAdagrad(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adagrad followed by the proximal step of l1 and l2 regularization.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyProximalAdagrad`.

    Args:
        var: table, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate, > 0.
        l1: l1 regularization strength, >= 0.
        l2: l2 regularization strength, >= 0.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyProximalAdagrad(
        ...     var=var, accum=accum, lr=0.5, l1=0.0, l2=0.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Duchi and Singer, "Efficient online and batch learning using forward backward
        splitting", 2009.
    """

def SparseApplyFtrl(
    var: ArrayT,
    accum: Array,
    linear: Array,
    grad: Array,
    indices: Ids,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    lr_power: Scalar,
    use_locking: bool = False,
    multiply_linear_by_lr: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Follow the regularized leader, proximal (FTRL).

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyFtrl`.

    Args:
        var: table, updated.
        accum: sum of squared gradients, updated.
        linear: the linear term; held times lr with ``multiply_linear_by_lr``, updated.
        grad: the gradients of rows.
        indices: the row that each is for.
        lr: learning rate.
        l1: l1 regularization strength.
        l2: l2 regularization strength.
        lr_power: power of the learning rate schedule, usually -0.5; finite.
        multiply_linear_by_lr: keep ``linear`` multiplied by ``lr``, so that ``lr`` may change
            or be 0.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> linear = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyFtrl(
        ...     var=var, accum=accum, linear=linear, lr=0.5, l1=0.0, l2=0.0, lr_power=-0.5,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013.
    """

def SparseApplyFtrlV2(
    var: ArrayT,
    accum: Array,
    linear: Array,
    grad: Array,
    indices: Ids,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    l2_shrinkage: Scalar,
    lr_power: Scalar,
    use_locking: bool = False,
    multiply_linear_by_lr: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """FTRL with an l2 penalty of the magnitude type (shrinkage) besides the stabilizing one.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyFtrlV2`.

    Args:
        var: table, updated.
        accum: sum of squared gradients, updated.
        linear: the linear term; held times lr with ``multiply_linear_by_lr``, updated.
        grad: the gradients of rows.
        indices: the row that each is for.
        lr: learning rate.
        l1: l1 regularization strength.
        l2: l2 regularization strength.
        l2_shrinkage: l2 shrinkage strength.
        lr_power: power of the learning rate schedule, usually -0.5; finite.
        multiply_linear_by_lr: keep ``linear`` multiplied by ``lr``, so that ``lr`` may change
            or be 0.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> linear = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyFtrlV2(
        ...     var=var, accum=accum, linear=linear, lr=0.5, l1=0.0, l2=0.0, l2_shrinkage=0.0,
        ...     lr_power=-0.5, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013.
    """

def SparseApplyMomentum(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    grad: Array,
    indices: Ids,
    momentum: Scalar,
    use_locking: bool = False,
    use_nesterov: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Gradient descent with momentum.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyMomentum`.

    Args:
        var: table, updated.
        accum: decayed sum of gradients, updated.
        lr: learning rate.
        grad: the gradients of rows.
        indices: the row that each is for.
        momentum: decay of ``accum``.
        use_nesterov: look one step ahead.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyMomentum(
        ...     var=var, accum=accum, lr=0.5, momentum=0.25, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Sutskever et al., "On the importance of initialization and momentum in deep
        learning", 2013.
    """

def SparseApplyKerasMomentum(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    grad: Array,
    indices: Ids,
    momentum: Scalar,
    use_locking: bool = False,
    use_nesterov: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Gradient descent with momentum, the learning rate inside the accumulator.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyKerasMomentum`.

    Args:
        var: table, updated.
        accum: decayed sum of steps, updated.
        lr: learning rate.
        grad: the gradients of rows.
        indices: the row that each is for.
        momentum: decay of ``accum``.
        use_nesterov: look one step ahead.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyKerasMomentum(
        ...     var=var, accum=accum, lr=0.5, momentum=0.25, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Sutskever et al., "On the importance of initialization and momentum in deep
        learning", 2013.
    """

def SparseApplyAdam(
    var: ArrayT,
    m: Array,
    v: Array,
    beta1_power: Scalar,
    beta2_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    use_nesterov: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adam.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdam`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        v: running mean of squared gradients, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_nesterov: look one step ahead.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> v = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdam(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=1.0, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
    """

def SparseApplyAdamWithAmsgrad(
    var: ArrayT,
    m: Array,
    v: Array,
    vhat: Array,
    beta1_power: Scalar,
    beta2_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adam scaled by the largest second moment so far (AMSGrad).

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdamWithAmsgrad`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        v: running mean of squared gradients, updated.
        vhat: largest ``v`` so far, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> v = np.ones((3, 2))
        >>> vhat = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdamWithAmsgrad(
        ...     var=var, m=m, v=v, vhat=vhat, beta1_power=0.5, beta2_power=0.75, lr=0.5,
        ...     beta1=0.5, beta2=0.75, epsilon=1.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018.
    """

def SparseApplyAdaMax(
    var: ArrayT,
    m: Array,
    v: Array,
    beta1_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """AdaMax: Adam with the infinity norm.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdaMax`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        v: decayed largest absolute gradient, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to ``v``.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> v = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdaMax(
        ...     var=var, m=m, v=v, beta1_power=0.5, lr=0.5, beta1=0.5, beta2=0.75,
        ...     epsilon=1.0, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014, section 7.1.
    """

def SparseApplyTorchAdaMax(
    var: ArrayT,
    m: Array,
    v: Array,
    beta1_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """AdaMax as PyTorch computes it: epsilon is added to gradients.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyTorchAdaMax`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        v: decayed largest absolute gradient, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to absolute gradients.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> v = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyTorchAdaMax(
        ...     var=var, m=m, v=v, beta1_power=0.5, lr=0.5, beta1=0.5, beta2=0.75,
        ...     epsilon=1.0, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014, section 7.1;
        PyTorch, ``torch.optim.Adamax``.
    """

def SparseApplyRMSProp(
    var: ArrayT,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """RMSProp with momentum.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyRMSProp`.

    Args:
        var: table, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of steps, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added under the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> ms = np.ones((3, 2))
        >>> mom = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyRMSProp(
        ...     var=var, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.25, epsilon=1.0,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012.
    """

def SparseApplyCenteredRMSProp(
    var: ArrayT,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """RMSProp scaled by the variance of the gradients instead of their mean square.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyCenteredRMSProp`.

    Args:
        var: table, updated.
        mg: running mean of gradients, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of steps, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added under the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> mg = np.ones((3, 2))
        >>> ms = np.ones((3, 2))
        >>> mom = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyCenteredRMSProp(
        ...     var=var, mg=mg, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.25, epsilon=1.0,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Graves, "Generating sequences with recurrent neural networks", 2013.
    """

def SparseApplyKerasRMSProp(
    var: ArrayT,
    rms: Array,
    lr: Scalar,
    rho: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    epsilon_in_root: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """RMSProp as Keras computes it without momentum.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyKerasRMSProp`.

    Args:
        var: table, updated.
        rms: running mean of squared gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        epsilon: keeps the denominator from 0.
        grad: the gradients of rows.
        indices: the row that each is for.
        epsilon_in_root: where epsilon stands.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> rms = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyKerasRMSProp(
        ...     var=var, rms=rms, lr=0.5, rho=0.75, epsilon=1.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; Keras, ``keras.optimizers.legacy.RMSprop``.
    """

def SparseApplyKerasCenteredRMSProp(
    var: ArrayT,
    rms: Array,
    mg: Array,
    lr: Scalar,
    rho: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    epsilon_in_root: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Centered RMSProp as Keras computes it without momentum.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyKerasCenteredRMSProp`.

    Args:
        var: table, updated.
        rms: running mean of squared gradients, updated.
        mg: running mean of gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        epsilon: keeps the denominator from 0.
        grad: the gradients of rows.
        indices: the row that each is for.
        epsilon_in_root: where epsilon stands.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> rms = np.ones((3, 2))
        >>> mg = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyKerasCenteredRMSProp(
        ...     var=var, rms=rms, mg=mg, lr=0.5, rho=0.75, epsilon=1.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; Keras, ``keras.optimizers.legacy.RMSprop``.
    """

def SparseApplyTorchRMSProp(
    var: ArrayT,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """RMSProp as PyTorch computes it with momentum.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyTorchRMSProp`.

    Args:
        var: table, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of scaled gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added to the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> ms = np.ones((3, 2))
        >>> mom = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyTorchRMSProp(
        ...     var=var, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.25, epsilon=1.0,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; PyTorch, ``torch.optim.RMSprop``.
    """

def SparseApplyTorchCenteredRMSProp(
    var: ArrayT,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Centered RMSProp as PyTorch computes it with momentum.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyTorchCenteredRMSProp`.

    Args:
        var: table, updated.
        mg: running mean of gradients, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of scaled gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added to the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> mg = np.ones((3, 2))
        >>> ms = np.ones((3, 2))
        >>> mom = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyTorchCenteredRMSProp(
        ...     var=var, mg=mg, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.25, epsilon=1.0,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; PyTorch, ``torch.optim.RMSprop``.
    """

def SparseApplyAddSign(
    var: ArrayT,
    m: Array,
    lr: Scalar,
    alpha: Scalar,
    sign_decay: Scalar,
    beta: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """AddSign: larger steps where the gradient agrees with its running mean.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAddSign`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        lr: learning rate.
        alpha: weight of every step.
        sign_decay: weight of the agreement of signs, by schedule.
        beta: decay of ``m``.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAddSign(
        ...     var=var, m=m, lr=0.5, alpha=0.5, sign_decay=1.0, beta=0.5,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Bello et al., "Neural optimizer search with reinforcement learning", 2017.
    """

def SparseApplyPowerSign(
    var: ArrayT,
    m: Array,
    lr: Scalar,
    logbase: Scalar,
    sign_decay: Scalar,
    beta: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """PowerSign: steps grow by a power where the gradient agrees with its running mean.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyPowerSign`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        lr: learning rate.
        logbase: logarithm of the base of the power.
        sign_decay: weight of the agreement of signs, by schedule.
        beta: decay of ``m``.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyPowerSign(
        ...     var=var, m=m, lr=0.5, logbase=0.0, sign_decay=1.0, beta=0.5,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Bello et al., "Neural optimizer search with reinforcement learning", 2017.
    """

def SparseApplyRprop(
    var: ArrayT,
    prev: Array,
    step_size: Array,
    etaminus: Scalar,
    etaplus: Scalar,
    step_size_min: Scalar,
    step_size_max: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Rprop: a step size per element, by the signs of gradients.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyRprop`.

    Args:
        var: table, updated.
        prev: the latest gradient, 0 where its sign had changed, updated.
        step_size: size of the next step, updated.
        etaminus: what ``step_size`` is multiplied by where signs differ, usually 0.5.
        etaplus: that where they agree, usually 1.2.
        step_size_min: smallest ``step_size``.
        step_size_max: largest ``step_size``.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> prev = np.ones((3, 2))
        >>> step_size = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyRprop(
        ...     var=var, prev=prev, step_size=step_size, etaminus=0.5, etaplus=0.5,
        ...     step_size_min=0.5, step_size_max=0.5, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation
        learning: the RPROP algorithm", 1993; PyTorch, ``torch.optim.Rprop``.
    """

def SparseApplyNadam(
    var: ArrayT,
    m: Array,
    v: Array,
    beta2_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    momentum: Scalar,
    momentum_next: Scalar,
    momentum_product: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adam with scheduled Nesterov momentum, as in Keras.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyNadam`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        v: running mean of squared gradients, updated.
        beta2_power: beta2 to the power of the step number.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to the root.
        momentum: scheduled first decay of this step.
        momentum_next: that of the next step.
        momentum_product: product of the scheduled decays up to this step.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> v = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyNadam(
        ...     var=var, m=m, v=v, beta2_power=0.75, lr=0.5, beta1=0.5, beta2=0.75,
        ...     epsilon=1.0, momentum=0.25, momentum_next=0.5, momentum_product=0.5,
        ...     grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

def SparseApplyLion(
    var: ArrayT,
    m: Array,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Lion: steps of one size, by the sign of an interpolated momentum.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyLion`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        lr: learning rate.
        beta1: weight of ``m`` in the step.
        beta2: decay of ``m``.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyLion(
        ...     var=var, m=m, lr=0.5, beta1=0.5, beta2=0.75, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023.
    """

def SparseApplyAdaBelief(
    var: ArrayT,
    m: Array,
    s: Array,
    beta1_power: Scalar,
    beta2_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """AdaBelief: Adam scaled by how far gradients are from their mean.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyAdaBelief`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        s: running mean of squared distances from it, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``s``.
        epsilon: added to ``s`` and to the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> s = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyAdaBelief(
        ...     var=var, m=m, s=s, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=1.0, grad=np.ones((1, 2)), indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed
        gradients", 2020.
    """

def SparseApplyRAdam(
    var: ArrayT,
    m: Array,
    v: Array,
    beta1_power: Scalar,
    beta2_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    sma: Scalar,
    sma_threshold: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """RAdam: Adam that warms up by itself.

    The rows ``indices`` of ``var`` and its slots, by the rule of `ApplyRAdam`.

    Args:
        var: table, updated.
        m: running mean of gradients, updated.
        v: running mean of squared gradients, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to the root.
        sma: length of the average that ``v`` is; at step t, ``2 / (1 - beta2) - 1 - 2 * t *
            beta2**t / (1 - beta2**t)``, best in float64.
        sma_threshold: the least length at which steps are adaptive, > 0; usually 5.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> m = np.ones((3, 2))
        >>> v = np.ones((3, 2))
        >>> table = raw_ops.SparseApplyRAdam(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=1.0, sma=0.5, sma_threshold=0.5, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2019;
        TensorFlow Addons, ``RectifiedAdam``.
    """

def SparseApplyRowWiseAdagrad(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    epsilon: Scalar,
    grad: Array,
    indices: Ids,
    use_locking: bool = False,
    duplicates: str = "sequential",
    bounds: str = "raise",
    offsets: Array | None = None,
    weights: Array | None = None,
    mode: str = "sum",
    include_last_offset: bool = False,
    name: str | None = None,
) -> ArrayT | int:
    """Adagrad with one accumulator per row.

        accum[row] += mean(grad^2)
        var[row]   -= grad * lr / (sqrt(accum[row]) + epsilon)

    Args:
        var: table, updated.
        accum: sum of the mean squares of each row's gradients, shape ``(rows,)``, updated.
        lr: learning rate.
        epsilon: added to the root.
        grad: the gradients of rows.
        indices: the row that each is for.
        use_locking, duplicates, bounds: see the modules.
        offsets, weights, mode, include_last_offset, name: see the modules.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var = np.ones((3, 2))
        >>> accum = np.ones(3)
        >>> table = raw_ops.SparseApplyRowWiseAdagrad(
        ...     var=var, accum=accum, lr=0.5, epsilon=1.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)

    Source: Mudigere et al., "Software-hardware co-design for fast and scalable training of
        deep learning recommendation models", 2022.
    """

ResourceSparseApplyProximalGradientDescent = SparseApplyProximalGradientDescent
ResourceSparseApplyAdadelta = SparseApplyAdadelta
ResourceSparseApplyAdagrad = SparseApplyAdagrad
ResourceSparseApplyAdagradV2 = SparseApplyAdagradV2
ResourceSparseApplyAdagradDA = SparseApplyAdagradDA
ResourceSparseApplyProximalAdagrad = SparseApplyProximalAdagrad
ResourceSparseApplyFtrl = SparseApplyFtrl
ResourceSparseApplyFtrlV2 = SparseApplyFtrlV2
ResourceSparseApplyMomentum = SparseApplyMomentum
ResourceSparseApplyKerasMomentum = SparseApplyKerasMomentum
ResourceSparseApplyRMSProp = SparseApplyRMSProp
ResourceSparseApplyCenteredRMSProp = SparseApplyCenteredRMSProp

__all__ = [
    "ResourceSparseApplyAdadelta",
    "ResourceSparseApplyAdagrad",
    "ResourceSparseApplyAdagradDA",
    "ResourceSparseApplyAdagradV2",
    "ResourceSparseApplyCenteredRMSProp",
    "ResourceSparseApplyFtrl",
    "ResourceSparseApplyFtrlV2",
    "ResourceSparseApplyKerasMomentum",
    "ResourceSparseApplyMomentum",
    "ResourceSparseApplyProximalAdagrad",
    "ResourceSparseApplyProximalGradientDescent",
    "ResourceSparseApplyRMSProp",
    "SparseApplyAdaBelief",
    "SparseApplyAdaMax",
    "SparseApplyAdadelta",
    "SparseApplyAdagrad",
    "SparseApplyAdagradDA",
    "SparseApplyAdagradV2",
    "SparseApplyAdam",
    "SparseApplyAdamWithAmsgrad",
    "SparseApplyAddSign",
    "SparseApplyCenteredRMSProp",
    "SparseApplyFtrl",
    "SparseApplyFtrlV2",
    "SparseApplyGradientDescent",
    "SparseApplyKerasAdagrad",
    "SparseApplyKerasCenteredRMSProp",
    "SparseApplyKerasMomentum",
    "SparseApplyKerasRMSProp",
    "SparseApplyLion",
    "SparseApplyMomentum",
    "SparseApplyNadam",
    "SparseApplyPowerSign",
    "SparseApplyProximalAdagrad",
    "SparseApplyProximalGradientDescent",
    "SparseApplyRAdam",
    "SparseApplyRMSProp",
    "SparseApplyRowWiseAdagrad",
    "SparseApplyRprop",
    "SparseApplyTorchAdaMax",
    "SparseApplyTorchCenteredRMSProp",
    "SparseApplyTorchRMSProp",
]
