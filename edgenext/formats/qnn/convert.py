"""ONNX deployment graph → a context of Qualcomm's HTP backend, compiled for one SoC.

The result is an ONNX file with a single operator that holds the compiled graph: onnxruntime on the
device loads it without compiling.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgenext.errors import EdgenextError, RefusedError
from edgenext.formats.qnn.session import CONTEXT, SOC_KEY, error_message, npu_session
from edgenext.system.temporary import scratch_folder


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Write an .onnx file with the compiled graph inside.

    Args:
        job: `graph` and `out` are paths, `soc` a row of `socs.toml`.

    Raises:
        UsageError: unknown SoC.
        RefusedError: the NPU does not take the whole graph.
    """
    import onnx

    source = onnx.load(job["graph"])
    del source.metadata_props[:]  # it would be copied into the file
    with scratch_folder() as folder:
        compiled = folder / "context.onnx"
        settings = {
            "ep.context_enable": "1",
            "ep.context_embed_mode": "1",
            "ep.context_file_path": str(compiled),
        }
        try:
            # not by its path: the context would be named after it
            npu_session(source.SerializeToString(), job["soc"], severity=3, settings=settings)
        except EdgenextError:
            raise
        except Exception as e:
            raise RefusedError(
                f"the NPU of {job['soc']} does not take the graph: {error_message(e)}",
                "`edgenext check --target htp` on the ONNX file names the operators",
            ) from e
        model = onnx.load(compiled)
    model.metadata_props.add(key=SOC_KEY, value=job["soc"])
    Path(job["out"]).write_bytes(model.SerializeToString(deterministic=True))
    outside = [node.op_type for node in model.graph.node if node.op_type != CONTEXT]
    notes = [f"compiled for {job['soc']}"]
    if outside:
        notes.append(f"left to the CPU: {', '.join(sorted(set(outside)))}")
    return {"tool": f"onnxruntime-qnn {version('onnxruntime-qnn')}", "notes": notes}
