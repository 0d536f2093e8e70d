"""Qualcomm's compiler for the Hexagon NPU, through onnxruntime-qnn on this CPU.

Two questions: is the whole file taken where no fallback is allowed, and if not, what is left to the
CPU where it is. The backend logs why it refuses a node; the log is read for that and nothing else.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import ask, placements, refusals, report
from edgenext.formats.qnn.log import Reason, reasons
from edgenext.formats.qnn.socs import DEFAULT_SOC, SOCS, require_soc

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

PACKAGE = "onnxruntime-qnn"

UNTOLD = "the backend gives no reason"


def check(artifact: Artifact, soc: str = "") -> CheckReport:
    """Where each operator lands on the SoC of a phone.

    Args:
        artifact: ONNX, or compiled for an SoC.
        soc: a row of `socs.toml`; the one the file was compiled for, else SM8650.

    Raises:
        UsageError: no such SoC.
        MissingDependencyError: onnxruntime-qnn is not installed.
        RuntimeFailedError: it died, or the file is no ONNX graph.
    """
    require_soc(soc)
    outcome = ask(
        "qnn.check:place", artifact, "onnxruntime_qnn", "Qualcomm's backend", soc=soc.upper()
    )
    made = outcome.result
    name = made["soc"]
    left, with_them = _left(made["left"], reasons(outcome.output))
    errors, notes = list(made["errors"]), [f"asked for {name}, {SOCS[name].about}"]
    if made["compiled_for"] not in ("", name):
        errors.append(f"compiled for {made['compiled_for']}, not for {name}")
    delegated = not errors and not made["left"]
    if delegated:
        notes.append("proven with the fallback to the CPU disabled")
    return report(
        artifact,
        "htp",
        unit="npu",
        compiler=PACKAGE,
        version=version(PACKAGE),
        accepted=not errors,
        delegated=delegated,
        placements=placements({"npu": made["npu"], "cpu": made["cpu"]}),
        refusals=(*refusals(left), *refusals(with_them)),
        errors=tuple(errors),
        partitions=made["partitions"],
        seconds=round(outcome.seconds, 1),
        notes=tuple(notes),
    )


Nodes = list[tuple[str, str, str]]
"""Type, name and reason of each."""


def _left(nodes: list[tuple[str, str]], why: dict[str, Reason]) -> tuple[Nodes, Nodes]:
    """Nodes left to the CPU by what the backend has against them, and Q/DQ that go with those."""
    refused, with_them = Nodes(), Nodes()
    for operator, name in nodes:
        reason = why.get(name)
        if reason is None or reason.unit == operator:
            refused.append((operator, name, reason.why if reason else UNTOLD))
        else:
            with_them.append((operator, name, f"it goes with its {reason.unit}"))
    return refused, with_them


def place(job: dict[str, Any]) -> dict[str, Any]:
    """Open a file without a fallback, else with one.

    Args:
        job: `path` of an ONNX file, `soc` or nothing.

    Returns:
        `npu` and `cpu` operators by type, those `left` to the CPU as type and name, `partitions` on
        the NPU, `errors` in the backend's words, `soc` and what the file was `compiled_for`.
    """
    from pathlib import Path

    from edgenext.errors import RuntimeFailedError
    from edgenext.formats.qnn.session import compiled_for, npu_session, one_line

    made: dict[str, Any] = {"npu": {}, "cpu": {}, "left": [], "partitions": None, "errors": []}
    try:
        made["compiled_for"] = compiled_for(Path(job["path"]))
    except RuntimeFailedError as e:
        return made | {"soc": job["soc"] or DEFAULT_SOC, "compiled_for": "", "errors": [str(e)]}
    made["soc"] = job["soc"] or made["compiled_for"] or DEFAULT_SOC
    try:
        return made | _assigned(npu_session(job["path"], made["soc"]))
    except Exception as e:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
        refusal = one_line(e)
    try:
        session = npu_session(job["path"], made["soc"], fallback=True, severity=0)
    except Exception as e:  # noqa: BLE001
        return made | {"errors": list(dict.fromkeys((refusal, one_line(e))))}
    return made | _assigned(session)


def _assigned(session: Any) -> dict[str, Any]:
    from edgenext.formats.qnn.session import PROVIDER

    npu: Counter[str] = Counter()
    left, partitions = [], 0
    for part in session.get_provider_graph_assignment_info():
        nodes = [(node.op_type, node.name) for node in part.get_nodes()]
        if part.ep_name == PROVIDER:
            partitions += 1
            npu.update(operator for operator, _ in nodes)
        else:
            left += nodes
    cpu = Counter(operator for operator, _ in left)
    return {"npu": npu, "cpu": cpu, "left": left, "partitions": partitions}
