"""The stressed twin: the same function, with channels rescaled as far as exactness allows.

A quantizer that starts from the canonical form makes the same INT8 file of a twin; one that does
not loses its accuracy, as it does on networks that training left with uneven channels.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from edgenext.graph.fold import (
    absorb_inputs,
    attention_encoders,
    downsamplings,
    encoders,
    scale_outputs,
)
from edgenext.models.network import EdgeNeXt, LayerNorm2d


def rescaled_twin(network: EdgeNeXt, seed: int = 0, strength: float = 3.0) -> EdgeNeXt:
    """A rescaled copy of a network: equal logits, channels up to 4**strength apart in size.

    Args:
        network: a reference network; it is not changed.
        seed: of the factors.
        strength: factors are powers of two, up to 2**±strength: no product is rounded, so that the
            twin is the same function to the last bit and its deployment graph is the same file.
    """
    twin = copy.deepcopy(network).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)

    def factors(n: int) -> Tensor:
        exponent = torch.rand(n, generator=generator, dtype=torch.float64) * 2 - 1
        return torch.exp2(torch.round(strength * exponent))

    def spread_norm(norm: nn.Module, reader: nn.Conv2d | nn.Linear) -> None:
        affine = cast(nn.LayerNorm | LayerNorm2d | nn.BatchNorm2d, norm)
        factor = factors(len(affine.weight))
        affine.weight.mul_(factor)
        affine.bias.mul_(factor)
        absorb_inputs(reader, 1 / factor)

    def spread_scale(gamma: Tensor, layer: nn.Linear) -> None:
        factor = factors(len(gamma))
        scale_outputs(layer, factor)
        gamma.div_(factor)

    for pair in downsamplings(twin):
        spread_norm(pair[0], cast(nn.Conv2d, pair[1]))
    for block in encoders(twin):
        spread_norm(block.norm, block.pwconv1)
        spread_scale(block.gamma, block.pwconv2)
    for block in attention_encoders(twin):
        spread_scale(block.gamma_xca, block.xca.proj)
        if not twin.arch.batch_norm:  # this family adds the normalised input to the residual
            spread_norm(block.norm_xca, block.xca.qkv)
        dim, heads = len(block.gamma), block.xca.heads
        value = factors(heads).repeat_interleave(dim // heads)  # one a head, undone by proj
        scale_outputs(block.xca.qkv, torch.cat((factors(2 * dim), value)))
        absorb_inputs(block.xca.proj, 1 / value)
    if not twin.arch.batch_norm and not twin.features_only:
        spread_norm(twin.norm, twin.head)
    return twin
