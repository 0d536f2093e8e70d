"""The operators of Core ML's ML programs, on torch tensors.

Each follows the definition in coremltools' operator reference (MIL opsets iOS15 to iOS18), whose
parameter names are the keys of `Arguments`. All float arithmetic is in float32; who calls an
operator rounds its result to the type that the program declares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
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
    # who runs the program rounds to the declared type, which is all a cast does
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
"""Operators that reduce `x` over `axes`, all of them where they are absent."""

CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)
AVERAGE_POOLS: tuple[Callable[..., Tensor], ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
MAX_POOLS: tuple[Callable[..., Tensor], ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def unary(function: Callable[[Tensor], Tensor]) -> Op:
    """The operator of a function of one tensor, which coremltools calls `x`, or `source_val`."""
    return lambda a: function(a["x"] if "x" in a else a["source_val"])


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Op:
    """The operator of a function of two tensors."""
    return lambda a: function(a["x"], a["y"])


def reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Op:
    """The operator of a function of a tensor, axes, and whether they stay as 1."""

    def reduce(a: Arguments) -> Tensor:
        axes = a.ints("axes") if "axes" in a else list(range(a["x"].dim()))
        return function(a["x"], axes, a.flag("keep_dims"))

    return reduce


def paddings(a: Arguments, kernel: Sequence[int]) -> list[int]:
    """Before and after each spatial axis, in order, for kernels as they reach with dilation."""
    kind, strides, sizes = a["pad_type"], a.ints("strides"), a["x"].shape[2:]
    if kind == "valid":
        return [0] * 2 * len(kernel)
    if kind == "custom":
        return a.ints("pad")
    pads: list[int] = []
    for size, k, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + k - size)
        less, more = total // 2, total - total // 2
        pads += [more, less] if kind == "same_lower" else [less, more]
    return pads


def padded(x: Tensor, pads: Sequence[int], value: float = 0) -> Tensor:
    """`x` with `pads` before and after each of its last axes; torch wants the last axis first."""
    pairs = [pads[i : i + 2] for i in range(0, len(pads), 2)]
    order = [n for pair in reversed(pairs) for n in pair]
    return F.pad(x, order, value=value) if any(order) else x


def conv(a: Arguments) -> Tensor:
    """Convolution over one to three spatial axes."""
    weight: Tensor = a["weight"]
    dilations = a.ints("dilations")
    reach = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    return CONVOLUTIONS[weight.dim() - 3](
        padded(a["x"], paddings(a, reach)),
        weight,
        a.get("bias"),
        stride=a.ints("strides"),
        dilation=dilations,
        groups=a.integer("groups"),
    )


def avg_pool(a: Arguments) -> Tensor:
    """Average pooling; padding counts unless it is excluded."""
    x, kernel = a["x"], a.ints("kernel_sizes")
    if a.flag("ceil_mode"):
        raise NotImplementedError("ceil_mode")
    pool, pads = AVERAGE_POOLS[len(kernel) - 1], paddings(a, kernel)
    y = pool(padded(x, pads), kernel, a.ints("strides"))
    if a.flag("exclude_padding_from_average"):
        y = y / pool(padded(torch.ones_like(x), pads), kernel, a.ints("strides"))
    return y


def max_pool(a: Arguments) -> Tensor:
    """Max pooling."""
    kernel = a.ints("kernel_sizes")
    x = padded(a["x"], paddings(a, kernel), -torch.inf)
    return MAX_POOLS[len(kernel) - 1](x, kernel, a.ints("strides"), ceil_mode=a.flag("ceil_mode"))


def matmul(a: Arguments) -> Tensor:
    """Batched matrix product."""
    x: Tensor = a["x"]
    y: Tensor = a["y"]
    x = x.transpose(-2, -1) if a.flag("transpose_x") else x
    y = y.transpose(-2, -1) if a.flag("transpose_y") else y
    return x @ y


def gelu(a: Arguments) -> Tensor:
    """The Gaussian error linear unit, exact or one of its two approximations."""
    x: Tensor = a["x"]
    if a["mode"] == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if a["mode"] == "TANH_APPROXIMATION" else "none")


def layer_norm(a: Arguments) -> Tensor:
    """Normalisation over any axes, in which gamma and beta have their shape."""
    x: Tensor = a["x"]
    axes = [i % x.dim() for i in a.ints("axes")] if "axes" in a else list(range(x.dim()))
    shape = [n if i in axes else 1 for i, n in enumerate(x.shape)]
    centred = x - x.mean(axes, keepdim=True)
    y = centred / torch.sqrt(centred.square().mean(axes, keepdim=True) + a.number("epsilon"))
    if "gamma" in a:
        y = y * a["gamma"].reshape(shape)
    return y + a["beta"].reshape(shape) if "beta" in a else y


def batch_norm(a: Arguments) -> Tensor:
    """Normalisation by constant means and variances of axis 1."""
    return F.batch_norm(
        a["x"], a["mean"], a["variance"], a.get("gamma"), a.get("beta"), eps=a.number("epsilon")
    )


def instance_norm(a: Arguments) -> Tensor:
    """Normalisation over the spatial axes."""
    return F.instance_norm(
        a["x"], weight=a.get("gamma"), bias=a.get("beta"), eps=a.number("epsilon")
    )


def l2_norm(a: Arguments) -> Tensor:
    """Division by the length over the last three axes."""
    x: Tensor = a["x"]
    return x / torch.sqrt(x.square().sum((-3, -2, -1), True) + a.number("epsilon"))


def sigmoid_hard(a: Arguments) -> Tensor:
    """A line, clipped to 0 and 1."""
    x: Tensor = a["x"]
    return (a.number("alpha") * x + a.number("beta")).clamp(0, 1)


def thresholded_relu(a: Arguments) -> Tensor:
    """Zero below alpha."""
    return torch.where(a["x"] >= a["alpha"], a["x"], 0.0)


def prelu(a: Arguments) -> Tensor:
    """A slope for the negative half of each channel."""
    return F.prelu(a["x"], a["alpha"])


def concat(a: Arguments) -> Tensor:
    """Concatenation along an axis."""
    if a.flag("interleave"):
        raise NotImplementedError("interleave")
    return torch.cat(a["values"], a.integer("axis"))


def split(a: Arguments) -> Sequence[Tensor]:
    """Parts of given sizes along an axis, or a number of equal ones."""
    x, axis = a["x"], a.integer("axis")
    if "split_sizes" in a:
        return torch.split(x, a.ints("split_sizes"), axis)
    return torch.chunk(x, a.integer("num_splits"), axis)


def slice_by_index(a: Arguments) -> Tensor:
    """NumPy's slicing, whose masks say which bounds are open and which axes are indexed."""
    x, begin, end = a["x"], a.ints("begin"), a.ints("end")
    stride = a.ints("stride") if "stride" in a else [1] * x.dim()
    from_start, to_end, index = (
        a.flags(f"{name}_mask", x.dim()) for name in ("begin", "end", "squeeze")
    )
    at: list[int | slice] = []
    for i in range(x.dim()):
        first, last = None if from_start[i] else begin[i], None if to_end[i] else end[i]
        at.append(begin[i] if index[i] else slice(first, last, stride[i]))
    # torch has no negative steps
    return torch.from_numpy(np.ascontiguousarray(np.asarray(x.numpy()[tuple(at)])))


