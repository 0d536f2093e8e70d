"""Olive's pass `OnnxStaticQuantization` on the plain ONNX export."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from olive.data.registry import Registry
from olive.workflows import run

DATA = "calibration_images"


class Images:
    """Calibration images with the labels that Olive expects and does not read."""

    def __init__(self, path: str) -> None:
        self._images = np.load(path)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._images)

    def __getitem__(self, i: int) -> tuple[dict[str, Any], int]:
        """One image, 1×3×H×W: Olive adds no axis."""
        return {"input": self._images[i][None]}, 0


@Registry.register_dataset(DATA)
def images(path: str, **_: Any) -> Images:
    """The data set that the configuration names."""
    return Images(path)


def quantize(job: dict[str, Any]) -> str:
    """With the pass's own defaults."""
    out = Path(job["out"])
    folder = out.with_suffix(".olive")
    workflow = {
        "input_model": {"type": "ONNXModel", "model_path": job["graph"]},
        "systems": {
            "cpu": {
                "type": "LocalSystem",
                "accelerators": [
                    {"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}
                ],
            }
        },
        "data_configs": [
            {
                "name": DATA,
                "type": "DummyDataContainer",
                "load_dataset_config": {"type": DATA, "params": {"path": job["samples"]}},
                "dataloader_config": {"batch_size": 1},
            }
        ],
        "passes": {"quantize": {"type": "OnnxStaticQuantization", "data_config": DATA}},
        "host": "cpu",
        "target": "cpu",
        "no_artifacts": False,
        "output_dir": str(folder),
        "cache_dir": str(folder / "cache"),
    }
    run(workflow)
    (made,) = (path for path in folder.glob("*.onnx"))
    shutil.copy(made, out)
    return "olive run: OnnxStaticQuantization with its defaults"
