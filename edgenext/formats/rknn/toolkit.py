"""Rockchip's toolkit, in its private environment: quantize a graph, build it, run the simulator.

Everything is read from and written to the working folder under fixed names.
"""

from __future__ import annotations

import json
import pickle
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edgenext.errors import RefusedError
from edgenext.formats.rknn.layers import reason
from edgenext.system.native_output import native_output_in

GRAPH = "graph.onnx"
MODEL = "graph.model"
"""The graph as the toolkit has optimised it, a protobuf."""
TABLE = "graph.json"
"""The toolkit's table of ranges and its settings, which it keeps in a pickle."""
RANGES = "graph.quantization.cfg"
"""The ranges again, where a user can change them: YAML, of which JSON is a part."""
PICKLE = "graph.data"
BUILT = "built.rknn"
LOG = "build.log"


def quantize(samples: Iterable[str], platform: str) -> None:
    """Write the quantized form of `GRAPH`: `MODEL`, `TABLE` and `RANGES`.

    Args:
        samples: .npy files in the working folder, each an input of the graph.
        platform: a row of `platforms.toml`.

    Raises:
        RefusedError: the toolkit does not take the graph.
    """
    from ruamel.yaml import YAML

    Path("samples.txt").write_text("".join(f"{name}\n" for name in samples))
    with Path(LOG).open("wb") as log, native_output_in(log):
        rknn = _toolkit(platform)
        failed = rknn.load_onnx(model=GRAPH) or rknn.hybrid_quantization_step1(
            dataset="samples.txt", proposal=False
        )
        rknn.release()
    if failed:
        raise _refused(platform)
    # the toolkit has just written this pickle; nobody else's is ever read
    table = pickle.loads(Path(PICKLE).read_bytes())  # noqa: S301
    table["args"] = vars(table["args"])
    Path(TABLE).write_text(json.dumps(table))
    ranges = YAML(typ="safe").load(Path(RANGES).read_text())
    Path(RANGES).write_text(json.dumps(ranges))


def build(platform: str) -> Any:
    """The toolkit with the graph compiled, which is written to `BUILT`; its log is in `LOG`.

    Args:
        platform: a row of `platforms.toml`.

    Raises:
        RefusedError: the toolkit does not take the graph.
    """
    with Path(LOG).open("wb") as log, native_output_in(log):
        rknn = _toolkit(platform)
        if Path(MODEL).is_file():
            table = json.loads(Path(TABLE).read_text())
            table["args"] = Namespace(**table["args"])
            Path(PICKLE).write_bytes(pickle.dumps(table))
            failed = rknn.hybrid_quantization_step2(
                model_input=MODEL, data_input=PICKLE, model_quantization_cfg=RANGES
            )
        else:
            failed = rknn.load_onnx(model=GRAPH) or rknn.build(do_quantization=False)
        failed = failed or rknn.export_rknn(BUILT)
    if failed:
        raise _refused(platform)
    return rknn


def _toolkit(platform: str) -> Any:
    from rknn.api import RKNN

    rknn = RKNN(verbose=True)
    rknn.config(target_platform=platform)
    return rknn


def _refused(platform: str) -> RefusedError:
    log = Path(LOG).read_text(errors="replace")
    text = reason(log) or "it gives no reason"
    return RefusedError(f"rknn-toolkit2 does not take the graph for {platform}: {text}")
