"""Runs to report on: summaries and predictions that belong together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from drops import drop_of
from numpy.typing import NDArray

from edgenext.benchmark.latency import latency_percentiles
from edgenext.benchmark.noise import LEAST_FLOOR, latency_ratio, noise_floor
from edgenext.metrics.accuracy import accuracy, paired_comparison, score
from edgenext.metrics.top_two import top_two
from edgenext.report.predictions import RunPredictions, save_predictions
from edgenext.schema import (
    Accuracy,
    BenchReport,
    BenchResult,
    CompareReport,
    Comparison,
    Environment,
    EvalReport,
    EvalResult,
    Evidence,
    ExportResult,
    Parity,
    Ratio,
    RunSummary,
    SubsetInfo,
)

PLAIN, FOLDED, INT8 = "net-fp32-plain", "net-fp32", "net-w8a8-static"
SCHEMES = {PLAIN: ("fp32", "naive"), FOLDED: ("fp32", "convT"), INT8: ("w8a8-static", "convT")}
SIZES = {PLAIN: 5_372_912, FOLDED: 5_301_004, INT8: 1_655_021}
ENVIRONMENT = Environment(
    cpu="AMD EPYC 7B13",
    isa=("avx2",),
    cores=2,
    memory_gb=24.0,
    os="Linux-6.1.0-x86_64-with-glibc2.36",
    python="3.11.7",
    packages={"edgenext": "0.1.0", "onnxruntime": "1.32.0", "torch": "2.13.0"},
)
BUSY = "other programs used 1.10 of 2 cores (limit 0.25): close them and measure again"


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def exported(name: str, parity: Parity | None = None) -> ExportResult:
    scheme, form = SCHEMES.get(name, ("w8a8-static", "convT"))
    return ExportResult(
        artifact=f"/runs/demo/{name}.onnx",
        manifest=f"/runs/demo/{name}.onnx.json",
        format="onnx",
        scheme=scheme,
        sha256=sha(name),
        size_bytes=SIZES.get(name, 1_655_021),
        parity=parity,
        form=form,
    )


def scored(name: str, top1: float, n: int, data: SubsetInfo) -> EvalResult:
    return EvalResult(
        artifact=name,
        top1=top1,
        top5=top1 + 25,
        loss=3.1,
        n=n,
        sha256=sha(name),
        scheme=SCHEMES.get(name, ("w8a8-static", ""))[0],
        runtime="onnxruntime 1.32.0",
        data=data,
    )


def compared(name: str, lost: int, gained: int, n: int, top1: float = 30.94) -> Comparison:
    return Comparison(
        artifact=name,
        top1=top1 - 100 * (lost - gained) / n,
        top5=55.0,
        drop=drop_of(lost, gained, n),
        agreement=93.4,
        sqnr_db=25.1,
        cosine=0.998,
        kl=0.01,
        sha256=sha(name),
        scheme=SCHEMES.get(name, ("w8a8-static", ""))[0],
    )


def timed(
    name: str,
    ms: float,
    *,
    rounds: int = 30,
    noise: float = 0.01,
    reasons: tuple[str, ...] = (),
    evidence: Evidence = "host",
    seed: int = 0,
) -> BenchResult:
    """A latency of `ms`; all artifacts of a seed share what disturbs a round."""
    shared = np.random.default_rng(seed).normal(0, 0.02, rounds)
    rng = np.random.default_rng([seed, *name.encode()])
    own = 1 + rng.normal(0, noise, rounds)
    samples = [
        float(ms * (1 + shared[r]) * own[r] * (1 + abs(rng.normal(0, 2 * noise))))
        for r in range(rounds)
        for _ in range(10)
    ]
    scheme, form = SCHEMES.get(name, ("w8a8-static", "convT"))
    return BenchResult(
        artifact=name,
        runtime="onnxruntime 1.32.0",
        device="cpu",
        evidence=evidence,
        threads=1,
        batch=1,
        latency_ms=latency_percentiles(samples),
        n=len(samples),
        load_ms=180.0,
        first_ms=2 * ms,
        peak_rss_mb=31.4,
        valid=not reasons,
        reasons=reasons,
        sha256=sha(name),
        scheme=scheme,
        form=form,
        size="1×3×256×256",
        samples_ms=tuple(samples),
        rounds=(10,) * rounds,
    )


def samples_of(result: BenchResult) -> list[list[float]]:
    """A result's samples in ms by round."""
    return np.reshape(result.samples_ms, (len(result.rounds), -1)).tolist()


def ratios(results: Sequence[BenchResult], floor: float = LEAST_FLOOR) -> tuple[Ratio, ...]:
    """Every artifact against the first and the first against it, as a benchmark gives them."""
    return tuple(
        latency_ratio(
            (results[a].artifact, results[b].artifact),
            (samples_of(results[a]), samples_of(results[b])),
            floor=floor,
            seed=0,
            valid=results[a].valid and results[b].valid,
        )
        for other in range(1, len(results))
        for a, b in ((other, 0), (0, other))
    )


def benchmark(
    results: Sequence[BenchResult],
    second: BenchResult | None = None,
    environment: Environment | None = ENVIRONMENT,
) -> BenchReport:
    """A benchmark whose first file took `second` in another process; the same time if not given."""
    first = results[0]
    second = second or first.model_copy()
    noise = noise_floor(first, second, (samples_of(first), samples_of(second)), 0)
    return BenchReport(
        results=tuple(results),
        ratios=ratios(results, noise.floor),
        noise=noise,
        environment=environment,
    )


