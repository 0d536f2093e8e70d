"""The EdgeNeXt networks, with the published parameter names.

Maaz et al., "EdgeNeXt: Efficiently Amalgamated CNN-Transformer Architecture for Mobile Vision
Applications", CADL/ECCV-W 2022. Two families share one skeleton: LayerNorm + GELU, and
BatchNorm + Hardswish (`bn_hs`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenext.models.zoo import STRIDES

LAYER_SCALE_INIT = 1e-6
LN_EPS = 1e-6


@dataclass(frozen=True)
class Arch:
    """The parameters of an architecture (paper, table 1)."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    kernels: tuple[int, ...]
    heads: int
    splits: tuple[int, ...]
    """Channel groups of the split depth-wise convolution, by stage; 0 where a stage has none."""
    batch_norm: bool
    params: int
    macs_256: int

    @property
    def stages(self) -> range:
        """The indices of the four stages."""
        return range(len(self.dims))


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of N×C×H×W."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise N×C×H×W over C."""
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(variance + LN_EPS)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class DropPath(nn.Module):
    """Stochastic depth: drop the branch of randomly chosen images in training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Zero the branch of an image with probability `rate`, rescale the others."""
        if not self.training or self.rate == 0.0:
            return x
        keep = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)


class FourierEncoding(nn.Module):
    """Positional encoding: Fourier features of the row and column, projected to the channels."""

    hidden, temperature = 32, 10000.0

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.token_projection = nn.Conv2d(2 * self.hidden, dim, 1)

    def forward(self, height: int, width: int) -> Tensor:
        """The 1×C×H×W encoding for a size in tokens."""
        weight = self.token_projection.weight
        dtype, device = weight.dtype, weight.device
        index = torch.arange(self.hidden, device=device)
        power = 2 * torch.div(index, 2, rounding_mode="floor") / self.hidden
        period = (self.temperature**power).to(dtype)

        def waves(n: int) -> Tensor:
            position = torch.arange(1, n + 1, dtype=dtype, device=device) / (n + 1e-6) * 2 * math.pi
            angle = position[:, None] / period
            return torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), -1).flatten(1).T

        rows = waves(height)[:, :, None].expand(-1, -1, width)
        columns = waves(width)[:, None, :].expand(-1, height, -1)
        encoding: Tensor = self.token_projection(torch.cat((rows, columns))[None])
        return encoding


class XCA(nn.Module):
    """Cross-covariance attention: softmax over channel × channel, linear in the tokens.

    Queries and keys are L2-normalised over the tokens (El-Nouby et al., "XCiT", 2021).
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over B×N×C tokens."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 4, 1)  # each B × heads × d × N
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        attention = (q @ k.transpose(-2, -1) * self.temperature).softmax(-1)
        out: Tensor = self.proj((attention @ v).permute(0, 3, 1, 2).reshape(batch, tokens, dim))
        return out


def _norm(dim: int, batch_norm: bool) -> nn.Module:
    """A norm over the last axis (LayerNorm) or over axis 1 (BatchNorm)."""
    return nn.BatchNorm2d(dim) if batch_norm else nn.LayerNorm(dim, LN_EPS)


class EncoderBlock(nn.Module):
    """Base of both encoders: the inverted bottleneck that follows their spatial mixing."""

    def __init__(self, dim: int, batch_norm: bool, drop_path: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), LAYER_SCALE_INIT))
        self.norm = _norm(dim, batch_norm)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.act: nn.Module = nn.Hardswish() if batch_norm else nn.GELU()
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.drop_path = DropPath(drop_path)
        self.batch_norm = batch_norm

    def bottleneck(self, x: Tensor) -> Tensor:
        """Norm → pwconv1 → act → pwconv2 → layer scale, N×C×H×W in and out."""
        x = (
            self.norm(x).permute(0, 2, 3, 1)
            if self.batch_norm
            else self.norm(x.permute(0, 2, 3, 1))
        )
        x = self.gamma * self.pwconv2(self.act(self.pwconv1(x)))
        return x.permute(0, 3, 1, 2)


class ConvEncoder(EncoderBlock):
    """Depth-wise convolution and inverted bottleneck, with a residual around both."""

    def __init__(self, dim: int, kernel: int, batch_norm: bool, drop_path: float) -> None:
        super().__init__(dim, batch_norm, drop_path)
        self.dwconv = nn.Conv2d(
            dim, dim, kernel, padding=kernel // 2, groups=dim, bias=not batch_norm
        )

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W in and out."""
        out: Tensor = x + self.drop_path(self.bottleneck(self.dwconv(x)))
        return out


def split_convolution(x: Tensor, width: int, convs: nn.ModuleList) -> Tensor:
    """Convolve channel groups of N×C×H×W in turn, each plus the output of the one before.

    Channel groups after the last convolution are unchanged.
    """
    groups = torch.split(x, width, 1)
    out: list[Tensor] = []
    for group, conv in zip(groups, convs, strict=False):
        out.append(conv(group + out[-1] if out else group))
    return torch.cat((*out, *groups[len(out) :]), 1)


