# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's dense training ops. The package says what holds for all of them."""

# Written by scripts/make_stub.py.

from typing import SupportsIndex

from slotwise.raw_ops._make import Array, ArrayT, Scalar

def ApplyGradientDescent(
    var: ArrayT,
    alpha: Scalar,
    delta: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Gradient descent.

        var -= delta * alpha

    Args:
        var: parameters, updated.
        alpha: step size.
        delta: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, delta = np.array([1.0, 2.0]), np.array([1.0, -1.0])
        >>> raw_ops.ApplyGradientDescent(var=var, alpha=0.5, delta=delta)
        array([0.5, 2.5])

    Source: Robbins and Monro, "A stochastic approximation method", 1951.
    """

def ApplyProximalGradientDescent(
    var: ArrayT,
    alpha: Scalar,
    l1: Scalar,
    l2: Scalar,
    delta: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Gradient descent followed by the proximal step of l1 and l2 regularization (FOBOS).

        prox = var - delta * alpha
        var  = sign(prox) * max(|prox| - alpha * l1, 0) / (1 + l2 * alpha)

    Args:
        var: parameters, updated.
        alpha: step size.
        l1: l1 regularization strength; at most 0 means none.
        l2: l2 regularization strength.
        delta: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, delta = np.array([1.0, 0.1]), np.array([1.0, 0.0])
        >>> raw_ops.ApplyProximalGradientDescent(var=var, alpha=0.5, l1=0.5, l2=0.0, delta=delta)
        array([0.25, 0.  ])

    Source: Duchi and Singer, "Efficient online and batch learning using forward backward
        splitting", 2009.
    """

def ApplyAdadelta(
    var: ArrayT,
    accum: Array,
    accum_update: Array,
    lr: Scalar,
    rho: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adadelta: steps scaled by the root mean square of past steps over that of past gradients.

        accum        = accum * rho + grad^2 * (1 - rho)
        update       = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) * grad
        var         -= update * lr
        accum_update = accum_update * rho + update^2 * (1 - rho)

    Args:
        var: parameters, updated.
        accum: running mean of squared gradients, updated.
        accum_update: running mean of squared updates, updated.
        lr: learning rate.
        rho: decay of both running means.
        epsilon: added under both square roots.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum, accum_update = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdadelta(
        ...     var=var, accum=accum, accum_update=accum_update, lr=1.0, rho=0.75,
        ...     epsilon=1.0, grad=np.array([2.0])
        ... )
        array([-0.41421356])

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

def ApplyAdagrad(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    grad: Array,
    use_locking: bool = False,
    update_slots: bool = True,
    name: str | None = None,
) -> ArrayT:
    """Adagrad: steps scaled by the root of the sum of squared gradients.

        accum += grad^2                    if update_slots
        var   -= grad * lr / sqrt(accum)

    Args:
        var: parameters, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate.
        grad: the gradient.
        update_slots: whether to add to ``accum``.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyAdagrad(var=var, accum=accum, lr=0.5, grad=np.array([2.0]))
        array([0.5])

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

def ApplyAdagradV2(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    update_slots: bool = True,
    name: str | None = None,
) -> ArrayT:
    """Adagrad with an epsilon outside of the square root.

        accum += grad^2                    if update_slots
        var   -= grad * lr / (sqrt(accum) + epsilon)

    Args:
        var: parameters, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate.
        epsilon: added to the root.
        grad: the gradient.
        update_slots: whether to add to ``accum``.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyAdagradV2(var=var, accum=accum, lr=0.5, epsilon=2.0, grad=np.array([2.0]))
        array([0.75])

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

def ApplyKerasAdagrad(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adagrad with an epsilon inside of the square root. Not an op of TensorFlow's.

        accum += grad^2
        var   -= grad * lr / sqrt(accum + epsilon)

    Args:
        var: parameters, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate.
        epsilon: added to ``accum`` in the root.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyKerasAdagrad(
        ...     var=var, accum=accum, lr=0.5, epsilon=12.0, grad=np.array([2.0])
        ... )
        array([0.75])

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011; Keras, ``keras.optimizers.Adagrad``.
    """

def ApplyAdagradDA(
    var: ArrayT,
    gradient_accumulator: Array,
    gradient_squared_accumulator: Array,
    grad: Array,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    global_step: SupportsIndex,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adagrad by dual averaging: var is computed anew from the sums of all gradients.

        gradient_accumulator         += grad
        gradient_squared_accumulator += grad^2
        var = (-lr * sign(gradient_accumulator)
               * max(|gradient_accumulator| - global_step * l1, 0)
               / (l2 * global_step * lr + sqrt(gradient_squared_accumulator)))

    Args:
        var: parameters, updated.
        gradient_accumulator: sum of gradients, updated.
        gradient_squared_accumulator: sum of squared gradients, updated.
        grad: the gradient.
        lr: learning rate.
        l1: l1 regularization strength; at most 0 means none.
        l2: l2 regularization strength.
        global_step: number of this step, an integer; rounded to float32 for every dtype.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, ga, da = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdagradDA(
        ...     var=var, gradient_accumulator=ga, gradient_squared_accumulator=da,
        ...     grad=np.array([2.0]), lr=0.5, l1=0.0, l2=0.0, global_step=1
        ... )
        array([-0.5])

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
        stochastic optimization", 2011.
    """

def ApplyProximalAdagrad(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adagrad followed by the proximal step of l1 and l2 regularization.

        accum += grad^2
        eta    = lr / sqrt(accum)
        prox   = var - grad * eta
        var    = sign(prox) * max(|prox| - eta * l1, 0) / (1 + l2 * eta)

    Args:
        var: parameters, updated.
        accum: sum of squared gradients, updated.
        lr: learning rate, > 0.
        l1: l1 regularization strength, >= 0.
        l2: l2 regularization strength, >= 0.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyProximalAdagrad(
        ...     var=var, accum=accum, lr=0.5, l1=0.0, l2=4.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.25])

    Source: Duchi and Singer, "Efficient online and batch learning using forward backward
        splitting", 2009.
    """

def ApplyFtrl(
    var: ArrayT,
    accum: Array,
    linear: Array,
    grad: Array,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    lr_power: Scalar,
    use_locking: bool = False,
    multiply_linear_by_lr: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Follow the regularized leader, proximal (FTRL).

        n       = accum + grad^2
        linear += grad - (n^-lr_power - accum^-lr_power) / lr * var
        var     = (l1 * sign(linear) - linear) / (n^-lr_power / lr + 2 * l2)   if |linear| > l1
        var     = 0                                                            otherwise
        accum   = n

    Args:
        var: parameters, updated.
        accum: sum of squared gradients, updated.
        linear: the linear term; held times lr with ``multiply_linear_by_lr``, updated.
        grad: the gradient.
        lr: learning rate.
        l1: l1 regularization strength.
        l2: l2 regularization strength.
        lr_power: power of the learning rate schedule, usually -0.5; finite.
        multiply_linear_by_lr: keep ``linear`` multiplied by ``lr``, so that ``lr`` may change
            or be 0.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum, linear = np.array([0.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyFtrl(
        ...     var=var, accum=accum, linear=linear, grad=np.array([2.0]), lr=0.5, l1=1.0,
        ...     l2=0.0, lr_power=-0.5
        ... )
        array([-0.25])

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013.
    """

def ApplyFtrlV2(
    var: ArrayT,
    accum: Array,
    linear: Array,
    grad: Array,
    lr: Scalar,
    l1: Scalar,
    l2: Scalar,
    l2_shrinkage: Scalar,
    lr_power: Scalar,
    use_locking: bool = False,
    multiply_linear_by_lr: bool = False,
    name: str | None = None,
) -> ArrayT:
    """FTRL with an l2 penalty of the magnitude type (shrinkage) besides the stabilizing one.

        g       = grad + 2 * l2_shrinkage * var
        n       = accum + grad^2
        linear += g - (n^-lr_power - accum^-lr_power) / lr * var
        var     = (l1 * sign(linear) - linear) / (n^-lr_power / lr + 2 * l2)   if |linear| > l1
        var     = 0                                                            otherwise
        accum   = n

    Args:
        var: parameters, updated.
        accum: sum of squared gradients, updated.
        linear: the linear term; held times lr with ``multiply_linear_by_lr``, updated.
        grad: the gradient.
        lr: learning rate.
        l1: l1 regularization strength.
        l2: l2 regularization strength.
        l2_shrinkage: l2 shrinkage strength.
        lr_power: power of the learning rate schedule, usually -0.5; finite.
        multiply_linear_by_lr: keep ``linear`` multiplied by ``lr``, so that ``lr`` may change
            or be 0.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum, linear = np.array([0.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyFtrlV2(
        ...     var=var, accum=accum, linear=linear, grad=np.array([2.0]), lr=0.5, l1=1.0,
        ...     l2=0.0, l2_shrinkage=0.1, lr_power=-0.5
        ... )
        array([-0.25])

    Source: McMahan et al., "Ad click prediction: a view from the trenches", 2013.
    """

def ApplyMomentum(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    grad: Array,
    momentum: Scalar,
    use_locking: bool = False,
    use_nesterov: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Gradient descent with momentum.

        accum = accum * momentum + grad
        var  -= accum * lr                               or, with use_nesterov,
        var  -= grad * lr + accum * momentum * lr

    Args:
        var: parameters, updated.
        accum: decayed sum of gradients, updated.
        lr: learning rate.
        grad: the gradient.
        momentum: decay of ``accum``.
        use_nesterov: look one step ahead.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum = np.array([1.0]), np.array([1.0])
        >>> raw_ops.ApplyMomentum(var=var, accum=accum, lr=0.5, grad=np.array([1.0]), momentum=0.5)
        array([0.25])

    Source: Sutskever et al., "On the importance of initialization and momentum in deep
        learning", 2013.
    """

def ApplyKerasMomentum(
    var: ArrayT,
    accum: Array,
    lr: Scalar,
    grad: Array,
    momentum: Scalar,
    use_locking: bool = False,
    use_nesterov: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Gradient descent with momentum, the learning rate inside the accumulator.

        accum = accum * momentum - grad * lr
        var  += accum                                    or, with use_nesterov,
        var  += accum * momentum - grad * lr

    Args:
        var: parameters, updated.
        accum: decayed sum of steps, updated.
        lr: learning rate.
        grad: the gradient.
        momentum: decay of ``accum``.
        use_nesterov: look one step ahead.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, accum = np.array([1.0]), np.array([-1.0])
        >>> raw_ops.ApplyKerasMomentum(
        ...     var=var, accum=accum, lr=0.5, grad=np.array([1.0]),
        ...     momentum=0.5
        ... )
        array([0.])

    Source: Sutskever et al., "On the importance of initialization and momentum in deep
        learning", 2013.
    """

def ApplyAdam(
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
    use_locking: bool = False,
    use_nesterov: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adam.

        alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
        m    += (grad - m) * (1 - beta1)
        v    += (grad^2 - v) * (1 - beta2)
        var  -= m * alpha / (sqrt(v) + epsilon)          or, with use_nesterov,
        var  -= (grad * (1 - beta1) + beta1 * m) * alpha / (sqrt(v) + epsilon)

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        v: running mean of squared gradients, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to the root.
        grad: the gradient.
        use_nesterov: look one step ahead.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdam(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.5])

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014.
    """

def ApplyAdamWithAmsgrad(
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
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adam scaled by the largest second moment so far (AMSGrad).

        alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
        m    += (grad - m) * (1 - beta1)
        v    += (grad^2 - v) * (1 - beta2)
        vhat  = max(vhat, v)
        var  -= m * alpha / (sqrt(vhat) + epsilon)

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        v: running mean of squared gradients, updated.
        vhat: largest ``v`` so far, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to the root.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, v, vhat = np.array([1.0]), np.array([0.0]), np.array([0.0]), np.array([4.0])
        >>> raw_ops.ApplyAdamWithAmsgrad(
        ...     var=var, m=m, v=v, vhat=vhat, beta1_power=0.5, beta2_power=0.75, lr=0.5,
        ...     beta1=0.5, beta2=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.75])

    Source: Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018.
    """

def ApplyAdaMax(
    var: ArrayT,
    m: Array,
    v: Array,
    beta1_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """AdaMax: Adam with the infinity norm.

        m   += (grad - m) * (1 - beta1)
        v    = max(beta2 * v, |grad|)
        var -= lr / (1 - beta1_power) * m / (v + epsilon)

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        v: decayed largest absolute gradient, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to ``v``.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdaMax(
        ...     var=var, m=m, v=v, beta1_power=0.5, lr=0.5, beta1=0.5, beta2=0.75,
        ...     epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.5])

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014, section 7.1.
    """

def ApplyTorchAdaMax(
    var: ArrayT,
    m: Array,
    v: Array,
    beta1_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """AdaMax as PyTorch computes it: epsilon is added to gradients. Not an op of TensorFlow's.

        m   += (grad - m) * (1 - beta1)
        v    = max(beta2 * v, |grad| + epsilon)
        var -= lr / (1 - beta1_power) * m / v

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        v: decayed largest absolute gradient, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to absolute gradients.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyTorchAdaMax(
        ...     var=var, m=m, v=v, beta1_power=0.5, lr=0.5, beta1=0.5, beta2=0.75,
        ...     epsilon=2.0, grad=np.array([2.0])
        ... )
        array([0.75])

    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2014, section 7.1;
        PyTorch, ``torch.optim.Adamax``.
    """

def ApplyRMSProp(
    var: ArrayT,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """RMSProp with momentum.

        ms  += (grad^2 - ms) * (1 - rho)
        mom  = mom * momentum + grad * lr / sqrt(ms + epsilon)
        var -= mom

    Args:
        var: parameters, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of steps, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added under the root.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, ms, mom = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyRMSProp(
        ...     var=var, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.0, epsilon=0.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.])

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012.
    """

def ApplyCenteredRMSProp(
    var: ArrayT,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """RMSProp scaled by the variance of the gradients instead of their mean square.

        ms  += (grad^2 - ms) * (1 - rho)
        mg  += (grad - mg) * (1 - rho)
        mom  = mom * momentum + grad * lr / sqrt(ms - mg^2 + epsilon)
        var -= mom

    Args:
        var: parameters, updated.
        mg: running mean of gradients, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of steps, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added under the root.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, mg, ms, mom = np.array([1.0]), np.array([0.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyCenteredRMSProp(
        ...     var=var, mg=mg, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.0,
        ...     epsilon=0.25, grad=np.array([2.0])
        ... )
        array([0.])

    Source: Graves, "Generating sequences with recurrent neural networks", 2013.
    """

def ApplyKerasRMSProp(
    var: ArrayT,
    rms: Array,
    lr: Scalar,
    rho: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    epsilon_in_root: bool = False,
    name: str | None = None,
) -> ArrayT:
    """RMSProp as Keras computes it without momentum. Not an op of TensorFlow's.

        rms  = rms * rho + grad^2 * (1 - rho)
        var -= grad * lr / (sqrt(rms) + epsilon)                 or, with epsilon_in_root,
        var -= grad * lr / sqrt(rms + epsilon)

    Args:
        var: parameters, updated.
        rms: running mean of squared gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        epsilon: keeps the denominator from 0.
        grad: the gradient.
        epsilon_in_root: where epsilon stands.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, rms = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyKerasRMSProp(
        ...     var=var, rms=rms, lr=0.5, rho=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.])

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; Keras, ``keras.optimizers.legacy.RMSprop``.
    """

def ApplyKerasCenteredRMSProp(
    var: ArrayT,
    rms: Array,
    mg: Array,
    lr: Scalar,
    rho: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    epsilon_in_root: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Centered RMSProp as Keras computes it without momentum. Not an op of TensorFlow's.

        rms  = rms * rho + grad^2 * (1 - rho)
        mg   = mg * rho + grad * (1 - rho)
        var -= grad * lr / (sqrt(rms - mg^2) + epsilon)          or, with epsilon_in_root,
        var -= grad * lr / sqrt(rms - mg^2 + epsilon)

    Args:
        var: parameters, updated.
        rms: running mean of squared gradients, updated.
        mg: running mean of gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        epsilon: keeps the denominator from 0.
        grad: the gradient.
        epsilon_in_root: where epsilon stands.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, rms, mg = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyKerasCenteredRMSProp(
        ...     var=var, rms=rms, mg=mg, lr=0.5, rho=0.5, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.])

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; Keras, ``keras.optimizers.legacy.RMSprop``.
    """

def ApplyTorchRMSProp(
    var: ArrayT,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """RMSProp as PyTorch computes it with momentum. Not an op of TensorFlow's.

        ms   = ms * rho + grad^2 * (1 - rho)
        mom  = mom * momentum + grad / (sqrt(ms) + epsilon)
        var -= mom * lr

    Args:
        var: parameters, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of scaled gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added to the root.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, ms, mom = np.array([1.0]), np.array([0.0]), np.array([2.0])
        >>> raw_ops.ApplyTorchRMSProp(
        ...     var=var, ms=ms, mom=mom, lr=0.25, rho=0.75, momentum=0.5, epsilon=1.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.5])

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; PyTorch, ``torch.optim.RMSprop``.
    """

def ApplyTorchCenteredRMSProp(
    var: ArrayT,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: Scalar,
    rho: Scalar,
    momentum: Scalar,
    epsilon: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Centered RMSProp as PyTorch computes it with momentum. Not an op of TensorFlow's.

        ms   = ms * rho + grad^2 * (1 - rho)
        mg  += (grad - mg) * (1 - rho)
        mom  = mom * momentum + grad / (sqrt(ms - mg^2) + epsilon)
        var -= mom * lr

    Args:
        var: parameters, updated.
        mg: running mean of gradients, updated.
        ms: running mean of squared gradients, updated.
        mom: decayed sum of scaled gradients, updated.
        lr: learning rate.
        rho: decay of the running means.
        momentum: decay of ``mom``.
        epsilon: added to the root.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, mg, ms, mom = np.array([1.0]), np.array([0.0]), np.array([0.0]), np.array([2.0])
        >>> raw_ops.ApplyTorchCenteredRMSProp(
        ...     var=var, mg=mg, ms=ms, mom=mom, lr=0.25, rho=0.5, momentum=0.5, epsilon=1.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.5])

    Source: Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture
        6e, 2012; PyTorch, ``torch.optim.RMSprop``.
    """

def ApplyAddSign(
    var: ArrayT,
    m: Array,
    lr: Scalar,
    alpha: Scalar,
    sign_decay: Scalar,
    beta: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """AddSign: larger steps where the gradient agrees with its running mean.

        m    = m * beta + grad * (1 - beta)
        var -= lr * (alpha + sign_decay * sign(grad) * sign(m)) * grad

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        lr: learning rate.
        alpha: weight of every step.
        sign_decay: weight of the agreement of signs, by schedule.
        beta: decay of ``m``.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyAddSign(
        ...     var=var, m=m, lr=0.25, alpha=1.0, sign_decay=1.0, beta=0.5,
        ...     grad=np.array([2.0])
        ... )
        array([0.])

    Source: Bello et al., "Neural optimizer search with reinforcement learning", 2017.
    """

def ApplyPowerSign(
    var: ArrayT,
    m: Array,
    lr: Scalar,
    logbase: Scalar,
    sign_decay: Scalar,
    beta: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """PowerSign: steps grow by a power where the gradient agrees with its running mean.

        m    = m * beta + grad * (1 - beta)
        var -= lr * exp(logbase * sign_decay * sign(grad) * sign(m)) * grad

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        lr: learning rate.
        logbase: logarithm of the base of the power.
        sign_decay: weight of the agreement of signs, by schedule.
        beta: decay of ``m``.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyPowerSign(
        ...     var=var, m=m, lr=0.5, logbase=0.0, sign_decay=1.0, beta=0.5,
        ...     grad=np.array([2.0])
        ... )
        array([0.])

    Source: Bello et al., "Neural optimizer search with reinforcement learning", 2017.
    """

def ApplyRprop(
    var: ArrayT,
    prev: Array,
    step_size: Array,
    etaminus: Scalar,
    etaplus: Scalar,
    step_size_min: Scalar,
    step_size_max: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Rprop: a step size per element, by the signs of gradients. Not an op of TensorFlow's.

        step_size *= etaplus, etaminus or 1, as grad * prev is positive, negative or 0
        step_size  = min(max(step_size, step_size_min), step_size_max)
        prev       = 0 where that product is negative, else grad
        var       -= sign(prev) * step_size

    Args:
        var: parameters, updated.
        prev: the latest gradient, 0 where its sign had changed, updated.
        step_size: size of the next step, updated.
        etaminus: what ``step_size`` is multiplied by where signs differ, usually 0.5.
        etaplus: that where they agree, usually 1.2.
        step_size_min: smallest ``step_size``.
        step_size_max: largest ``step_size``.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, prev, step_size = np.ones(3), np.array([1.0, 1.0, 0.0]), np.ones(3)
        >>> raw_ops.ApplyRprop(
        ...     var=var, prev=prev, step_size=step_size, etaminus=0.5, etaplus=1.5,
        ...     step_size_min=0.0, step_size_max=50.0, grad=np.array([2.0, -2.0, 2.0])
        ... )
        array([-0.5,  1. ,  0. ])

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation
        learning: the RPROP algorithm", 1993; PyTorch, ``torch.optim.Rprop``.
    """

def ApplyNadam(
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
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adam with scheduled Nesterov momentum, as in Keras. Not an op of TensorFlow's.

        m   += (grad - m) * (1 - beta1)
        v   += (grad^2 - v) * (1 - beta2)
        bar  = (grad * (1 - momentum) / (1 - momentum_product)
                + m * momentum_next / (1 - momentum_product * momentum_next))
        var -= bar * lr / (sqrt(v / (1 - beta2_power)) + epsilon)

    Args:
        var: parameters, updated.
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
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyNadam(
        ...     var=var, m=m, v=v, beta2_power=0.75, lr=0.5, beta1=0.5, beta2=0.75, epsilon=0.0,
        ...     momentum=0.5, momentum_next=0.5, momentum_product=0.5, grad=np.array([2.0])
        ... )
        array([0.33333333])

    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

def ApplyLion(
    var: ArrayT,
    m: Array,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Lion: steps of one size, by the sign of an interpolated momentum. Not an op of TensorFlow's.

        var -= lr * sign(m * beta1 + grad * (1 - beta1))
        m    = m * beta2 + grad * (1 - beta2)

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        lr: learning rate.
        beta1: weight of ``m`` in the step.
        beta2: decay of ``m``.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyLion(var=var, m=m, lr=0.5, beta1=0.5, beta2=0.5, grad=np.array([2.0]))
        array([0.5])

    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023.
    """

def ApplyAdaBelief(
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
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """AdaBelief: Adam scaled by how far gradients are from their mean. Not an op of TensorFlow's.

        m   += (grad - m) * (1 - beta1)
        s   += ((grad - m)^2 - s) * (1 - beta2) + epsilon
        var -= lr * m / (1 - beta1_power) / (sqrt(s / (1 - beta2_power)) + epsilon)

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        s: running mean of squared distances from it, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``s``.
        epsilon: added to ``s`` and to the root.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, s = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdaBelief(
        ...     var=var, m=m, s=s, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.])

    Source: Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed
        gradients", 2020.
    """

def ApplyRAdam(
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
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """RAdam: Adam that warms up by itself. Not an op of TensorFlow's.

        m   += (grad - m) * (1 - beta1)
        v   += (grad^2 - v) * (1 - beta2)
        r    = sqrt((sma - 4) * (sma - 2) / sma * (1 + beta2) * (1 - beta2)
                    / ((5 * beta2 - 3) * (3 * beta2 - 1)))
        var -= (m * (lr * r * sqrt(1 - beta2_power) / (1 - beta1_power))
                / (sqrt(v) + epsilon))        if sma >= sma_threshold; otherwise
        var -= m * (lr / (1 - beta1_power))

    Where ``r`` has no value, ``sma <= 4`` or ``5 * beta2 <= 3``, it is otherwise, too.

    Args:
        var: parameters, updated.
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
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyRAdam(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, sma=1.0, sma_threshold=5.0, grad=np.array([0.5])
        ... )
        array([0.75])

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2019;
        TensorFlow Addons, ``RectifiedAdam``.
    """

def ApplyLamb(
    var: ArrayT,
    m: Array,
    v: Array,
    beta1_power: Scalar,
    beta2_power: Scalar,
    lr: Scalar,
    beta1: Scalar,
    beta2: Scalar,
    epsilon: Scalar,
    weight_decay: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """LAMB: Adam with steps in proportion to the norm of ``var``. Not an op of TensorFlow's.

        m        += (grad - m) * (1 - beta1)
        v        += (grad^2 - v) * (1 - beta2)
        direction = (m / (1 - beta1_power) / (sqrt(v / (1 - beta2_power)) + epsilon)
                     + weight_decay * var)
        var      -= lr * norm(var) / norm(direction) * direction

    Norms are Euclidean, of all of ``var``. Where one of them is 0, their quotient counts as 1.

    Args:
        var: parameters, updated.
        m: running mean of gradients, updated.
        v: running mean of squared gradients, updated.
        beta1_power: beta1 to the power of the step number (1 at the first step).
        beta2_power: beta2 to that power, <= 1.
        lr: learning rate.
        beta1: decay of ``m``.
        beta2: decay of ``v``.
        epsilon: added to the root.
        weight_decay: how much of ``var`` is in the direction.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, m, v = np.array([3.0, 4.0]), np.zeros(2), np.zeros(2)
        >>> raw_ops.ApplyLamb(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, weight_decay=0.0, grad=np.array([2.0, 0.0])
        ... )
        array([0.5, 4. ])

    Source: You et al., "Large batch optimization for deep learning: training BERT in 76
        minutes", 2020, algorithm 2.
    """

def ApplyAdafactor(
    var: ArrayT,
    r: Array,
    c: Array,
    v: Array,
    lr: Scalar,
    beta2: Scalar,
    epsilon_1: Scalar,
    epsilon_2: Scalar,
    clip_threshold: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adafactor, as in Keras: second moments by rows and columns. Not an op of TensorFlow's.

    With ``rms(x) = sqrt(mean(x^2))`` of a whole array, and a ``var`` of rank 2 or more, whose
    last two axes are those of matrices:

        square = grad^2 + epsilon_1
        r      = beta2 * r + (1 - beta2) * mean(square, axis=-1)
        c      = beta2 * c + (1 - beta2) * mean(square, axis=-2)
        v      = (r / mean(r, axis=-1, keepdims=True))[..., None] * c[..., None, :]
        x      = grad / sqrt(v)
        x      = x / max(1, rms(x) / clip_threshold)
        var   -= lr * max(epsilon_2, rms(var)) * x

    For one of rank 0 or 1, ``v = beta2 * v + (1 - beta2) * square``, without ``r`` and ``c``.
    Means are sums in float64.

    Args:
        var: parameters, updated.
        r: running mean of squared gradients along the last axis, shape ``var.shape[:-1]``,
            updated; for a ``var`` of rank 0 or 1, empty, shape ``(0,)``.
        c: that along the axis before, shape ``var.shape[:-2] + var.shape[-1:]``, updated; for
            a ``var`` of rank 0 or 1, empty, shape ``(0,)``.
        v: second moments, the shape of ``var``, updated; read only if ``r`` and ``c`` are
            empty.
        lr: learning rate relative to ``var``, at step t Keras's ``min(rate, 1 / sqrt(t))``.
        beta2: decay of the means, at step t Keras's ``1 - t ** beta_2_decay`` (0 at the
            first).
        epsilon_1: added to squared gradients.
        epsilon_2: smallest scale of ``var``.
        clip_threshold: largest root mean square of ``x``.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, r, c, v = np.ones((2, 2)), np.zeros(2), np.zeros(2), np.zeros((2, 2))
        >>> raw_ops.ApplyAdafactor(
        ...     var=var, r=r, c=c, v=v, lr=0.5, beta2=0.0, epsilon_1=0.0, epsilon_2=0.0,
        ...     clip_threshold=1.0, grad=np.array([[1.0, 2.0], [-2.0, -4.0]])
        ... )
        array([[0.5, 0.5],
               [1.5, 1.5]])

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory
        cost", 2018; `tf.keras.optimizers.Adafactor`.
    """

def ApplyTorchAdafactor(
    var: ArrayT,
    r: Array,
    c: Array,
    v: Array,
    lr: Scalar,
    one_minus_beta2: Scalar,
    epsilon_1: Scalar,
    epsilon_2: Scalar,
    clip_threshold: Scalar,
    grad: Array,
    use_locking: bool = False,
    name: str | None = None,
) -> ArrayT:
    """Adafactor, as in PyTorch: second moments by rows and columns. Not an op of TensorFlow's.

    With ``rms(x) = sqrt(mean(x^2))`` of a whole array, and a ``var`` of rank 2 or more, whose
    last two axes are those of matrices:

        r      += (mean(grad^2, axis=-1) - r) * one_minus_beta2
        c      += (mean(grad^2, axis=-2) - c) * one_minus_beta2
        share   = r / max(epsilon_1, mean(r, axis=-1, keepdims=True))
        moments = share[..., None] * c[..., None, :]
        x       = grad / sqrt(max(epsilon_1^2, moments))
        x       = x / max(1, rms(x) / clip_threshold)
        var    -= lr * max(epsilon_2, rms(var)) * x

    For one of rank 0 or 1, ``v += (grad^2 - v) * one_minus_beta2`` and ``moments = v``, without
    ``r`` and ``c``. Means are sums in float64.

    Args:
        var: parameters, updated.
        r: running mean of squared gradients along the last axis, shape ``var.shape[:-1]``,
            updated; for a ``var`` of rank 0 or 1, empty, shape ``(0,)``.
        c: that along the axis before, shape ``var.shape[:-2] + var.shape[-1:]``, updated; for
            a ``var`` of rank 0 or 1, empty, shape ``(0,)``.
        v: running mean of squared gradients of a ``var`` of rank 0 or 1, its shape, updated;
            for any other, empty, shape ``(0,)``.
        lr: learning rate relative to ``var``, at step t PyTorch's ``min(lr, 1 / sqrt(t))``.
        one_minus_beta2: weight of new squares, at step t PyTorch's ``t ** beta2_decay`` (1 at
            the first).
        epsilon_1: smallest mean of ``r`` and root of ``moments``.
        epsilon_2: smallest scale of ``var``.
        clip_threshold: largest root mean square of ``x``.
        grad: the gradient.
        use_locking, name: see the module.

    Example:
        >>> import numpy as np
        >>> from slotwise import raw_ops
        >>> var, r, c, v = np.ones((2, 2)), np.zeros(2), np.zeros(2), np.zeros(0)
        >>> raw_ops.ApplyTorchAdafactor(
        ...     var=var, r=r, c=c, v=v, lr=0.5, one_minus_beta2=1.0, epsilon_1=0.0, epsilon_2=0.0,
        ...     clip_threshold=1.0, grad=np.array([[1.0, 2.0], [-2.0, -4.0]])
        ... )
        array([[0.5, 0.5],
               [1.5, 1.5]])

    Source: Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory
        cost", 2018; PyTorch, ``torch.optim.Adafactor``.
    """

ResourceApplyGradientDescent = ApplyGradientDescent
ResourceApplyProximalGradientDescent = ApplyProximalGradientDescent
ResourceApplyAdadelta = ApplyAdadelta
ResourceApplyAdagrad = ApplyAdagrad
ResourceApplyAdagradV2 = ApplyAdagradV2
ResourceApplyAdagradDA = ApplyAdagradDA
ResourceApplyProximalAdagrad = ApplyProximalAdagrad
ResourceApplyFtrl = ApplyFtrl
ResourceApplyFtrlV2 = ApplyFtrlV2
ResourceApplyMomentum = ApplyMomentum
ResourceApplyKerasMomentum = ApplyKerasMomentum
ResourceApplyAdam = ApplyAdam
ResourceApplyAdamWithAmsgrad = ApplyAdamWithAmsgrad
ResourceApplyAdaMax = ApplyAdaMax
ResourceApplyRMSProp = ApplyRMSProp
ResourceApplyCenteredRMSProp = ApplyCenteredRMSProp
ResourceApplyAddSign = ApplyAddSign
ResourceApplyPowerSign = ApplyPowerSign

__all__ = [
    "ApplyAdaBelief",
    "ApplyAdaMax",
    "ApplyAdadelta",
    "ApplyAdafactor",
    "ApplyAdagrad",
    "ApplyAdagradDA",
    "ApplyAdagradV2",
    "ApplyAdam",
    "ApplyAdamWithAmsgrad",
    "ApplyAddSign",
    "ApplyCenteredRMSProp",
    "ApplyFtrl",
    "ApplyFtrlV2",
    "ApplyGradientDescent",
    "ApplyKerasAdagrad",
    "ApplyKerasCenteredRMSProp",
    "ApplyKerasMomentum",
    "ApplyKerasRMSProp",
    "ApplyLamb",
    "ApplyLion",
    "ApplyMomentum",
    "ApplyNadam",
    "ApplyPowerSign",
    "ApplyProximalAdagrad",
    "ApplyProximalGradientDescent",
    "ApplyRAdam",
    "ApplyRMSProp",
    "ApplyRprop",
    "ApplyTorchAdaMax",
    "ApplyTorchAdafactor",
    "ApplyTorchCenteredRMSProp",
    "ApplyTorchRMSProp",
    "ResourceApplyAdaMax",
    "ResourceApplyAdadelta",
    "ResourceApplyAdagrad",
    "ResourceApplyAdagradDA",
    "ResourceApplyAdagradV2",
    "ResourceApplyAdam",
    "ResourceApplyAdamWithAmsgrad",
    "ResourceApplyAddSign",
    "ResourceApplyCenteredRMSProp",
    "ResourceApplyFtrl",
    "ResourceApplyFtrlV2",
    "ResourceApplyGradientDescent",
    "ResourceApplyKerasMomentum",
    "ResourceApplyMomentum",
    "ResourceApplyPowerSign",
    "ResourceApplyProximalAdagrad",
    "ResourceApplyProximalGradientDescent",
    "ResourceApplyRMSProp",
]