def summary(
    *,
    ms: tuple[float, float, float] = (12.8, 10.85, 8.26),
    lost: int = 41,
    gained: int = 38,
    n: int = 5000,
    n_total: int | None = None,
    noise: float = 0.01,
    reasons: dict[str, tuple[str, ...]] | None = None,
    evidence: Evidence = "host",
    model: str = "edgenext_xx_small",
    corrupt: tuple[str, ...] = (),
    environment: Environment | None = ENVIRONMENT,
    stages: dict[str, float] | None = None,
    second_ms: float | None = None,
) -> RunSummary:
    """A run of three artifacts; keywords name what is unusual about it."""
    data = SubsetInfo(
        data="tiny-imagenet-val.zip",
        split="val",
        sha256=sha("evaluation"),
        n=n,
        n_total=n_total or n,
        seed=0,
        corrupt=corrupt,
    )
    names = (PLAIN, FOLDED, INT8)
    timings = [
        timed(name, t, noise=noise, reasons=(reasons or {}).get(name, ()), evidence=evidence)
        for name, t in zip(names, ms, strict=True)
    ]
    parity = Parity(n=32, max_abs=2e-6, sqnr_db=126.4, agreement=100.0)
    coarse = Parity(n=32, max_abs=1.3, sqnr_db=25.3, agreement=93.8, stages=stages or {})
    pair = compared(INT8, lost, gained, n)
    return RunSummary(
        model=model,
        arch="edgenext_xx_small",
        params=1_206_840,
        weights="edgenext_xx_small_tinyimagenet.safetensors",
        weights_sha256=sha("weights"),
        artifacts=(exported(PLAIN, parity), exported(FOLDED, parity), exported(INT8, coarse)),
        eval=EvalReport(
            results=(
                scored(PLAIN, 30.94, n, data),
                scored(FOLDED, 30.94, n, data),
                scored(INT8, pair.top1, n, data),
            )
        ),
        compare=CompareReport(
            n=n,
            base=Accuracy(top1=30.94, top5=55.94, artifact=PLAIN, sha256=sha(PLAIN)),
            others=(compared(FOLDED, 0, 0, n), pair),
            data=data,
        ),
        bench=benchmark(
            timings, timed(PLAIN, second_ms, noise=noise) if second_ms else None, environment
        ),
        calibration=SubsetInfo(
            data="tiny-imagenet-train.zip",
            split="train",
            sha256=sha("calibration"),
            n=128,
            n_total=5000,
            seed=0,
        ),
        command="edgenext run edgenext_xx_small --data tiny-imagenet-val.zip",
        seconds={"export": 21.4, "quantize": 8.2, "eval": 201.0, "bench": 64.0},
    )


def logits(n: int = 3000, k: int = 20, seed: int = 0) -> dict[str, NDArray[np.generic]]:
    """Logits of the three artifacts, INT8's with noise, and labels the base often gets right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    base = rng.normal(0, 1.0, (n, k))
    base[np.arange(n), labels] += rng.gamma(2.0, 1.0, n)
    rough = base + rng.normal(0, 0.05, (n, k))
    return {
        PLAIN: base.astype(np.float32),
        FOLDED: base.astype(np.float32),
        INT8: rough.astype(np.float32),
        "labels": labels,
    }


def measured(**unusual: object) -> tuple[RunSummary, dict[str, NDArray[np.generic]]]:
    """A run whose accuracy was computed from the logits it comes with."""
    arrays = logits()
    values = {name: arrays[name].astype(np.float32) for name in (PLAIN, FOLDED, INT8)}
    labels = arrays["labels"].astype(np.int64)
    run = summary(n=len(labels), **unusual)  # type: ignore[arg-type]
    data = run.compare.data
    results = [
        score(
            name,
            values[name],
            labels,
            sha256=sha(name),
            scheme=SCHEMES[name][0],
            data=data,
            runtime="onnxruntime 1.32.0",
        )
        for name in values
    ]
    others = [
        paired_comparison(
            name, values[PLAIN], values[name], labels, sha256=sha(name), scheme=SCHEMES[name][0]
        )
        for name in (FOLDED, INT8)
    ]
    report = CompareReport(
        n=len(labels),
        base=accuracy(PLAIN, values[PLAIN], labels, sha256=sha(PLAIN)),
        others=tuple(others),
        data=data,
    )
    return (
        run.model_copy(update={"eval": EvalReport(results=tuple(results)), "compare": report}),
        arrays,
    )


def predictions_of(arrays: dict[str, NDArray[np.generic]]) -> RunPredictions:
    """The predictions of logits and their labels."""
    values = {k: v.astype(np.float32) for k, v in arrays.items() if k != "labels"}
    labels = arrays["labels"].astype(np.int64)
    return RunPredictions({name: top_two(v) for name, v in values.items()}, labels)


def save(
    folder: Path, run: RunSummary, arrays: dict[str, NDArray[np.generic]] | None = None
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
    if arrays is not None:
        save_predictions(folder, predictions_of(arrays))
    return folder


def without_int8(run: RunSummary) -> RunSummary:
    """The same run with its two float files alone, on a machine that is not known."""
    return run.model_copy(
        update={
            "artifacts": run.artifacts[:2],
            "eval": run.eval.model_copy(update={"results": run.eval.results[:2]}),
            "compare": run.compare.model_copy(update={"others": run.compare.others[:1]}),
            "bench": BenchReport(results=run.bench.results[:2], ratios=run.bench.ratios[:2]),
        }
    )