def run_stages(downsample_layers: nn.ModuleList, stages: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """The outputs of the stem and of the stages, each N×C×H×W."""
    outputs: list[Tensor] = []
    for i, (downsample, stage) in enumerate(zip(downsample_layers, stages, strict=True)):
        x = downsample(x)
        if i == 0:
            outputs.append(x)
        x = stage(x)
        outputs.append(x)
    return outputs


class SDTAEncoder(EncoderBlock):
    """Split depth-wise convolution, transpose attention and inverted bottleneck."""

    def __init__(
        self, dim: int, splits: int, heads: int, position: bool, batch_norm: bool, drop_path: float
    ) -> None:
        super().__init__(dim, batch_norm, drop_path)
        self.width = max(math.ceil(dim / splits), dim // splits)
        self.convs = nn.ModuleList(
            nn.Conv2d(self.width, self.width, 3, padding=1, groups=self.width)
            for _ in range(max(splits - 1, 1))
        )
        self.pos_embd = FourierEncoding(dim) if position else None
        self.norm_xca = _norm(dim, batch_norm)
        self.gamma_xca = nn.Parameter(torch.full((dim,), LAYER_SCALE_INIT))
        self.xca = XCA(dim, heads)

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W in and out."""
        batch, dim, height, width = x.shape
        y = split_convolution(x, self.width, self.convs)
        if self.batch_norm:  # this family also normalises the residual, before the encoding
            y = self.norm_xca(y)
        if self.pos_embd is not None:
            y = y + self.pos_embd(height, width)
        tokens = y.flatten(2).permute(0, 2, 1)
        attended = self.xca(tokens if self.batch_norm else self.norm_xca(tokens))
        tokens = tokens + self.drop_path(self.gamma_xca * attended)
        y = tokens.permute(0, 2, 1).reshape(batch, dim, height, width)
        out: Tensor = x + self.drop_path(self.bottleneck(y))
        return out


class EdgeNeXt(nn.Module):
    """The classifier, or with `features_only` the backbone.

    Input N×3×H×W float32, normalised, H and W at least 32. Output N×K logits, or the four stage
    outputs, N×dims[i]×(H/4, H/8, H/16, H/32)×…
    """

    def __init__(
        self,
        arch: Arch,
        num_classes: int = 1000,
        drop_path: float = 0.0,
        features_only: bool = False,
    ) -> None:
        super().__init__()
        self.arch, self.num_classes, self.features_only = arch, num_classes, features_only
        bn, dims = arch.batch_norm, arch.dims

        def norm2d(dim: int) -> nn.Module:
            return nn.BatchNorm2d(dim) if bn else LayerNorm2d(dim)

        stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, 4, bias=not bn), norm2d(dims[0]))
        self.downsample_layers = nn.ModuleList([stem])
        for a, b in pairwise(dims):
            self.downsample_layers.append(
                nn.Sequential(norm2d(a), nn.Conv2d(a, b, 2, 2, bias=not bn))
            )
        rates = iter(torch.linspace(0, drop_path, sum(arch.depths), device="cpu").tolist())
        self.stages = nn.ModuleList(
            nn.Sequential(*self._stage_blocks(arch, i, rates)) for i in arch.stages
        )
        if not features_only:
            self.norm = _norm(dims[-1], bn)
            self.head = nn.Linear(dims[-1], num_classes)
        self.apply(_init)

    @staticmethod
    def _stage_blocks(arch: Arch, i: int, rates: Iterable[float]) -> list[EncoderBlock]:
        """Convolution encoders, and a final attention encoder in all stages but the first."""
        blocks: list[EncoderBlock] = []
        dim, bn = arch.dims[i], arch.batch_norm
        for j, rate in zip(range(arch.depths[i]), rates, strict=False):
            if arch.splits[i] and j == arch.depths[i] - 1:
                blocks.append(SDTAEncoder(dim, arch.splits[i], arch.heads, i == 1, bn, rate))
            else:
                blocks.append(ConvEncoder(dim, arch.kernels[i], bn, rate))
        return blocks

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the four stages' outputs."""
        return self.arch.dims

    @property
    def strides(self) -> tuple[int, ...]:
        """How many pixels of the image one step in each of the four stages' outputs is."""
        return STRIDES

    def features(self, x: Tensor) -> list[Tensor]:
        """The outputs of the stem and of the four stages, each N×C×H×W."""
        return run_stages(self.downsample_layers, self.stages, x)

    def classify(self, x: Tensor) -> Tensor:
        """N×K logits from the last stage's output."""
        x = self.norm(x).mean((-2, -1)) if self.arch.batch_norm else self.norm(x.mean((-2, -1)))
        logits: Tensor = self.head(x)
        return logits

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """N×3×H×W to N×K logits, or to the four stage outputs with `features_only`."""
        features = self.features(x)
        return features[1:] if self.features_only else self.classify(features[-1])


def _init(module: nn.Module) -> None:
    """The published initialisation: truncated normal weights of 0.02, zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def count_macs(network: EdgeNeXt, height: int, width: int) -> int:
    """Multiply-adds of one image, counted as for the published figures.

    These are the convolutions, the linear layers and the two matrix products of the attention;
    fvcore, which counted the published figures, adds 5 per element of an `nn.LayerNorm` and 2 per
    element of a batch norm.
    """
    total = 0

    def hook(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal total
        if isinstance(module, XCA):
            tokens, dim = args[0].shape[1:]
            total += 2 * tokens * dim * dim // module.heads
        elif isinstance(module, nn.Conv2d | nn.Linear):
            total += out.numel() * module.weight[0].numel()
        else:
            total += out.numel() * (5 if isinstance(module, nn.LayerNorm) else 2)

    counted = nn.Conv2d | nn.Linear | nn.LayerNorm | nn.BatchNorm2d | XCA
    hooks = [m.register_forward_hook(hook) for m in network.modules() if isinstance(m, counted)]
    try:
        with torch.no_grad():
            network(torch.zeros(1, 3, height, width))
    finally:
        for h in hooks:
            h.remove()
    return total
