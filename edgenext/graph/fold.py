"""Exact folds: the same function with fewer operations.

Each fold rewrites a reference network in evaluation mode, in place. The network stays an `EdgeNeXt`
that can be called; folded parts become identities (layer scales of one, norms without affine,
`nn.Identity`). Arithmetic is done in float64 and stored in the network's own precision.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from edgenext.errors import CheckpointError
from edgenext.models.network import (
    ConvEncoder,
    EdgeNeXt,
    EncoderBlock,
    FourierEncoding,
    LayerNorm2d,
    SDTAEncoder,
)
from edgenext.models.zoo import check_size
from edgenext.schema import EvalTransform

Layer = nn.Conv2d | nn.Linear


class ConstantEncoding(nn.Module):
    """A positional encoding computed once, for one size."""

    encoding: Tensor

    def __init__(self, encoding: Tensor) -> None:
        super().__init__()
        self.register_buffer("encoding", encoding)

    def forward(self, height: int, width: int) -> Tensor:
        """The 1×C×H×W encoding."""
        del height, width  # fixed by the fold; an encoding of another size cannot be added
        return self.encoding


def encoders(network: EdgeNeXt) -> Iterator[EncoderBlock]:
    """All encoders, from the first stage to the last."""
    for stage in network.stages:
        yield from cast(Iterable[EncoderBlock], stage)


def downsamplings(network: EdgeNeXt) -> Iterator[nn.Sequential]:
    """The three norm → convolution pairs between the stages."""
    return (cast(nn.Sequential, m) for m in list(network.downsample_layers)[1:])


def attention_encoders(network: EdgeNeXt) -> Iterator[SDTAEncoder]:
    """The encoders with attention."""
    return (b for b in encoders(network) if isinstance(b, SDTAEncoder))


def _float64(x: Tensor | None, like: Tensor) -> Tensor:
    """Float64 values; zeros, one for each output channel of `like`, for None."""
    return like.new_zeros(len(like), dtype=torch.float64) if x is None else x.detach().double()


def _store(layer: Layer, weight: Tensor, bias: Tensor) -> None:
    """Store float64 values in a layer, in its own precision; no bias where it would be zero."""
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if layer.bias is not None or bias.any():
        layer.bias = nn.Parameter(bias.to(dtype), requires_grad=False)


def scale_outputs(layer: Layer, scale: Tensor, shift: Tensor | None = None) -> None:
    """Make the layer output `scale · y + shift`, with one scale and shift an output channel."""
    weight, bias = _float64(layer.weight, layer.weight), _float64(layer.bias, layer.weight)
    scale = scale.detach().double()
    shift = torch.zeros_like(bias) if shift is None else shift.detach().double()
    shape = (-1,) + (1,) * (weight.ndim - 1)
    _store(layer, weight * scale.reshape(shape), bias * scale + shift)


def absorb_inputs(layer: Layer, scale: Tensor, shift: Tensor | None = None) -> None:
    """Make the layer compute from x what it computed from `scale · x + shift`; no padded layers."""
    weight, bias = _float64(layer.weight, layer.weight), _float64(layer.bias, layer.weight)
    scale = scale.detach().double()
    if shift is not None:
        per_input = weight.flatten(2).sum(2) if weight.ndim == 4 else weight
        bias = bias + per_input @ shift.detach().double()
    shape = (1, -1) + (1,) * (weight.ndim - 2)
    _store(layer, weight * scale.reshape(shape), bias)


def batchnorm_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift of a BatchNorm in evaluation mode, float64."""
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: S101 - EdgeNeXt's norms track them
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def fold_layer_scale(network: EdgeNeXt) -> None:
    """Fold `gamma` into pwconv2 and `gamma_xca` into xca.proj."""
    for block in encoders(network):
        scale_outputs(block.pwconv2, block.gamma)
        nn.init.ones_(block.gamma)
        if isinstance(block, SDTAEncoder):
            scale_outputs(block.xca.proj, block.gamma_xca)
            nn.init.ones_(block.gamma_xca)


def _fold_affine(norm: nn.Module, reader: Layer) -> None:
    """Move a norm's affine into the only layer that reads it; the normalisation stays."""
    if isinstance(norm, nn.LayerNorm | LayerNorm2d | nn.BatchNorm2d):
        absorb_inputs(reader, norm.weight, norm.bias)
        nn.init.ones_(norm.weight)
        nn.init.zeros_(norm.bias)


