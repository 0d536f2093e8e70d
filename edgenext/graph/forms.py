"""Forms: layouts of a folded network for different runtimes.

`naive` is the reference network as it is. The deployment forms keep N×C×H×W throughout: linear
layers become 1×1 convolutions, and attention scales the small d × d product instead of normalising
queries and keys. They differ in LayerNorm: in `convT` it is one operator between two transposes,
nearly all of which onnxruntime's layout passes remove; in `convC` it is written out over the
channels, which OpenVINO fuses into one operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edgenext.errors import unknown_name
from edgenext.graph.canonical import canonicalise_attention
from edgenext.graph.fold import batchnorm_affine, check_finite, fold, scale_outputs
from edgenext.models.network import (
    LN_EPS,
    XCA,
    ConvEncoder,
    EdgeNeXt,
    EncoderBlock,
    LayerNorm2d,
    SDTAEncoder,
    run_stages,
    split_convolution,
)
from edgenext.models.zoo import check_size
from edgenext.schema import EvalTransform
from edgenext.targets.target import FORMS

NORMALIZE_EPS = 1e-12
"""The floor of torch.nn.functional.normalize."""


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of N×C×H×W; the forms compute it differently."""

    weight: Tensor
    bias: Tensor

    def __init__(self, norm: nn.LayerNorm | LayerNorm2d) -> None:
        super().__init__()
        self.register_buffer("weight", norm.weight.detach())
        self.register_buffer("bias", norm.bias.detach())


class TransposedNorm(ChannelNorm):
    """LayerNorm as one operator, between two transposes."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise N×C×H×W over C."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, LN_EPS)
        return x.permute(0, 3, 1, 2)


class WrittenNorm(ChannelNorm):
    """LayerNorm written out over axis 1, without an affine that the folds made an identity."""

    def __init__(self, norm: nn.LayerNorm | LayerNorm2d) -> None:
        super().__init__(norm)
        self.affine = not bool((self.weight == 1).all() and (self.bias == 0).all())
        self.share = 1 / len(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise N×C×H×W over C."""
        centred = x - x.mean(1, keepdim=True)
        # a length instead of a mean of squares loses 6 dB less in OpenVINO's bfloat16
        length = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
        y = centred / torch.sqrt(length * length * self.share + LN_EPS)
        return y * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else y


NORMS: dict[str, type[ChannelNorm]] = {"convT": TransposedNorm, "convC": WrittenNorm}
"""Deployment form → the module of its LayerNorms."""


def channel_norm(norm: nn.Module, kind: type[ChannelNorm]) -> nn.Module:
    """A norm of a folded network, for N×C×H×W."""
    return kind(norm) if isinstance(norm, nn.LayerNorm | LayerNorm2d) else norm


