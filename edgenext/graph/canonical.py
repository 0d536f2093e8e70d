"""The canonical form: free scales of attention are fixed, so that equal functions quantize equally.

Layer scales and norm affines are removed by `fold`. Two freedoms remain. Queries and keys are
L2-normalised over the tokens, so each of their channels may have any positive scale. The values of
each head may have any scale that the projection undoes. Both are set so that the rows of qkv have
unit norm: its input is normalised, so all of its outputs are then of similar magnitude.
"""

from __future__ import annotations

import torch

from edgenext.graph.fold import absorb_inputs, attention_encoders, scale_outputs
from edgenext.models.network import EdgeNeXt

_SMALLEST = 1e-30
"""Rows below this norm count as zero and are not scaled."""


def canonicalise_attention(network: EdgeNeXt) -> None:
    """Give every query and key channel, and every head's values, unit weight norm, in place."""
    for block in attention_encoders(network):
        xca = block.xca
        rows = torch.linalg.vector_norm(xca.qkv.weight.detach().double(), dim=1)
        rows = torch.where(rows < _SMALLEST, 1.0, rows)
        query_key, value = torch.tensor_split(rows, [2 * len(rows) // 3])
        per_head = value.reshape(xca.heads, -1).square().mean(1).sqrt()
        value = per_head.repeat_interleave(len(value) // xca.heads)
        scale_outputs(xca.qkv, 1 / torch.cat((query_key, value)))
        absorb_inputs(xca.proj, value)
