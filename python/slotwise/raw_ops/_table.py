# SPDX-License-Identifier: Apache-2.0
"""The training ops, an entry per rule: what they are called with, and what their docstrings say.

An entry has what a reader of `help(raw_ops.ApplyAdam)` sees and the extension does not know. The
slots, the gradient and the options of a rule, and whether it has a dense op, a sparse one or both,
are in the extension's registry. `_make.py` makes the functions of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rule:
    """The ops of a rule: `Apply` and `SparseApply` are put before its name.

    ``arguments`` are those of the dense op without a default, in TensorFlow's order; an op of rows
    has ``indices`` after the gradient. ``options`` are those with one, which follow `use_locking`.
    ``about`` is the docstring above "Args". ``says`` has what `SENTENCES` lacks or says otherwise.
    ``example`` is the dense op's (the sparse one's, if it is the only one). ``tensorflow`` tells
    which of the ops TensorFlow has.
    """

    name: str
    arguments: str
    about: str
    example: str
    source: str
    says: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, bool] = field(default_factory=dict)
    tensorflow: tuple[str, ...] = ()


# What is said of an argument that several rules have.
SENTENCES = {
    "var": "parameters, updated.",
    "delta": "the gradient.",
    "grad": "the gradient.",
    "accum": "sum of squared gradients, updated.",
    "linear": "the linear term; held times lr with ``multiply_linear_by_lr``, updated.",
    "m": "running mean of gradients, updated.",
    "v": "running mean of squared gradients, updated.",
    "mg": "running mean of gradients, updated.",
    "ms": "running mean of squared gradients, updated.",
    "rms": "running mean of squared gradients, updated.",
    "mom": "decayed sum of steps, updated.",
    "lr": "learning rate.",
    "alpha": "step size.",
    "l1": "l1 regularization strength.",
    "l2": "l2 regularization strength.",
    "lr_power": "power of the learning rate schedule, usually -0.5; finite.",
    "rho": "decay of the running means.",
    "beta": "decay of ``m``.",
    "beta1": "decay of ``m``.",
    "beta2": "decay of ``v``.",
    "beta1_power": "beta1 to the power of the step number (1 at the first step).",
    "beta2_power": "beta2 to that power, <= 1.",
    "epsilon": "added to the root.",
    "sign_decay": "weight of the agreement of signs, by schedule.",
    "use_nesterov": "look one step ahead.",
    "update_slots": "whether to add to ``accum``.",
    "multiply_linear_by_lr": (
        "keep ``linear`` multiplied by ``lr``, so that ``lr`` may change or be 0."
    ),
    "epsilon_in_root": "where epsilon stands.",
}

# What is said of the arguments of every sparse op.
ROW_SENTENCES = {
    "var": "table, updated.",
    "grad": "the gradients of rows.",
    "indices": "the row that each is for.",
}

INTEGERS = ("global_step",)

# Hyperparameters in the examples of sparse ops, where they are not 0.5.
EXAMPLE = {
    "beta2": 0.75,
    "beta2_power": 0.75,
    "epsilon": 1.0,
    "global_step": 1,
    "l1": 0.0,
    "l2": 0.0,
    "l2_shrinkage": 0.0,
    "logbase": 0.0,
    "lr_power": -0.5,
    "momentum": 0.25,
    "rho": 0.75,
    "sign_decay": 1.0,
}

# What a scatter op sets a row to, and what becomes of a row of 1 with an update of 2.
SCATTERS = {
    "Add": ("row + update", 3.0),
    "Sub": ("row - update", -1.0),
    "Mul": ("row * update", 2.0),
    "Div": ("row / update", 0.5),
    "Min": ("min(row, update)", 1.0),
    "Max": ("max(row, update)", 2.0),
    "Update": ("update", 2.0),
}

# What is said of Adafactor's means.
_FACTORS = {
    "r": (
        "running mean of squared gradients along the last axis, shape ``var.shape[:-1]``, "
        "updated; for a ``var`` of rank 0 or 1, empty, shape ``(0,)``."
    ),
    "c": (
        "that along the axis before, shape ``var.shape[:-2] + var.shape[-1:]``, updated; "
        "for a ``var`` of rank 0 or 1, empty, shape ``(0,)``."
    ),
}

_DENSE, _BOTH = ("Apply",), ("Apply", "SparseApply")

_DUCHI_2009 = (
    'Duchi and Singer, "Efficient online and batch learning using forward backward splitting", 2009'
)
_DUCHI_2011 = (
    'Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic '
    'optimization", 2011'
)
_MCMAHAN_2013 = 'McMahan et al., "Ad click prediction: a view from the trenches", 2013'
_SUTSKEVER_2013 = (
    'Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013'
)
_HINTON_2012 = (
    'Hinton, Srivastava and Swersky, "Neural networks for machine learning", lecture 6e, 2012'
)
_KINGMA_2014 = 'Kingma and Ba, "Adam: a method for stochastic optimization", 2014'
_BELLO_2017 = 'Bello et al., "Neural optimizer search with reinforcement learning", 2017'

RULES = (
    Rule(
        "GradientDescent",
        "var alpha delta",
        about="""
        Gradient descent.

            var -= delta * alpha
        """,
        example="""
        >>> var, delta = np.array([1.0, 2.0]), np.array([1.0, -1.0])
        >>> raw_ops.ApplyGradientDescent(var=var, alpha=0.5, delta=delta)
        array([0.5, 2.5])
        """,
        source='Robbins and Monro, "A stochastic approximation method", 1951',
        tensorflow=_DENSE,
    ),
    Rule(
        "ProximalGradientDescent",
        "var alpha l1 l2 delta",
        about="""
        Gradient descent followed by the proximal step of l1 and l2 regularization (FOBOS).

            prox = var - delta * alpha
            var  = sign(prox) * max(|prox| - alpha * l1, 0) / (1 + l2 * alpha)
        """,
        example="""
        >>> var, delta = np.array([1.0, 0.1]), np.array([1.0, 0.0])
        >>> raw_ops.ApplyProximalGradientDescent(var=var, alpha=0.5, l1=0.5, l2=0.0, delta=delta)
        array([0.25, 0.  ])
        """,
        source=_DUCHI_2009,
        says={"l1": "l1 regularization strength; at most 0 means none."},
        tensorflow=_BOTH,
    ),
    Rule(
        "Adadelta",
        "var accum accum_update lr rho epsilon grad",
        about="""
        Adadelta: steps scaled by the root mean square of past steps over that of past gradients.

            accum        = accum * rho + grad^2 * (1 - rho)
            update       = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) * grad
            var         -= update * lr
            accum_update = accum_update * rho + update^2 * (1 - rho)
        """,
        example="""
        >>> var, accum, accum_update = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdadelta(
        ...     var=var, accum=accum, accum_update=accum_update, lr=1.0, rho=0.75,
        ...     epsilon=1.0, grad=np.array([2.0])
        ... )
        array([-0.41421356])
        """,
        source='Zeiler, "ADADELTA: an adaptive learning rate method", 2012',
        says={
            "accum": "running mean of squared gradients, updated.",
            "accum_update": "running mean of squared updates, updated.",
            "rho": "decay of both running means.",
            "epsilon": "added under both square roots.",
        },
        tensorflow=_BOTH,
    ),
    Rule(
        "Adagrad",
        "var accum lr grad",
        about="""
        Adagrad: steps scaled by the root of the sum of squared gradients.

            accum += grad^2                    if update_slots
            var   -= grad * lr / sqrt(accum)
        """,
        example="""
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyAdagrad(var=var, accum=accum, lr=0.5, grad=np.array([2.0]))
        array([0.5])
        """,
        source=_DUCHI_2011,
        options={"update_slots": True},
        tensorflow=_BOTH,
    ),
    Rule(
        "AdagradV2",
        "var accum lr epsilon grad",
        about="""
        Adagrad with an epsilon outside of the square root.

            accum += grad^2                    if update_slots
            var   -= grad * lr / (sqrt(accum) + epsilon)
        """,
        example="""
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyAdagradV2(var=var, accum=accum, lr=0.5, epsilon=2.0, grad=np.array([2.0]))
        array([0.75])
        """,
        source=_DUCHI_2011,
        options={"update_slots": True},
        tensorflow=_BOTH,
    ),
    Rule(
        "KerasAdagrad",
        "var accum lr epsilon grad",
        about="""
        Adagrad with an epsilon inside of the square root.

            accum += grad^2
            var   -= grad * lr / sqrt(accum + epsilon)
        """,
        example="""
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyKerasAdagrad(
        ...     var=var, accum=accum, lr=0.5, epsilon=12.0, grad=np.array([2.0])
        ... )
        array([0.75])
        """,
        source=f"{_DUCHI_2011}; Keras, ``keras.optimizers.Adagrad``",
        says={"epsilon": "added to ``accum`` in the root."},
    ),
    Rule(
        "AdagradDA",
        "var gradient_accumulator gradient_squared_accumulator grad lr l1 l2 global_step",
        about="""
        Adagrad by dual averaging: var is computed anew from the sums of all gradients.

            gradient_accumulator         += grad
            gradient_squared_accumulator += grad^2
            var = (-lr * sign(gradient_accumulator)
                   * max(|gradient_accumulator| - global_step * l1, 0)
                   / (l2 * global_step * lr + sqrt(gradient_squared_accumulator)))
        """,
        example="""
        >>> var, ga, da = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdagradDA(
        ...     var=var, gradient_accumulator=ga, gradient_squared_accumulator=da,
        ...     grad=np.array([2.0]), lr=0.5, l1=0.0, l2=0.0, global_step=1
        ... )
        array([-0.5])
        """,
        source=_DUCHI_2011,
        says={
            "gradient_accumulator": "sum of gradients, updated.",
            "gradient_squared_accumulator": "sum of squared gradients, updated.",
            "l1": "l1 regularization strength; at most 0 means none.",
            "global_step": "number of this step, an integer; rounded to float32 for every dtype.",
        },
        tensorflow=_BOTH,
    ),
    Rule(
        "ProximalAdagrad",
        "var accum lr l1 l2 grad",
        about="""
        Adagrad followed by the proximal step of l1 and l2 regularization.

            accum += grad^2
            eta    = lr / sqrt(accum)
            prox   = var - grad * eta
            var    = sign(prox) * max(|prox| - eta * l1, 0) / (1 + l2 * eta)
        """,
        example="""
        >>> var, accum = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyProximalAdagrad(
        ...     var=var, accum=accum, lr=0.5, l1=0.0, l2=4.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.25])
        """,
        source=_DUCHI_2009,
        says={
            "lr": "learning rate, > 0.",
            "l1": "l1 regularization strength, >= 0.",
            "l2": "l2 regularization strength, >= 0.",
        },
        tensorflow=_BOTH,
    ),
    Rule(
        "Ftrl",
        "var accum linear grad lr l1 l2 lr_power",
        about="""
        Follow the regularized leader, proximal (FTRL).

            n       = accum + grad^2
            linear += grad - (n^-lr_power - accum^-lr_power) / lr * var
            var     = (l1 * sign(linear) - linear) / (n^-lr_power / lr + 2 * l2)   if |linear| > l1
            var     = 0                                                            otherwise
            accum   = n
        """,
        example="""
        >>> var, accum, linear = np.array([0.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyFtrl(
        ...     var=var, accum=accum, linear=linear, grad=np.array([2.0]), lr=0.5, l1=1.0,
        ...     l2=0.0, lr_power=-0.5
        ... )
        array([-0.25])
        """,
        source=_MCMAHAN_2013,
        options={"multiply_linear_by_lr": False},
        tensorflow=_BOTH,
    ),
    Rule(
        "FtrlV2",
        "var accum linear grad lr l1 l2 l2_shrinkage lr_power",
        about="""
        FTRL with an l2 penalty of the magnitude type (shrinkage) besides the stabilizing one.

            g       = grad + 2 * l2_shrinkage * var
            n       = accum + grad^2
            linear += g - (n^-lr_power - accum^-lr_power) / lr * var
            var     = (l1 * sign(linear) - linear) / (n^-lr_power / lr + 2 * l2)   if |linear| > l1
            var     = 0                                                            otherwise
            accum   = n
        """,
        example="""
        >>> var, accum, linear = np.array([0.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyFtrlV2(
        ...     var=var, accum=accum, linear=linear, grad=np.array([2.0]), lr=0.5, l1=1.0,
        ...     l2=0.0, l2_shrinkage=0.1, lr_power=-0.5
        ... )
        array([-0.25])
        """,
        source=_MCMAHAN_2013,
        says={"l2_shrinkage": "l2 shrinkage strength."},
        options={"multiply_linear_by_lr": False},
        tensorflow=_BOTH,
    ),
    Rule(
        "Momentum",
        "var accum lr grad momentum",
        about="""
        Gradient descent with momentum.

            accum = accum * momentum + grad
            var  -= accum * lr                               or, with use_nesterov,
            var  -= grad * lr + accum * momentum * lr
        """,
        example="""
        >>> var, accum = np.array([1.0]), np.array([1.0])
        >>> raw_ops.ApplyMomentum(var=var, accum=accum, lr=0.5, grad=np.array([1.0]), momentum=0.5)
        array([0.25])
        """,
        source=_SUTSKEVER_2013,
        says={
            "accum": "decayed sum of gradients, updated.",
            "momentum": "decay of ``accum``.",
        },
        options={"use_nesterov": False},
        tensorflow=_BOTH,
    ),
    Rule(
        "KerasMomentum",
        "var accum lr grad momentum",
        about="""
        Gradient descent with momentum, the learning rate inside the accumulator.

            accum = accum * momentum - grad * lr
            var  += accum                                    or, with use_nesterov,
            var  += accum * momentum - grad * lr
        """,
        example="""
        >>> var, accum = np.array([1.0]), np.array([-1.0])
        >>> raw_ops.ApplyKerasMomentum(
        ...     var=var, accum=accum, lr=0.5, grad=np.array([1.0]),
        ...     momentum=0.5
        ... )
        array([0.])
        """,
        source=_SUTSKEVER_2013,
        says={
            "accum": "decayed sum of steps, updated.",
            "momentum": "decay of ``accum``.",
        },
        options={"use_nesterov": False},
        tensorflow=_BOTH,
    ),
    Rule(
        "Adam",
        "var m v beta1_power beta2_power lr beta1 beta2 epsilon grad",
        about="""
        Adam.

            alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
            m    += (grad - m) * (1 - beta1)
            v    += (grad^2 - v) * (1 - beta2)
            var  -= m * alpha / (sqrt(v) + epsilon)          or, with use_nesterov,
            var  -= (grad * (1 - beta1) + beta1 * m) * alpha / (sqrt(v) + epsilon)
        """,
        example="""
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdam(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.5])
        """,
        source=_KINGMA_2014,
        options={"use_nesterov": False},
        tensorflow=_DENSE,
    ),
    Rule(
        "AdamWithAmsgrad",
        "var m v vhat beta1_power beta2_power lr beta1 beta2 epsilon grad",
        about="""
        Adam scaled by the largest second moment so far (AMSGrad).

            alpha = lr * sqrt(1 - beta2_power) / (1 - beta1_power)
            m    += (grad - m) * (1 - beta1)
            v    += (grad^2 - v) * (1 - beta2)
            vhat  = max(vhat, v)
            var  -= m * alpha / (sqrt(vhat) + epsilon)
        """,
        example="""
        >>> var, m, v, vhat = np.array([1.0]), np.array([0.0]), np.array([0.0]), np.array([4.0])
        >>> raw_ops.ApplyAdamWithAmsgrad(
        ...     var=var, m=m, v=v, vhat=vhat, beta1_power=0.5, beta2_power=0.75, lr=0.5,
        ...     beta1=0.5, beta2=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.75])
        """,
        source='Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018',
        says={"vhat": "largest ``v`` so far, updated."},
        tensorflow=_DENSE,
    ),
    Rule(
        "AdaMax",
        "var m v beta1_power lr beta1 beta2 epsilon grad",
        about="""
        AdaMax: Adam with the infinity norm.

            m   += (grad - m) * (1 - beta1)
            v    = max(beta2 * v, |grad|)
            var -= lr / (1 - beta1_power) * m / (v + epsilon)
        """,
        example="""
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdaMax(
        ...     var=var, m=m, v=v, beta1_power=0.5, lr=0.5, beta1=0.5, beta2=0.75,
        ...     epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.5])
        """,
        source=f"{_KINGMA_2014}, section 7.1",
        says={
            "v": "decayed largest absolute gradient, updated.",
            "epsilon": "added to ``v``.",
        },
        tensorflow=_DENSE,
    ),
    Rule(
        "TorchAdaMax",
        "var m v beta1_power lr beta1 beta2 epsilon grad",
        about="""
        AdaMax as PyTorch computes it: epsilon is added to gradients.

            m   += (grad - m) * (1 - beta1)
            v    = max(beta2 * v, |grad| + epsilon)
            var -= lr / (1 - beta1_power) * m / v
        """,
        example="""
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyTorchAdaMax(
        ...     var=var, m=m, v=v, beta1_power=0.5, lr=0.5, beta1=0.5, beta2=0.75,
        ...     epsilon=2.0, grad=np.array([2.0])
        ... )
        array([0.75])
        """,
        source=f"{_KINGMA_2014}, section 7.1; PyTorch, ``torch.optim.Adamax``",
        says={
            "v": "decayed largest absolute gradient, updated.",
            "epsilon": "added to absolute gradients.",
        },
    ),
    Rule(
        "RMSProp",
        "var ms mom lr rho momentum epsilon grad",
        about="""
        RMSProp with momentum.

            ms  += (grad^2 - ms) * (1 - rho)
            mom  = mom * momentum + grad * lr / sqrt(ms + epsilon)
            var -= mom
        """,
        example="""
        >>> var, ms, mom = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyRMSProp(
        ...     var=var, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.0, epsilon=0.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.])
        """,
        source=_HINTON_2012,
        says={
            "momentum": "decay of ``mom``.",
            "epsilon": "added under the root.",
        },
        tensorflow=_BOTH,
    ),
    Rule(
        "CenteredRMSProp",
        "var mg ms mom lr rho momentum epsilon grad",
        about="""
        RMSProp scaled by the variance of the gradients instead of their mean square.

            ms  += (grad^2 - ms) * (1 - rho)
            mg  += (grad - mg) * (1 - rho)
            mom  = mom * momentum + grad * lr / sqrt(ms - mg^2 + epsilon)
            var -= mom
        """,
        example="""
        >>> var, mg, ms, mom = np.array([1.0]), np.array([0.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyCenteredRMSProp(
        ...     var=var, mg=mg, ms=ms, mom=mom, lr=0.5, rho=0.75, momentum=0.0,
        ...     epsilon=0.25, grad=np.array([2.0])
        ... )
        array([0.])
        """,
        source='Graves, "Generating sequences with recurrent neural networks", 2013',
        says={
            "momentum": "decay of ``mom``.",
            "epsilon": "added under the root.",
        },
        tensorflow=_BOTH,
    ),
    Rule(
        "KerasRMSProp",
        "var rms lr rho epsilon grad",
        about="""
        RMSProp as Keras computes it without momentum.

            rms  = rms * rho + grad^2 * (1 - rho)
            var -= grad * lr / (sqrt(rms) + epsilon)                 or, with epsilon_in_root,
            var -= grad * lr / sqrt(rms + epsilon)
        """,
        example="""
        >>> var, rms = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyKerasRMSProp(
        ...     var=var, rms=rms, lr=0.5, rho=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.])
        """,
        source=f"{_HINTON_2012}; Keras, ``keras.optimizers.legacy.RMSprop``",
        says={"epsilon": "keeps the denominator from 0."},
        options={"epsilon_in_root": False},
    ),
    Rule(
        "KerasCenteredRMSProp",
        "var rms mg lr rho epsilon grad",
        about="""
        Centered RMSProp as Keras computes it without momentum.

            rms  = rms * rho + grad^2 * (1 - rho)
            mg   = mg * rho + grad * (1 - rho)
            var -= grad * lr / (sqrt(rms - mg^2) + epsilon)          or, with epsilon_in_root,
            var -= grad * lr / sqrt(rms - mg^2 + epsilon)
        """,
        example="""
        >>> var, rms, mg = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyKerasCenteredRMSProp(
        ...     var=var, rms=rms, mg=mg, lr=0.5, rho=0.5, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.])
        """,
        source=f"{_HINTON_2012}; Keras, ``keras.optimizers.legacy.RMSprop``",
        says={"epsilon": "keeps the denominator from 0."},
        options={"epsilon_in_root": False},
    ),
    Rule(
        "TorchRMSProp",
        "var ms mom lr rho momentum epsilon grad",
        about="""
        RMSProp as PyTorch computes it with momentum.

            ms   = ms * rho + grad^2 * (1 - rho)
            mom  = mom * momentum + grad / (sqrt(ms) + epsilon)
            var -= mom * lr
        """,
        example="""
        >>> var, ms, mom = np.array([1.0]), np.array([0.0]), np.array([2.0])
        >>> raw_ops.ApplyTorchRMSProp(
        ...     var=var, ms=ms, mom=mom, lr=0.25, rho=0.75, momentum=0.5, epsilon=1.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.5])
        """,
        source=f"{_HINTON_2012}; PyTorch, ``torch.optim.RMSprop``",
        says={
            "mom": "decayed sum of scaled gradients, updated.",
            "momentum": "decay of ``mom``.",
        },
    ),
    Rule(
        "TorchCenteredRMSProp",
        "var mg ms mom lr rho momentum epsilon grad",
        about="""
        Centered RMSProp as PyTorch computes it with momentum.

            ms   = ms * rho + grad^2 * (1 - rho)
            mg  += (grad - mg) * (1 - rho)
            mom  = mom * momentum + grad / (sqrt(ms - mg^2) + epsilon)
            var -= mom * lr
        """,
        example="""
        >>> var, mg, ms, mom = np.array([1.0]), np.array([0.0]), np.array([0.0]), np.array([2.0])
        >>> raw_ops.ApplyTorchCenteredRMSProp(
        ...     var=var, mg=mg, ms=ms, mom=mom, lr=0.25, rho=0.5, momentum=0.5, epsilon=1.0,
        ...     grad=np.array([2.0])
        ... )
        array([0.5])
        """,
        source=f"{_HINTON_2012}; PyTorch, ``torch.optim.RMSprop``",
        says={
            "mom": "decayed sum of scaled gradients, updated.",
            "momentum": "decay of ``mom``.",
        },
    ),
    Rule(
        "AddSign",
        "var m lr alpha sign_decay beta grad",
        about="""
        AddSign: larger steps where the gradient agrees with its running mean.

            m    = m * beta + grad * (1 - beta)
            var -= lr * (alpha + sign_decay * sign(grad) * sign(m)) * grad
        """,
        example="""
        >>> var, m = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyAddSign(
        ...     var=var, m=m, lr=0.25, alpha=1.0, sign_decay=1.0, beta=0.5,
        ...     grad=np.array([2.0])
        ... )
        array([0.])
        """,
        source=_BELLO_2017,
        says={"alpha": "weight of every step."},
        tensorflow=_DENSE,
    ),
    Rule(
        "PowerSign",
        "var m lr logbase sign_decay beta grad",
        about="""
        PowerSign: steps grow by a power where the gradient agrees with its running mean.

            m    = m * beta + grad * (1 - beta)
            var -= lr * exp(logbase * sign_decay * sign(grad) * sign(m)) * grad
        """,
        example="""
        >>> var, m = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyPowerSign(
        ...     var=var, m=m, lr=0.5, logbase=0.0, sign_decay=1.0, beta=0.5,
        ...     grad=np.array([2.0])
        ... )
        array([0.])
        """,
        source=_BELLO_2017,
        says={"logbase": "logarithm of the base of the power."},
        tensorflow=_DENSE,
    ),
    Rule(
        "Rprop",
        "var prev step_size etaminus etaplus step_size_min step_size_max grad",
        about="""
        Rprop: a step size per element, by the signs of gradients.

            step_size *= etaplus, etaminus or 1, as grad * prev is positive, negative or 0
            step_size  = min(max(step_size, step_size_min), step_size_max)
            prev       = 0 where that product is negative, else grad
            var       -= sign(prev) * step_size
        """,
        example="""
        >>> var, prev, step_size = np.ones(3), np.array([1.0, 1.0, 0.0]), np.ones(3)
        >>> raw_ops.ApplyRprop(
        ...     var=var, prev=prev, step_size=step_size, etaminus=0.5, etaplus=1.5,
        ...     step_size_min=0.0, step_size_max=50.0, grad=np.array([2.0, -2.0, 2.0])
        ... )
        array([-0.5,  1. ,  0. ])
        """,
        source=(
            'Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: '
            'the RPROP algorithm", 1993; PyTorch, ``torch.optim.Rprop``'
        ),
        says={
            "prev": "the latest gradient, 0 where its sign had changed, updated.",
            "step_size": "size of the next step, updated.",
            "etaminus": "what ``step_size`` is multiplied by where signs differ, usually 0.5.",
            "etaplus": "that where they agree, usually 1.2.",
            "step_size_min": "smallest ``step_size``.",
            "step_size_max": "largest ``step_size``.",
        },
    ),
    Rule(
        "Nadam",
        "var m v beta2_power lr beta1 beta2 epsilon momentum momentum_next momentum_product grad",
        about="""
        Adam with scheduled Nesterov momentum, as in Keras.

            m   += (grad - m) * (1 - beta1)
            v   += (grad^2 - v) * (1 - beta2)
            bar  = (grad * (1 - momentum) / (1 - momentum_product)
                    + m * momentum_next / (1 - momentum_product * momentum_next))
            var -= bar * lr / (sqrt(v / (1 - beta2_power)) + epsilon)
        """,
        example="""
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyNadam(
        ...     var=var, m=m, v=v, beta2_power=0.75, lr=0.5, beta1=0.5, beta2=0.75, epsilon=0.0,
        ...     momentum=0.5, momentum_next=0.5, momentum_product=0.5, grad=np.array([2.0])
        ... )
        array([0.33333333])
        """,
        source='Dozat, "Incorporating Nesterov momentum into Adam", 2016',
        says={
            "beta2_power": "beta2 to the power of the step number.",
            "momentum": "scheduled first decay of this step.",
            "momentum_next": "that of the next step.",
            "momentum_product": "product of the scheduled decays up to this step.",
        },
    ),
    Rule(
        "Lion",
        "var m lr beta1 beta2 grad",
        about="""
        Lion: steps of one size, by the sign of an interpolated momentum.

            var -= lr * sign(m * beta1 + grad * (1 - beta1))
            m    = m * beta2 + grad * (1 - beta2)
        """,
        example="""
        >>> var, m = np.array([1.0]), np.array([0.0])
        >>> raw_ops.ApplyLion(var=var, m=m, lr=0.5, beta1=0.5, beta2=0.5, grad=np.array([2.0]))
        array([0.5])
        """,
        source='Chen et al., "Symbolic discovery of optimization algorithms", 2023',
        says={
            "beta1": "weight of ``m`` in the step.",
            "beta2": "decay of ``m``.",
        },
    ),
    Rule(
        "AdaBelief",
        "var m s beta1_power beta2_power lr beta1 beta2 epsilon grad",
        about="""
        AdaBelief: Adam scaled by how far gradients are from their mean.

            m   += (grad - m) * (1 - beta1)
            s   += ((grad - m)^2 - s) * (1 - beta2) + epsilon
            var -= lr * m / (1 - beta1_power) / (sqrt(s / (1 - beta2_power)) + epsilon)
        """,
        example="""
        >>> var, m, s = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyAdaBelief(
        ...     var=var, m=m, s=s, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, grad=np.array([2.0])
        ... )
        array([0.])
        """,
        source=(
            'Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed '
            'gradients", 2020'
        ),
        says={
            "s": "running mean of squared distances from it, updated.",
            "beta2": "decay of ``s``.",
            "epsilon": "added to ``s`` and to the root.",
        },
    ),
    Rule(
        "RAdam",
        "var m v beta1_power beta2_power lr beta1 beta2 epsilon sma sma_threshold grad",
        about="""
        RAdam: Adam that warms up by itself.

            m   += (grad - m) * (1 - beta1)
            v   += (grad^2 - v) * (1 - beta2)
            r    = sqrt((sma - 4) * (sma - 2) / sma * (1 + beta2) * (1 - beta2)
                        / ((5 * beta2 - 3) * (3 * beta2 - 1)))
            var -= (m * (lr * r * sqrt(1 - beta2_power) / (1 - beta1_power))
                    / (sqrt(v) + epsilon))        if sma >= sma_threshold; otherwise
            var -= m * (lr / (1 - beta1_power))

        Where ``r`` has no value, ``sma <= 4`` or ``5 * beta2 <= 3``, it is otherwise, too.
        """,
        example="""
        >>> var, m, v = np.array([1.0]), np.array([0.0]), np.array([0.0])
        >>> raw_ops.ApplyRAdam(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, sma=1.0, sma_threshold=5.0, grad=np.array([0.5])
        ... )
        array([0.75])
        """,
        source=(
            'Liu et al., "On the variance of the adaptive learning rate and beyond", 2019; '
            "TensorFlow Addons, ``RectifiedAdam``"
        ),
        says={
            "sma": (
                "length of the average that ``v`` is; at step t, ``2 / (1 - beta2) - 1 - 2 * t * "
                "beta2**t / (1 - beta2**t)``, best in float64."
            ),
            "sma_threshold": "the least length at which steps are adaptive, > 0; usually 5.",
        },
    ),
    Rule(
        "Lamb",
        "var m v beta1_power beta2_power lr beta1 beta2 epsilon weight_decay grad",
        about="""
        LAMB: Adam with steps in proportion to the norm of ``var``.

            m        += (grad - m) * (1 - beta1)
            v        += (grad^2 - v) * (1 - beta2)
            direction = (m / (1 - beta1_power) / (sqrt(v / (1 - beta2_power)) + epsilon)
                         + weight_decay * var)
            var      -= lr * norm(var) / norm(direction) * direction

        Norms are Euclidean, of all of ``var``. Where one of them is 0, their quotient counts as 1.
        """,
        example="""
        >>> var, m, v = np.array([3.0, 4.0]), np.zeros(2), np.zeros(2)
        >>> raw_ops.ApplyLamb(
        ...     var=var, m=m, v=v, beta1_power=0.5, beta2_power=0.75, lr=0.5, beta1=0.5,
        ...     beta2=0.75, epsilon=0.0, weight_decay=0.0, grad=np.array([2.0, 0.0])
        ... )
        array([0.5, 4. ])
        """,
        source=(
            'You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",'
            " 2020, algorithm 2"
        ),
        says={"weight_decay": "how much of ``var`` is in the direction."},
    ),
    Rule(
        "Adafactor",
        "var r c v lr beta2 epsilon_1 epsilon_2 clip_threshold grad",
        about="""
        Adafactor, as in Keras: second moments by rows and columns.

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
        """,
        example="""
        >>> var, r, c, v = np.ones((2, 2)), np.zeros(2), np.zeros(2), np.zeros((2, 2))
        >>> raw_ops.ApplyAdafactor(
        ...     var=var, r=r, c=c, v=v, lr=0.5, beta2=0.0, epsilon_1=0.0, epsilon_2=0.0,
        ...     clip_threshold=1.0, grad=np.array([[1.0, 2.0], [-2.0, -4.0]])
        ... )
        array([[0.5, 0.5],
               [1.5, 1.5]])
        """,
        source=(
            'Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", '
            "2018; `tf.keras.optimizers.Adafactor`"
        ),
        says={
            **_FACTORS,
            "v": (
                "second moments, the shape of ``var``, updated; read only if ``r`` and ``c`` are "
                "empty."
            ),
            "lr": (
                "learning rate relative to ``var``, at step t Keras's ``min(rate, 1 / sqrt(t))``."
            ),
            "beta2": (
                "decay of the means, at step t Keras's ``1 - t ** beta_2_decay`` (0 at the first)."
            ),
            "epsilon_1": "added to squared gradients.",
            "epsilon_2": "smallest scale of ``var``.",
            "clip_threshold": "largest root mean square of ``x``.",
        },
    ),
    Rule(
        "TorchAdafactor",
        "var r c v lr one_minus_beta2 epsilon_1 epsilon_2 clip_threshold grad",
        about="""
        Adafactor, as in PyTorch: second moments by rows and columns.

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
        """,
        example="""
        >>> var, r, c, v = np.ones((2, 2)), np.zeros(2), np.zeros(2), np.zeros(0)
        >>> raw_ops.ApplyTorchAdafactor(
        ...     var=var, r=r, c=c, v=v, lr=0.5, one_minus_beta2=1.0, epsilon_1=0.0, epsilon_2=0.0,
        ...     clip_threshold=1.0, grad=np.array([[1.0, 2.0], [-2.0, -4.0]])
        ... )
        array([[0.5, 0.5],
               [1.5, 1.5]])
        """,
        source=(
            'Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear memory cost", '
            "2018; PyTorch, ``torch.optim.Adafactor``"
        ),
        says={
            **_FACTORS,
            "v": (
                "running mean of squared gradients of a ``var`` of rank 0 or 1, its shape, "
                "updated; for any other, empty, shape ``(0,)``."
            ),
            "lr": (
                "learning rate relative to ``var``, at step t PyTorch's ``min(lr, 1 / sqrt(t))``."
            ),
            "one_minus_beta2": (
                "weight of new squares, at step t PyTorch's ``t ** beta2_decay`` (1 at the first)."
            ),
            "epsilon_1": "smallest mean of ``r`` and root of ``moments``.",
            "epsilon_2": "smallest scale of ``var``.",
            "clip_threshold": "largest root mean square of ``x``.",
        },
    ),
    Rule(
        "RowWiseAdagrad",
        "var accum lr epsilon grad",
        about="""
        Adagrad with one accumulator per row.

            accum[row] += mean(grad^2)
            var[row]   -= grad * lr / (sqrt(accum[row]) + epsilon)
        """,
        example="""
        >>> var = np.ones((3, 2))
        >>> accum = np.ones(3)
        >>> table = raw_ops.SparseApplyRowWiseAdagrad(
        ...     var=var, accum=accum, lr=0.5, epsilon=1.0, grad=np.ones((1, 2)),
        ...     indices=np.array([2])
        ... )
        >>> (table[:2] == 1).all(), (table[2] != 1).all()
        (np.True_, np.True_)
        """,
        source=(
            'Mudigere et al., "Software-hardware co-design for fast and scalable training of deep '
            'learning recommendation models", 2022'
        ),
        says={
            "accum": "sum of the mean squares of each row's gradients, shape ``(rows,)``, updated.",
        },
    ),
)
