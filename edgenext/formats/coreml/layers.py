"""Core ML's operators over neighbourhoods, channels and matrices: what layers consist of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenext.formats.coreml.arguments import Arguments
from edgenext.formats.coreml.shapes import padded

CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)
AVERAGE_POOLS: tuple[Callable[..., Tensor], ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
MAX_POOLS: tuple[Callable[..., Tensor], ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def paddings(a: Arguments, kernel: Sequence[int]) -> list[int]:
    """Padding before and after each spatial axis, in order; `kernel` sizes include dilation."""
    kind, strides, sizes = a["pad_type"], a.ints("strides"), a["x"].shape[2:]
    if kind == "valid":
        return [0] * 2 * len(kernel)
    if kind == "custom":
        return a.ints("pad")
    pads: list[int] = []
    for size, k, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + k - size)
        smaller, larger = total // 2, total - total // 2
        pads += [larger, smaller] if kind == "same_lower" else [smaller, larger]
    return pads


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


def layer_norm(a: Arguments) -> Tensor:
    """Normalisation over any axes; gamma and beta have the shape of these."""
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
    """Division by the L2 norm over the last three axes."""
    x: Tensor = a["x"]
    return x / torch.sqrt(x.square().sum((-3, -2, -1), True) + a.number("epsilon"))
