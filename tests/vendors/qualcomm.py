"""Qualcomm's HTP backend on this CPU: onnxruntime-qnn's simulator of the NPU."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PACKAGE = "onnxruntime-qnn"
PROVIDER = "QNNExecutionProvider"
V68 = {"htp_arch": "68", "soc_model": "30"}
"""Snapdragon 888: whole numbers only, so it refuses what is float."""
V75 = {"htp_arch": "75", "soc_model": "57"}
"""Snapdragon 8 Gen 3: it takes what is float, too, and computes it in 16 bits."""


def available() -> bool:
    """Whether Qualcomm's package is installed."""
    return find_spec("onnxruntime_qnn") is not None


needed = pytest.mark.skipif(not available(), reason=f"{PACKAGE} is not installed")
"""Mark of the tests that open an `HtpSession`."""


@cache
def _devices() -> list[Any]:
    """The simulator, registered with onnxruntime: a process can do so only once."""
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    ort.register_execution_provider_library(PROVIDER, qnn.get_library_path())
    return [d for d in ort.get_ep_devices() if d.ep_name == PROVIDER]


class RefusedError(Exception):
    """The backend does not take a file; what it says is the message."""


def _open(path: Path, device: dict[str, str], *, fallback: bool) -> Any:
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    options = ort.SessionOptions()
    options.log_severity_level = 4  # what matters comes as an exception
    options.add_session_config_entry("session.disable_cpu_ep_fallback", str(int(not fallback)))
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    backend = {"backend_path": qnn.get_qnn_htp_path(), **device}
    options.add_provider_for_devices(_devices(), backend)
    try:
        return ort.InferenceSession(str(path), options)
    except Exception as e:
        raise RefusedError(str(e)) from e


def _assigned(session: Any) -> dict[str, Counter[str]]:
    """Operators by the provider that runs them."""
    found: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, Counter()).update(n.op_type for n in part.get_nodes())
    return found


def left_over(path: Path, device: dict[str, str] = V75) -> Counter[str]:
    """Operators that the backend leaves to the CPU where it may."""
    return _assigned(_open(path, device, fallback=True)).get("CPUExecutionProvider", Counter())


class HtpSession:
    """A file on the simulated HTP, every node of it: there is no fallback to the CPU.

    Raises:
        RefusedError: a node cannot run there, or the graph cannot be finalised.
    """

    def __init__(self, path: Path, device: dict[str, str] = V75) -> None:
        self._session = _open(path, device, fallback=False)
        self._input = self._session.get_inputs()[0].name

    @property
    def nodes(self) -> dict[str, int]:
        """How many nodes run on each provider."""
        return {name: operators.total() for name, operators in _assigned(self._session).items()}

    def run(self, images: NDArray[np.generic]) -> NDArray[np.float32]:
        """The first output for each of a file's inputs, one at a time."""
        rows = [self._session.run(None, {self._input: x[None]})[0] for x in images]
        return np.concatenate(rows)
