"""The canonical form: exact freedoms of attention fixed, so that equal functions quantize equally.

Layer scales and norm affines are fixed by `fold`. Two freedoms are left. Queries and keys are
L2-normalised over the tokens, so each of their channels may have any positive scale. Each head's
values may have any scale that the projection undoes. Both are set so that the rows of qkv have
unit norm: its input is normalised, so its outputs are then of one size.
"""

from __future__ import annotations

import torch

from edgenext.graph.fold import absorb_inputs, attention_blocks, scale_outputs
from edgenext.models.network import EdgeNeXt

_SMALLEST = 1e-30
"""Rows below this norm are zero: no scale can help them."""


def canonicalise_attention(network: EdgeNeXt) -> None:
    """Give every query and key channel, and every head's values, unit weight norm, in place."""
    for block in attention_blocks(network):
        xca = block.xca
        rows = torch.linalg.vector_norm(xca.qkv.weight.detach().double(), dim=1)
        rows = torch.where(rows < _SMALLEST, 1.0, rows)
        query_key, value = torch.tensor_split(rows, [2 * len(rows) // 3])
        per_head = value.reshape(xca.heads, -1).square().mean(1).sqrt()
        value = per_head.repeat_interleave(len(value) // xca.heads)
        scale_outputs(xca.qkv, 1 / torch.cat((query_key, value)))
        absorb_inputs(xca.proj, value)