def channel_affine(norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A BatchNorm that cannot be folded, as a depth-wise 1×1 convolution.

    A convolution has one scale a channel when it is quantized; a product would have only one.
    """
    conv = nn.Conv2d(norm.num_features, norm.num_features, 1, groups=norm.num_features)
    nn.init.ones_(conv.weight)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    conv.to(norm.weight.dtype)
    scale_outputs(conv, *batchnorm_affine(norm))
    return conv


def pointwise(linear: nn.Linear) -> nn.Conv2d:
    """A linear layer as a 1×1 convolution."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight = nn.Parameter(linear.weight[:, :, None, None], requires_grad=False)
    conv.bias = nn.Parameter(linear.bias, requires_grad=False)
    return conv


class DeployedConvEncoder(nn.Module):
    """A folded convolution encoder."""

    def __init__(self, block: ConvEncoder, kind: type[ChannelNorm]) -> None:
        super().__init__()
        self.dwconv = block.dwconv
        self.norm = channel_norm(block.norm, kind)
        self.pwconv1, self.act = pointwise(block.pwconv1), block.act
        self.pwconv2 = pointwise(block.pwconv2)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W in and out."""
        y: Tensor = self.pwconv2(self.act(self.pwconv1(self.norm(self.dwconv(x)))))
        return x + y


class DeployedXCA(nn.Module):
    """Cross-covariance attention on N×C×H×W; the norms of q and k scale the d × d product."""

    temperature: Tensor

    def __init__(self, xca: XCA) -> None:
        super().__init__()
        self.heads = xca.heads
        self.qkv, self.proj = pointwise(xca.qkv), pointwise(xca.proj)
        self.register_buffer("temperature", xca.temperature.detach())

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W in and out."""
        dim, height, width = x.shape[1:]
        qkv = self.qkv(x).reshape(-1, 3 * self.heads, dim // self.heads, height * width)
        q, k, v = torch.split(qkv, self.heads, 1)
        q_norm = torch.linalg.vector_norm(q, dim=-1, keepdim=True).clamp_min(NORMALIZE_EPS)
        k_norm = torch.linalg.vector_norm(k, dim=-1, keepdim=True).clamp_min(NORMALIZE_EPS)
        scale = self.temperature / q_norm / k_norm.transpose(-2, -1)
        attention = (q @ k.transpose(-2, -1) * scale).softmax(-1)
        out: Tensor = self.proj((attention @ v).reshape(-1, dim, height, width))
        return out


class DeployedSDTAEncoder(nn.Module):
    """A folded attention encoder."""

    def __init__(self, block: SDTAEncoder, kind: type[ChannelNorm]) -> None:
        super().__init__()
        self.width, self.convs = block.width, block.convs
        bn = block.norm_xca if isinstance(block.norm_xca, nn.BatchNorm2d) else None
        self.norm_before = None if bn is None else channel_affine(bn)
        self.norm_xca = channel_norm(block.norm_xca, kind) if bn is None else nn.Identity()
        self.pos_embd = block.pos_embd
        self.xca = DeployedXCA(block.xca)
        self.norm = channel_norm(block.norm, kind)
        self.pwconv1, self.act = pointwise(block.pwconv1), block.act
        self.pwconv2 = pointwise(block.pwconv2)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W in and out."""
        y = split_convolution(x, self.width, self.convs)
        if self.norm_before is not None:
            y = self.norm_before(y)
        if self.pos_embd is not None:
            y = y + self.pos_embd(*x.shape[2:])
        y = y + self.xca(self.norm_xca(y))
        out: Tensor = x + self.pwconv2(self.act(self.pwconv1(self.norm(y))))
        return out


class Deployed(nn.Module):
    """A folded network in a deployment form."""

    def __init__(self, folded: EdgeNeXt, form: str) -> None:
        super().__init__()
        self.features_only, kind = folded.features_only, NORMS[form]
        self.downsample_layers = nn.ModuleList(
            nn.Sequential(*(channel_norm(m, kind) for m in cast(nn.Sequential, pair)))
            for pair in folded.downsample_layers
        )
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    DeployedSDTAEncoder(b, kind)
                    if isinstance(b, SDTAEncoder)
                    else DeployedConvEncoder(cast(ConvEncoder, b), kind)
                    for b in cast(Iterable[EncoderBlock], stage)
                )
            )
            for stage in folded.stages
        )
        if not self.features_only:
            self.norm, self.head = folded.norm, folded.head

    def features(self, x: Tensor) -> list[Tensor]:
        """The stem's output and the four stages', each N×C×H×W."""
        return run_stages(self.downsample_layers, self.stages, x)

    def classify(self, x: Tensor) -> Tensor:
        """Logits of the last stage's output."""
        logits: Tensor = self.head(self.norm(x.mean((-2, -1))))
        return logits


def deployed_arrays(
    network: EdgeNeXt, height: int, width: int, pixels: EvalTransform | None = None
) -> dict[str, NDArray[Any]]:
    """The tensors of a folded network by their PyTorch names, for a converter that rebuilds it."""
    folded = fold(network, height, width, pixels)
    canonicalise_attention(folded)
    state = Deployed(folded, "convC").state_dict()
    return {name: value.numpy() for name, value in state.items()}


class Deployable(nn.Module):
    """A network in one form, from the artifact's input to its outputs.

    With `pixels` the input is N×H×W×3 uint8, else N×3×H×W float32, normalised; with `cast_first`
    pixels are cast before they are transposed, not after that. Outputs are the logits (not with
    `features_only`), then the stem's and the four stages' tensors.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: EdgeNeXt,
        form: str,
        height: int,
        width: int,
        pixels: EvalTransform | None = None,
        cast_first: bool = False,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise unknown_name("form", form, FORMS)
        self.features_only, self.pixels = network.features_only, pixels is not None
        self.cast_first, self.normalise = cast_first, pixels is not None and form == "naive"
        if form == "naive":
            check_size(height, width)
            check_finite(network)
            self.body: EdgeNeXt | Deployed = network
        else:
            folded = fold(network, height, width, pixels)
            canonicalise_attention(folded)
            self.body = Deployed(folded, form)
        if self.normalise and pixels is not None:
            self.register_buffer("mean", 255 * torch.tensor(pixels.mean)[:, None, None])
            self.register_buffer("std", 255 * torch.tensor(pixels.std)[:, None, None])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits and the stem's and stages' tensors."""
        if self.pixels:
            x = (x.float() if self.cast_first else x).permute(0, 3, 1, 2).float()
        if self.normalise:
            x = (x - self.mean) / self.std
        features = self.body.features(x)
        if self.features_only:
            return (*features[1:], features[0])
        return (self.body.classify(features[-1]), *features)
