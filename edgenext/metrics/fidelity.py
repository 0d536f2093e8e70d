"""How close logits are to those of a base, regardless of labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenext.formats.session import Logits

Doubles = NDArray[np.float64]

MOST_DB = 200.0
"""SQNR of equal logits: JSON has no infinity, and float32 does not exceed about 150 dB."""
CHUNK = 1 << 18
"""Numbers converted to float64 at a time: 2 MiB, of which a dozen are needed at once."""


@dataclass(frozen=True)
class Fidelity:
    """How close logits are to the base's, regardless of labels.

    `agreement` is the percentage of equal top-1; `sqnr_db` is of the logits centred per image, at
    most 200; `cosine` is the mean over images, not centred; `kl` is the mean KL(base ‖ other) of
    the softmax in nats.
    """

    agreement: float
    sqnr_db: float
    cosine: float
    kl: float


@dataclass(frozen=True)
class FidelityRows:
    """The same of each image, N each: whether top-1 is equal, and energies of signal and noise."""

    agreeing: NDArray[np.bool_]
    signal: Doubles
    noise: Doubles
    cosine: Doubles
    kl: Doubles


def fidelity(base: Logits, other: Logits) -> Fidelity:
    """Fidelity of `other` to `base`, both N×K and finite."""
    rows = fidelity_rows(base, other)
    return Fidelity(
        agreement=100 * int(rows.agreeing.sum()) / len(base),
        sqnr_db=sqnr_db(float(rows.signal.sum()), float(rows.noise.sum())),
        cosine=float(rows.cosine.sum()) / len(base),
        kl=float(rows.kl.sum()) / len(base),
    )


def fidelity_rows(base: Logits, other: Logits) -> FidelityRows:
    """Fidelity of each row of `other` to that of `base`, both N×K and finite."""
    parts = [_chunk_rows(a, other[at].astype(np.float64)) for at, a in chunks(base)]
    return FidelityRows(*map(np.concatenate, zip(*parts, strict=True)))


def _chunk_rows(a: Doubles, b: Doubles) -> tuple[NDArray[Any], ...]:
    """The fields of `FidelityRows`."""
    centred = a - a.mean(1, keepdims=True)
    error = centred - (b - b.mean(1, keepdims=True))
    log_p, log_q = log_softmax(a), log_softmax(b)
    # Each image's divergence is ≥ 0, but rounding can make it negative.
    kl = (np.exp(log_p) * (log_p - log_q)).sum(1).clip(min=0)
    agreeing = a.argmax(1) == b.argmax(1)
    return agreeing, (centred**2).sum(1), (error**2).sum(1), _cosines(a, b), kl


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to quantization noise, 10·log10(signal / noise) of two energies, within ±200 dB."""
    if noise <= 0:
        return MOST_DB
    if signal <= 0:
        return -MOST_DB
    return min(max(10 * (math.log10(signal) - math.log10(noise)), -MOST_DB), MOST_DB)


def log_softmax(values: NDArray[Any]) -> Doubles:
    """Log of the softmax over the last axis, in float64; large logits do not overflow."""
    shifted = values.astype(np.float64) - values.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _cosines(a: Doubles, b: Doubles) -> Doubles:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.divide((a * b).sum(1), lengths, out=np.zeros(len(a)), where=lengths > 0)
    # Two zero vectors count as equal; one zero vector has no direction, so its cosine is 0.
    return np.asarray(np.where((a == b).all(1), 1.0, cosines).clip(-1, 1))


def chunks(values: Logits) -> Iterator[tuple[slice, Doubles]]:
    """Parts of N×K logits in float64, each with its slice of the N images."""
    size = max(CHUNK // max(values.shape[1], 1), 1)
    for start in range(0, len(values), size):
        at = slice(start, start + size)
        yield at, values[at].astype(np.float64)
