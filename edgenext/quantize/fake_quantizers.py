"""Quantizers that can be trained: values rounded as a file rounds them, with gradients.

The derivative of rounding is taken as 1 (straight-through estimator, Bengio et al. 2013), that of
clipping as 0 outside the range; scales and zero points get the gradients that follow (LSQ, Esser et
al. 2020; LSQ+, Bhalgat et al. 2020). Every parameter is in units of its range, so that one learning
rate fits all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgenext.quantize.ranges import LIMITS, MANTISSA_BITS, QParams
from edgenext.quantize.weights import INT32_HEADROOM


class FakeQuantize(torch.autograd.Function):
    """x ↦ scale · (clip(round(x / scale) + zero, first, last) − zero), ties to even."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, first: int, last: int) -> Tensor:
        """Round a tensor of any shape; `scale` and `zero` are 0-d."""
        ctx.save_for_backward(x, scale, zero)
        ctx.levels = first, last
        levels = (x / scale).round_().clamp_(first - zero.item(), last - zero.item())
        return levels.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, scale and zero."""
        x, scale, zero = ctx.saved_tensors
        backward = torch.ops.aten._fake_quantize_learnable_per_tensor_affine_backward
        of_x, of_scale, of_zero = backward(
            gradients[0], x, scale.reshape(1), zero.reshape(1), *ctx.levels, 1.0
        )
        return of_x, of_scale.reshape(()), of_zero.reshape(()), None, None


def rounded(x: Tensor) -> Tensor:
    """X rounded, ties to even, with the gradient of x."""
    return x + (x.round() - x).detach()


def snapped(scale: Tensor) -> Tensor:
    """Scales as `ranges.snap` rounds them, with the gradient of the scales."""
    mantissa, exponent = torch.frexp(scale.detach())
    steps = torch.ceil(mantissa * 2**MANTISSA_BITS * (1 - 1e-6))
    return scale + (torch.ldexp(steps, exponent - MANTISSA_BITS) - scale).detach()


class ActivationQuantizer(nn.Module):
    """The Q/DQ of an activation.

    Args:
        start: scale and zero point before training.
        learned: whether the scale is trained; a gate's is part of its arithmetic.
        free_zero: whether the zero point is trained too.
    """

    start: Tensor

    def __init__(self, start: QParams, *, learned: bool, free_zero: bool) -> None:
        super().__init__()
        self.first, self.last = LIMITS[start.dtype]
        self.register_buffer("start", torch.tensor(start.scale))
        self.growth = nn.Parameter(torch.zeros(()), requires_grad=learned)
        zero = torch.tensor(start.zero_point / (self.last - self.first))
        self.zero = nn.Parameter(zero, requires_grad=learned and free_zero)

    @property
    def scale(self) -> Tensor:
        """The scale, 0-d."""
        return snapped(self.start * self.growth.exp()) if self.growth.requires_grad else self.start

    @property
    def zero_point(self) -> Tensor:
        """The zero point, 0-d, a whole number within the type."""
        return rounded((self.zero * (self.last - self.first)).clamp(self.first, self.last))

    def forward(self, x: Tensor) -> Tensor:
        """X rounded to what the type can hold."""
        value: Tensor = FakeQuantize.apply(  # type: ignore[no-untyped-call]
            x, self.scale, self.zero_point, self.first, self.last
        )
        return value


class WeightQuantizer(nn.Module):
    """A stored constant: whole levels times a scale for each output channel, or for all of them.

    Args:
        levels: as stored, less their zero points.
        scales: 0-d, or one for each entry of axis 0.
        low: the first level, less its zero point.
        high: the last level, likewise.
    """

    start: Tensor

    def __init__(
        self,
        levels: NDArray[np.floating],
        scales: NDArray[np.float32],
        low: float,
        high: float,
    ) -> None:
        super().__init__()
        self.low, self.high, self.unit = low, high, max(-low, high)
        shape = (-1,) + (1,) * (levels.ndim - 1) if scales.ndim else ()
        self.register_buffer("start", torch.from_numpy(np.array(scales)).reshape(shape))
        self.values = nn.Parameter(torch.from_numpy(levels.astype(np.float32) / self.unit))
        self.growth = nn.Parameter(torch.zeros_like(self.start))

    @property
    def scales(self) -> Tensor:
        """The scales, in the shape in which they are multiplied."""
        return snapped(self.start * self.growth.exp())

    @property
    def levels(self) -> Tensor:
        """The levels, less their zero points."""
        return rounded((self.values * self.unit).clamp(self.low, self.high))

    def forward(self) -> Tensor:
        """The constant as a file's DequantizeLinear gives it."""
        return self.levels * self.scales

    def clip(self) -> None:
        """Bring values that left the range back to its end, where they have a gradient."""
        with torch.no_grad():
            self.values.clamp_(self.low / self.unit, self.high / self.unit)


class Bias(nn.Module):
    """A layer's bias; stored as int32 if it has the `quantizers` of the layer's operands."""

    start: Tensor
    unit: Tensor

    def __init__(self, start: NDArray[np.float32]) -> None:
        super().__init__()
        self.quantizers: tuple[ActivationQuantizer, WeightQuantizer] | None = None
        values = torch.from_numpy(np.array(start, np.float32))
        self.register_buffer("start", values)
        self.register_buffer("unit", values.square().mean().sqrt().clamp_min(1e-6))
        self.change = nn.Parameter(torch.zeros_like(values))

    @property
    def scales(self) -> Tensor:
        """The scales of an int32 bias: products of those of the layer's operands, 0-d or 1-d."""
        assert self.quantizers is not None  # noqa: S101 - the caller has looked
        of_input, of_weights = self.quantizers
        scales = (of_input.scale * of_weights.scales).detach()
        return scales.reshape(-1) if of_weights.scales.ndim else scales

    @property
    def levels(self) -> Tensor:
        """The levels of an int32 bias."""
        values = self.start + self.change * self.unit
        levels = (values.detach().double() / self.scales.double()).round()
        return levels.clamp(-INT32_HEADROOM, INT32_HEADROOM)

    def forward(self) -> Tensor:
        """The bias, one value an output channel."""
        values = self.start + self.change * self.unit
        if self.quantizers is None:
            return values
        return values + ((self.levels * self.scales.double()).float() - values).detach()