def slice_by_size(a: Arguments) -> Tensor:
    """A block of a given size, of which −1 is all that follows."""
    x: Tensor = a["x"]
    for axis, (start, size) in enumerate(zip(a.ints("begin"), a.ints("size"), strict=True)):
        start %= x.shape[axis]
        x = x.narrow(axis, start, x.shape[axis] - start if size == -1 else size)
    return x


def reshape(a: Arguments) -> Tensor:
    """The same values in another shape, in which 0 is what the axis was and −1 what is left."""
    x: Tensor = a["x"]
    shape = [x.shape[i] if n == 0 else n for i, n in enumerate(a.ints("shape"))]
    return x.reshape(shape)


def squeeze(a: Arguments) -> Tensor:
    """Without the given axes of one element, or without all of them."""
    x: Tensor = a["x"]
    return x.squeeze(tuple(a.ints("axes"))) if "axes" in a else x.squeeze()


def expand_dims(a: Arguments) -> Tensor:
    """With axes of one element, counted in the result."""
    x: Tensor = a["x"]
    axes = a.ints("axes")
    for axis in sorted(i % (x.dim() + len(axes)) for i in axes):
        x = x.unsqueeze(axis)
    return x


def gather(a: Arguments) -> Tensor:
    """Slices of an axis by number."""
    if "batch_dims" in a and a.integer("batch_dims"):
        raise NotImplementedError("batch_dims")
    x: Tensor = a["x"]
    indices: Tensor = a["indices"]
    axis = a.integer("axis") % x.dim()
    taken = x.index_select(axis, indices.long().reshape(-1) % x.shape[axis])
    return taken.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def pad(a: Arguments) -> Tensor:
    """Padding of the last axes."""
    x, pads, mode = a["x"], a.ints("pad"), a["mode"]
    if mode == "constant":
        return padded(x, pads, a.number("constant_val"))
    widths = [(0, 0)] * (x.dim() - len(pads) // 2) + list(zip(pads[::2], pads[1::2], strict=True))
    array = x.numpy()
    return torch.from_numpy(
        np.pad(array, widths, "reflect") if mode == "reflect" else np.pad(array, widths, "edge")
    )


def classify(a: Arguments) -> Sequence[Value]:
    """The most probable class, and the probabilities as they are: the classes give the order."""
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
"""MIL operator type → what it computes."""
