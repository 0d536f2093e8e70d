"""Qualcomm's compiler for the Hexagon NPU, through onnxruntime-qnn on this CPU.

First the file is opened without a fallback to the CPU. If that fails, it is opened with one, to see
which nodes are left to the CPU. The backend's log has the reasons, and is used for them only.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import call_compiler, check_report, placements, refusals
from edgenext.formats.qnn.log import Reason, reasons
from edgenext.formats.qnn.socs import DEFAULT_SOC, SOCS, require_soc

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

PACKAGE = "onnxruntime-qnn"

NO_REASON = "the backend gives no reason"


def check(artifact: Artifact, soc: str = "") -> CheckReport:
    """On which unit of an SoC each operator runs.

    Args:
        artifact: ONNX, or compiled for an SoC.
        soc: a row of `socs.toml`; if empty, the one the file was compiled for, else SM8650.

    Raises:
        UsageError: unknown SoC.
        MissingDependencyError: onnxruntime-qnn is not installed.
        RuntimeFailedError: it crashed.
    """
    require_soc(soc)
    outcome = call_compiler(
        "qnn.check:place", artifact, "onnxruntime_qnn", "Qualcomm's backend", soc=soc.upper()
    )
    result = outcome.result
    name = result["soc"]
    refused, following = _refused_nodes(result["left"], reasons(outcome.output))
    errors, notes = list(result["errors"]), [f"asked for {name}, {SOCS[name].about}"]
    if result["compiled_for"] not in ("", name):
        errors.append(f"compiled for {result['compiled_for']}, not for {name}")
    delegated = not errors and not result["left"]
    if delegated:
        notes.append("proven with the fallback to the CPU disabled")
    return check_report(
        artifact,
        "htp",
        unit="npu",
        compiler=PACKAGE,
        version=version(PACKAGE),
        accepted=not errors,
        delegated=delegated,
        placements=placements({"npu": result["npu"], "cpu": result["cpu"]}),
        refusals=(*refusals(refused), *refusals(following)),
        errors=tuple(errors),
        partitions=result["partitions"],
        seconds=round(outcome.seconds, 1),
        notes=tuple(notes),
    )


Nodes = list[tuple[str, str, str]]
"""Type, name and reason of each node."""


def _refused_nodes(nodes: list[tuple[str, str]], reasons: dict[str, Reason]) -> tuple[Nodes, Nodes]:
    """Nodes on the CPU: those the backend refuses, and the Q/DQ that follow one of them."""
    refused, following = Nodes(), Nodes()
    for operator, name in nodes:
        reason = reasons.get(name)
        if reason is None or reason.unit == operator:
            refused.append((operator, name, reason.text if reason else NO_REASON))
        else:
            following.append((operator, name, f"it goes with its {reason.unit}"))
    return refused, following


def place(job: dict[str, Any]) -> dict[str, Any]:
    """Open a file without a fallback to the CPU; if that fails, with one.

    Args:
        job: `path` of an ONNX file; `soc`, which may be empty.

    Returns:
        `npu` and `cpu` operators by type, those `left` to the CPU as type and name, `partitions` on
        the NPU, the backend's `errors`, the `soc`, and the one the file was `compiled_for`.
    """
    from pathlib import Path

    from edgenext.errors import RuntimeFailedError
    from edgenext.formats.qnn.session import compiled_for, error_message, npu_session

    result: dict[str, Any] = {"npu": {}, "cpu": {}, "left": [], "partitions": None, "errors": []}
    try:
        result["compiled_for"] = compiled_for(Path(job["path"]))
    except RuntimeFailedError as e:
        return result | {"soc": job["soc"] or DEFAULT_SOC, "compiled_for": "", "errors": [str(e)]}
    result["soc"] = job["soc"] or result["compiled_for"] or DEFAULT_SOC
    try:
        return result | _assignment(npu_session(job["path"], result["soc"]))
    except Exception as e:  # noqa: BLE001 - onnxruntime's exceptions share no public base class
        refusal = error_message(e)
    try:
        session = npu_session(job["path"], result["soc"], fallback=True, severity=0)
    except Exception as e:  # noqa: BLE001
        return result | {"errors": list(dict.fromkeys((refusal, error_message(e))))}
    return result | _assignment(session)


def _assignment(session: Any) -> dict[str, Any]:
    """Which nodes of a session run on the NPU, and which on the CPU."""
    from edgenext.formats.qnn.session import PROVIDER

    npu: Counter[str] = Counter()
    cpu_nodes, partitions = [], 0
    for part in session.get_provider_graph_assignment_info():
        nodes = [(node.op_type, node.name) for node in part.get_nodes()]
        if part.ep_name == PROVIDER:
            partitions += 1
            npu.update(operator for operator, _ in nodes)
        else:
            cpu_nodes += nodes
    cpu = Counter(operator for operator, _ in cpu_nodes)
    return {"npu": npu, "cpu": cpu, "left": cpu_nodes, "partitions": partitions}
