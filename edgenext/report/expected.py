"""The speed that INT8 was expected to have on this CPU, beside the speed that was measured."""

from __future__ import annotations

from edgenext.benchmark.advice import CONDITIONS, basis, bf16_recommendation, expectation
from edgenext.options import ENGINE
from edgenext.report.speed import Speed, speed
from edgenext.report.study import Study
from edgenext.report.text import clean, times
from edgenext.schema import TIMED, Advice, Verdict

SCHEME = "w8a8-static"
"""The scheme that expectations are about."""

TOLERANCE = 0.1
"""An expectation is a range over machines of a kind: a speed this far outside is no surprise."""


def expectation_text(study: Study, verdict: Verdict) -> str:
    """One paragraph, empty where there is no expectation: no CPU target, or no INT8 judged."""
    from edgenext.targets.target import schemes

    env = study.summary.bench.environment
    judged = next((e for e in study.int8 if e.name == verdict.artifact), None)
    artifact = judged.artifact if judged else None
    if env is None or judged is None or artifact is None:
        return ""
    if judged.bench and judged.bench.evidence not in TIMED:
        return ""  # it did not run on such a CPU
    if judged.scheme != SCHEME or artifact.engine not in ("", ENGINE):
        return ""
    if not artifact.target.startswith("cpu-"):
        return ""
    advice = expectation(env, arch=study.summary.arch)
    measured = speed(judged, study.base, study) if study.base else None
    sentences = [_expectation(advice), _measurement(measured, study, advice)]
    if not any(e.scheme == "bf16" for e in study.floats) and (
        hint := bf16_recommendation(env, schemes(artifact.target))
    ):
        sentences.append(f"{hint[0].upper()}{hint[1:]}.")
    return clean(" ".join(sentences))


def _expectation(advice: Advice) -> str:
    if advice.low is None:
        return f"There is no expectation for INT8 on {advice.isa}: {advice.reason}."
    return (
        f"On {advice.isa}, INT8 is expected to run {advice.speed} as fast as the plain FP32 export "
        f"({CONDITIONS}; {basis(advice)}), since {advice.reason}."
    )


def _measurement(measured: Speed | None, study: Study, advice: Advice) -> str:
    if measured is None or not measured.valid:
        return "This run has no valid timing to compare with that."
    value, interval = times(measured.times, measured.low, measured.high)
    sentence = f"This run measured {value} ({interval}){_conditions(study)}"
    if advice.low is None:
        return f"{sentence}."
    if measured.high < advice.low * (1 - TOLERANCE):
        return f"{sentence}: less than expected."
    if advice.high is not None and measured.low > advice.high * (1 + TOLERANCE):
        return f"{sentence}: more than expected."
    return f"{sentence}: as expected."


def _conditions(study: Study) -> str:
    """How the run differs from the conditions of the expectation, if it does."""
    bench = study.base.bench if study.base else None
    if bench is None:
        return ""
    differences = [
        "" if bench.size.endswith("256×256") or not bench.size else f"at {bench.size}",
        "" if bench.threads == 1 else f"with {bench.threads} threads",
        "" if bench.batch == 1 else f"with a batch of {bench.batch}",
        "" if bench.runtime.startswith("onnxruntime") else f"in {bench.runtime}",
    ]
    text = ", ".join(filter(None, differences))
    return f" under other conditions ({text})" if text else ""
