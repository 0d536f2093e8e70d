"""EdgeNeXt in TensorFlow, channels last, from the arrays of a folded network.

It computes the deployment form `convC` (see `edgenext.graph.forms`), whose parameter names it
uses, on N×H×W×C, the layout of TFLite's convolutions; norms are over the last axis. Only attention
transposes: its tokens come last, so once at its input and once at its output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensor = Any
"""A `tf.Tensor`: tensorflow has no types."""

Observer = Callable[[str, Tensor], Tensor]
"""Called with the name of a value and the value; its result replaces the value."""

Range = tuple[float, float]
"""Minimum and maximum."""

CHUNK = 16
"""Calibration images in memory at a time."""
SHARES = tuple(np.linspace(0.3, 1.0, 29).tolist())
"""Candidate shares of a value's full range to which it is clipped."""
SAMPLED = 200_000
"""Numbers with which the candidates are compared, spread over all of them."""
STEM = "downsample_layers.0.0"
LN_EPS = 1e-6
TINY = 1e-24
"""The square of the least norm in `torch.nn.functional.normalize`."""


def ignore(name: str, value: Tensor) -> Tensor:
    """The observer that changes nothing."""
    del name
    return value


class Network:
    """The network as a function of N×H×W×3 float32.

    `observe` is called for every value that is worth quantizing: inputs and outputs of layers, by
    the layers' names (`stages.0.0.pwconv1:in`, `stages.0.0.pwconv1`). The convolutions of split
    channels are not among them: they are small, and their concatenation would get one scale.
    """

    def __init__(
        self, arrays: Mapping[str, Array], arch: Mapping[str, Any], observe: Observer = ignore
    ) -> None:
        import tensorflow as tf

        self._tf, self._arrays, self._arch = tf, arrays, arch
        self._observe = observe

    def __call__(self, x: Tensor) -> Tensor:
        """N×K logits."""
        tf = self._tf
        x = self.features(x)[-1]
        x = self._norm("norm", tf.reduce_mean(x, (1, 2), keepdims=True))
        return tf.reshape(self._conv("head", x), (-1, len(self._arrays["head.bias"])))

    def features(self, x: Tensor) -> list[Tensor]:
        """The outputs of the four stages, N×H×W×C."""
        outputs: list[Tensor] = []
        x = self._norm("downsample_layers.0.1", self._conv(STEM, x, 4))
        for i, depth in enumerate(self._arch["depths"]):
            if i:
                layer = f"downsample_layers.{i}"
                x = self._conv(f"{layer}.1", self._norm(f"{layer}.0", x), 2)
            for j in range(depth):
                name = f"stages.{i}.{j}"
                attends = f"{name}.xca.temperature" in self._arrays
                x = (self._sdta if attends else self._convolution)(name, x)
            outputs.append(x)
        return outputs

    def _convolution(self, name: str, x: Tensor) -> Tensor:
        """A convolution encoder."""
        return x + self._bottleneck(name, self._spatial(f"{name}.dwconv", x))

    def _spatial(self, name: str, x: Tensor) -> Tensor:
        """The depth-wise convolution of a convolution encoder."""
        return self._observe(name, self._depthwise(name, self._observe(f"{name}:in", x)))

    def _sdta(self, name: str, x: Tensor) -> Tensor:
        """An attention encoder."""
        tf = self._tf
        y = self._split_convolution(name, x)
        if f"{name}.norm_before.weight" in self._arrays:
            y = self._depthwise(f"{name}.norm_before", y)
        if f"{name}.pos_embd.encoding" in self._arrays:
            encoding = self._arrays[f"{name}.pos_embd.encoding"]
            y = y + tf.constant(encoding.transpose(0, 2, 3, 1))
        y = y + self._xca(f"{name}.xca", self._norm(f"{name}.norm_xca", y))
        return x + self._bottleneck(name, y)

    def _split_convolution(self, name: str, x: Tensor) -> Tensor:
        """Convolutions over channel groups; each adds the result of the one before to its input."""
        tf = self._tf
        results: list[Tensor] = []
        start = 0
        while f"{name}.convs.{len(results)}.weight" in self._arrays:
            conv = f"{name}.convs.{len(results)}"
            width = len(self._arrays[f"{conv}.weight"])
            group = x[..., start : start + width]
            results.append(self._depthwise(conv, group + results[-1] if results else group))
            start += width
        rest = [x[..., start:]] if start < x.shape[-1] else []
        return tf.concat([*results, *rest], -1)

    def _xca(self, name: str, x: Tensor) -> Tensor:
        """Cross-covariance attention; the norms of q and k divide the d × d product."""
        tf = self._tf
        temperature = self._arrays[f"{name}.temperature"]
        heads, (height, width, dim) = len(temperature), x.shape[1:]
        d, tokens = dim // heads, height * width
        qkv = tf.reshape(self._conv(f"{name}.qkv", x), (-1, tokens, 3 * dim))
        qkv = tf.reshape(tf.transpose(qkv, (0, 2, 1)), (-1, 3 * heads, d, tokens))
        q, k, v = (qkv[:, i * heads : (i + 1) * heads] for i in range(3))
        q_scale = tf.math.rsqrt(tf.reduce_sum(q * q, -1, keepdims=True) + TINY)
        k_scale = tf.math.rsqrt(tf.reduce_sum(k * k, -1) + TINY)
        scale = (q_scale * temperature) * tf.expand_dims(k_scale, 2)
        attention = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * scale)
        out = tf.reshape(tf.matmul(attention, v), (-1, dim, tokens))
        out = tf.reshape(tf.transpose(out, (0, 2, 1)), (-1, height, width, dim))
        return self._conv(f"{name}.proj", out)

    def _bottleneck(self, name: str, x: Tensor) -> Tensor:
        """Norm → pwconv1 → activation → pwconv2."""
        tf = self._tf
        x = self._conv(f"{name}.pwconv1", self._norm(f"{name}.norm", x))
        if self._arch["batch_norm"]:
            x = x * tf.nn.relu6(x + 3.0) * (1 / 6)
        else:
            x = tf.nn.gelu(x, approximate=False)
        return self._conv(f"{name}.pwconv2", x)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        """LayerNorm over the channels; the input itself if the norm was folded away."""
        tf, arrays = self._tf, self._arrays
        if f"{name}.weight" not in arrays:
            return x
        centred = x - tf.reduce_mean(x, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        y = centred * tf.math.rsqrt(variance + LN_EPS)
        weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
        return y if (weight == 1).all() and not bias.any() else y * weight + bias

    def _conv(self, name: str, x: Tensor, step: int = 1) -> Tensor:
        """A convolution whose kernel is as large as its step, or a linear layer."""
        tf = self._tf
        weight = self._arrays[f"{name}.weight"]
        kernel = weight.reshape(*weight.shape[:2], step, step).transpose(2, 3, 1, 0)
        x = tf.nn.conv2d(self._observe(f"{name}:in", x), kernel, step, "VALID")
        return self._observe(name, tf.nn.bias_add(x, self._arrays[f"{name}.bias"]))

    def _depthwise(self, name: str, x: Tensor) -> Tensor:
        """A depth-wise convolution that keeps the size."""
        tf = self._tf
        kernel = self._arrays[f"{name}.weight"].transpose(2, 3, 0, 1)
        x = tf.nn.depthwise_conv2d(x, kernel, (1, 1, 1, 1), "SAME")
        return tf.nn.bias_add(x, self._arrays[f"{name}.bias"])


def value_ranges(
    arrays: Mapping[str, Array], arch: Mapping[str, Any], images: Array
) -> dict[str, Range]:
    """The 8-bit range of every observed value, by its name.

    Inputs of layers keep their full range: residual streams have a few large values that matter.
    Outputs are clipped to the range with the least squared error.

    Args:
        arrays: the network's tensors.
        arch: the fields of its architecture.
        images: N×H×W×3 float32, as the network takes them.
    """
    values: dict[str, list[Array]] = {}

    def record(name: str, value: Tensor) -> Tensor:
        values.setdefault(name, []).append(np.ravel(np.asarray(value)))
        return value

    network = Network(arrays, arch, record)
    run = network if "head.weight" in arrays else network.features
    for start in range(0, len(images), CHUNK):
        run(images[start : start + CHUNK])
    return {
        name: (_full_range if name.endswith(":in") else _clipped_range)(np.concatenate(parts))
        for name, parts in values.items()
    }


def _full_range(values: Array) -> Range:
    """The range of all values and zero."""
    return min(float(values.min()), 0.0), max(float(values.max()), 1e-6)


def _clipped_range(values: Array) -> Range:
    """The share of the full range with the least squared error in 255 steps."""
    low, high = _full_range(values)
    sample = values[:: max(1, len(values) // SAMPLED)]

    def error(share: float) -> float:
        step = share * (high - low) / 255
        zero = np.round(-share * low / step)
        rounded = (np.clip(np.round(sample / step) + zero, 0, 255) - zero) * step
        return float(np.square(rounded - sample).mean(dtype=np.float64))

    best = min(SHARES, key=error)
    return best * low, best * high


def fake_quantizer(ranges: Mapping[str, Range]) -> Observer:
    """An observer that rounds values to 8 bits, which the converter turns into integers.

    A value is rounded once: of two ranges in a row the converter would take one for a layer's
    input and the other for its bias.
    """
    import tensorflow as tf

    rounded: set[Any] = set()

    def fake_quantize(name: str, value: Tensor) -> Tensor:
        if value.ref() in rounded:
            return value
        low, high = ranges[name]
        value = tf.quantization.fake_quant_with_min_max_vars(value, low, high)
        rounded.add(value.ref())
        return value

    return fake_quantize
