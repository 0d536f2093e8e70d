"""What INT8 was expected to bring on this CPU, beside what was measured."""

from __future__ import annotations

from edgenext.benchmark.advice import CONDITIONS, basis, bf16_recommendation, expectation
from edgenext.report.speed import Speed, speed
from edgenext.report.study import MEASURED, OURS, Study
from edgenext.report.text import clean, times
from edgenext.report.verdict import Verdict
from edgenext.schema import Advice

SCHEME = "w8a8-static"
"""The scheme that expectations are about."""

TOLERANCE = 0.1
"""An expectation is a range over machines of a kind: so much beside it is no surprise."""


def expected(study: Study, verdict: Verdict) -> str:
    """One paragraph, empty where there is no expectation: no CPU target, or no INT8 judged."""
    from edgenext.targets.target import schemes

    env = study.summary.bench.environment
    judged = next((e for e in study.int8 if e.name == verdict.artifact), None)
    made = judged.artifact if judged else None
    if env is None or judged is None or made is None:
        return ""
    of_ours = judged.scheme == SCHEME and made.engine in ("", OURS)
    target = made.target
    if judged.bench and judged.bench.evidence not in MEASURED:
        return ""  # it ran on no such CPU
    if not of_ours or not target.startswith("cpu-"):
        return ""
    advice = expectation(env, arch=study.summary.arch)
    said = (
        f"On {advice.isa}, INT8 is expected to run {advice.speed} as fast as the plain FP32 export "
        f"({CONDITIONS}; {basis(advice)}), since {advice.reason}."
        if advice.low is not None
        else f"On {advice.isa} nothing is known of INT8: {advice.reason}."
    )
    found = speed(judged, study.base, study) if study.base else None
    parts = [said, _measured(found, study, advice)]
    if verdict.pays is None:  # else the verdict says what to ship
        parts.append(f"Until it is measured: {advice.recommendation}.")
    if not any(e.scheme == "bf16" for e in study.floats) and (
        too := bf16_recommendation(env, schemes(target))
    ):
        parts.append(f"{too[0].upper()}{too[1:]}.")
    return clean(" ".join(parts))


def _measured(found: Speed | None, study: Study, advice: Advice) -> str:
    if found is None or not found.valid:
        return "This run has no valid timing to compare with that."
    value, interval = times(found.times, found.low, found.high)
    here = f"This run measured {value} ({interval}){_conditions(study)}"
    if advice.low is None:
        return f"{here}."
    if found.high < advice.low * (1 - TOLERANCE):
        return f"{here}: less than that."
    if advice.high is not None and found.low > advice.high * (1 + TOLERANCE):
        return f"{here}: more than that."
    return f"{here}: as expected."


def _conditions(study: Study) -> str:
    """How the run differs from what the expectation is about, if it does."""
    bench = study.base.bench if study.base else None
    if bench is None:
        return ""
    other = [
        "" if bench.size.endswith("256×256") or not bench.size else f"at {bench.size}",
        "" if bench.threads == 1 else f"with {bench.threads} threads",
        "" if bench.batch == 1 else f"with a batch of {bench.batch}",
        "" if bench.runtime.startswith("onnxruntime") else f"in {bench.runtime}",
    ]
    differs = ", ".join(filter(None, other))
    return f" {differs}, other conditions than those" if differs else ""