def fold_norm_affine(network: EdgeNeXt) -> None:
    """Fold every norm's affine into the layer behind it, where only one layer reads it.

    The stem's norm is read by a block and its residual, so it keeps its affine; so does `norm_xca`
    of the batch-norm family, which normalises the residual itself.
    """
    for norm_conv in downsamplings(network):
        _fold_affine(norm_conv[0], cast(nn.Conv2d, norm_conv[1]))
    for block in encoders(network):
        if isinstance(block, SDTAEncoder) and not network.arch.batch_norm:
            _fold_affine(block.norm_xca, block.xca.qkv)
        _fold_affine(block.norm, block.pwconv1)
    if not network.features_only:
        _fold_affine(network.norm, network.head)


def fold_batchnorm(network: EdgeNeXt) -> None:
    """Fold every BatchNorm into the convolution before it, or else into the layer behind it.

    Those behind the stem and the depth-wise convolutions go into the convolution, whose output is
    then normalised. Run `fold_norm_affine` first: otherwise affines of any size stay between two
    layers. `norm_xca` stays, because part of its input comes from no convolution.
    """
    if not network.arch.batch_norm:
        return
    stem = cast(nn.Sequential, network.downsample_layers[0])
    scale_outputs(cast(nn.Conv2d, stem[0]), *batchnorm_affine(cast(nn.BatchNorm2d, stem[1])))
    stem[1] = nn.Identity()
    for norm_conv in downsamplings(network):
        absorb_inputs(
            cast(nn.Conv2d, norm_conv[1]), *batchnorm_affine(cast(nn.BatchNorm2d, norm_conv[0]))
        )
        norm_conv[0] = nn.Identity()
    for block in encoders(network):
        affine = batchnorm_affine(cast(nn.BatchNorm2d, block.norm))
        if isinstance(block, ConvEncoder):
            scale_outputs(block.dwconv, *affine)
        else:
            absorb_inputs(block.pwconv1, *affine)
        block.norm = nn.Identity()
    if not network.features_only:
        absorb_inputs(network.head, *batchnorm_affine(cast(nn.BatchNorm2d, network.norm)))
        network.norm = nn.Identity()


def freeze_encoding(network: EdgeNeXt, height: int, width: int) -> None:
    """Make the Fourier positional encoding a constant for images of height × width pixels."""
    for i, stage in enumerate(network.stages):
        for block in cast(nn.Sequential, stage):
            if isinstance(block, SDTAEncoder) and isinstance(block.pos_embd, FourierEncoding):
                step = 4 * 2**i
                encoding = block.pos_embd(height // step, width // step).detach()
                block.pos_embd = ConstantEncoding(encoding)  # type: ignore[assignment]


def fold_input_normalisation(network: EdgeNeXt, transform: EvalTransform) -> None:
    """Fold mean, deviation and the division by 255 into the stem, which then reads 0–255 pixels."""
    std = torch.tensor(transform.std, dtype=torch.float64)
    mean = torch.tensor(transform.mean, dtype=torch.float64)
    stem = cast(nn.Sequential, network.downsample_layers[0])
    absorb_inputs(cast(nn.Conv2d, stem[0]), 1 / (255 * std), -mean / std)


def check_finite(network: EdgeNeXt) -> None:
    """Refuse weights that are not finite.

    Raises:
        CheckpointError: NaN or infinite values; the message names the tensors.
    """
    names = [k for k, v in network.state_dict().items() if not torch.isfinite(v).all()]
    if names:
        raise CheckpointError(
            f"NaN or infinite weights in {', '.join(names[:5])}",
            "The checkpoint is damaged: use another",
        )


def fold(
    network: EdgeNeXt, height: int, width: int, pixels: EvalTransform | None = None
) -> EdgeNeXt:
    """A folded copy of a network for images of height × width pixels.

    Args:
        network: a reference network; it is not changed.
        height: pixels.
        width: pixels.
        pixels: a normalisation to fold in too, so that the copy reads 0–255 pixels.

    Raises:
        CheckpointError: weights that are not finite.
        UsageError: a size the network cannot take.
    """
    check_size(height, width)
    check_finite(network)
    folded = copy.deepcopy(network).eval().requires_grad_(False)
    fold_layer_scale(folded)
    fold_norm_affine(folded)
    fold_batchnorm(folded)
    freeze_encoding(folded, height, width)
    if pixels is not None:
        fold_input_normalisation(folded, pixels)
    return folded
