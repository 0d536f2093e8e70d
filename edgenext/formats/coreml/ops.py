"""The operators of Core ML's ML programs, on torch tensors.

Each follows the definition in coremltools' operator reference (MIL opsets iOS15 to iOS18), whose
parameter names are the keys of `Arguments`. All float arithmetic is in float32; the caller of an
operator rounds its result to the type that the program declares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenext.formats.coreml.arguments import Arguments, Op, Value
from edgenext.formats.coreml.compression import (
    blockwise_shift_scale,
    dequantize,
    lut_to_dense,
    quantize,
)
from edgenext.formats.coreml.layers import (
    avg_pool,
    batch_norm,
    conv,
    instance_norm,
    l2_norm,
    layer_norm,
    matmul,
    max_pool,
)
from edgenext.formats.coreml.shapes import (
    concat,
    expand_dims,
    gather,
    pad,
    reshape,
    slice_by_index,
    slice_by_size,
    split,
    squeeze,
)

UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "identity": lambda x: x,
    "logical_not": torch.logical_not,
    "relu": torch.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
    # a cast only rounds to the declared type, which the caller does
    "cast": lambda x: x,
    "constexpr_cast": lambda x: x,
}
"""Operators of `x` alone."""

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "equal": torch.eq,
    "floor_div": torch.floor_divide,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
    "logical_and": torch.logical_and,
    "logical_or": torch.logical_or,
    "logical_xor": torch.logical_xor,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "mod": torch.remainder,
    "mul": torch.mul,
    "not_equal": torch.ne,
    "pow": torch.pow,
    "real_div": torch.true_divide,
    "sub": torch.sub,
}
"""Operators of `x` and `y`, which are broadcast."""

REDUCTIONS: dict[str, Callable[[Tensor, list[int], bool], Tensor]] = {
    "reduce_l1_norm": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "reduce_l2_norm": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "reduce_log_sum_exp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "reduce_max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "reduce_mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "reduce_min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "reduce_sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "reduce_sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}
"""Operators that reduce `x` over `axes`, over all of them if absent."""


def unary(function: Callable[[Tensor], Tensor]) -> Op:
    """The operator of a function of one tensor; its parameter is `x` or `source_val`."""
    return lambda a: function(a["x"] if "x" in a else a["source_val"])


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Op:
    """The operator of a function of two tensors."""
    return lambda a: function(a["x"], a["y"])


def reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Op:
    """The operator of a function of a tensor, axes, and whether these are kept with size 1."""

    def reduce(a: Arguments) -> Tensor:
        axes = a.ints("axes") if "axes" in a else list(range(a["x"].dim()))
        return function(a["x"], axes, a.flag("keep_dims"))

    return reduce


def gelu(a: Arguments) -> Tensor:
    """The Gaussian error linear unit, exact or one of its two approximations."""
    x: Tensor = a["x"]
    if a["mode"] == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if a["mode"] == "TANH_APPROXIMATION" else "none")


def sigmoid_hard(a: Arguments) -> Tensor:
    """A linear function, clipped to 0 and 1."""
    x: Tensor = a["x"]
    return (a.number("alpha") * x + a.number("beta")).clamp(0, 1)


def thresholded_relu(a: Arguments) -> Tensor:
    """Zero below alpha."""
    return torch.where(a["x"] >= a["alpha"], a["x"], 0.0)


def prelu(a: Arguments) -> Tensor:
    """A slope for the negative half of each channel."""
    return F.prelu(a["x"], a["alpha"])


def classify(a: Arguments) -> Sequence[Value]:
    """The most probable class, and the probabilities in the order of the classes."""
    probabilities = a["probabilities"].reshape(1, -1)
    return [[a["classes"][int(i)] for i in probabilities.argmax(1)], probabilities]


OPS: dict[str, Op] = {
    **{name: unary(function) for name, function in UNARY.items()},
    **{name: binary(function) for name, function in BINARY.items()},
    **{name: reduction(function) for name, function in REDUCTIONS.items()},
    "avg_pool": avg_pool,
    "batch_norm": batch_norm,
    "classify": classify,
    "clip": lambda a: a["x"].clamp(a["alpha"], a["beta"]),
    "concat": concat,
    "constexpr_affine_dequantize": dequantize,
    "constexpr_blockwise_shift_scale": blockwise_shift_scale,
    "constexpr_lut_to_dense": lut_to_dense,
    "conv": conv,
    "dequantize": dequantize,
    "elu": lambda a: F.elu(a["x"], a.number("alpha")),
    "expand_dims": expand_dims,
    "gather": gather,
    "gelu": gelu,
    "instance_norm": instance_norm,
    "inverse": lambda a: 1 / (a["x"] + a["epsilon"]),
    "l2_norm": l2_norm,
    "layer_norm": layer_norm,
    "leaky_relu": lambda a: F.leaky_relu(a["x"], a.number("alpha")),
    "linear": lambda a: F.linear(a["x"], a["weight"], a.get("bias")),
    "log": lambda a: torch.log(a["x"] + a["epsilon"]),
    "matmul": matmul,
    "max_pool": max_pool,
    "pad": pad,
    "prelu": prelu,
    "quantize": quantize,
    "reshape": reshape,
    "rsqrt": lambda a: torch.rsqrt(a["x"] + a["epsilon"]),
    "select": lambda a: torch.where(a["cond"].bool(), a["a"], a["b"]),
    "sigmoid_hard": sigmoid_hard,
    "slice_by_index": slice_by_index,
    "slice_by_size": slice_by_size,
    "softmax": lambda a: torch.softmax(a["x"], a.integer("axis")),
    "split": split,
    "squeeze": squeeze,
    "stack": lambda a: torch.stack(a["values"], a.integer("axis")),
    "thresholded_relu": thresholded_relu,
    "tile": lambda a: a["x"].repeat(a.ints("reps")),
    "transpose": lambda a: a["x"].permute(a.ints("perm")),
}
"""MIL operator type → its function."""
