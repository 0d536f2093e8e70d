"""What vendors' compilers and simulators say of our files, without their hardware."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import safetensors.torch

from edgenext import api
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

MODEL, SMALL = "edgenext_xx_small", "edgenext_small"
SCHEMES = ("w8a8-static", "w8a16-static")
ACCELERATORS = ("ethos-u55-256", "ethos-u65-512", "ethos-u85-512")
IMAGES, SIMULATED = 16, 500
"""Images that fidelity and accuracy are simulated on: one takes a part of a second at 64 px."""


def vendors(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Placement, fidelity and accuracy on Qualcomm's simulator; placement by NVIDIA and Arm."""
    return {
        "htp": [row for arch in _archs() for row in _htp(arch, data, folder)],
        "htp_accuracy": [_accuracy(scheme, data, weights, folder) for scheme in SCHEMES],
        "jetson": [_jetson(arch, scheme, data, folder) for arch in _archs() for scheme in TENSORRT],
        "ethos_u_accuracy": _ethos_accuracy(data, weights, folder),
        "ethos_u": [
            _ethos(arch, accelerator, data, folder)
            for arch in (MODEL, SMALL)
            for accelerator in ACCELERATORS
        ],
    }


TENSORRT = ("fp16", "w8a8-static")


def _archs() -> list[str]:
    from edgenext.models.zoo import arch_table

    return list(arch_table())


def _golden(arch: str, folder: Path) -> ModelOptions:
    """The weights of the tests, at 64 px."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from golden import weights as golden

    file = folder / f"{arch}-golden.safetensors"
    if not file.is_file():
        safetensors.torch.save_file(golden.state(arch), file)
    return ModelOptions(file, size=64)


def _train(data: Path) -> str:
    return str(data / "tiny-imagenet-train.zip")


def _val(data: Path) -> str:
    return str(data / "tiny-imagenet-val.zip")


def _placed(path: Path, target: str, **options: str) -> dict[str, Any]:
    found = api.check(path, target, **options)
    return {
        "compiler": f"{found.compiler} {found.version}",
        "evidence": found.evidence,
        "accepted": found.accepted,
        "delegated": found.delegated,
        "operators": {p.unit: p.total for p in found.placements},
        "errors": list(found.errors),
    }


def _htp(arch: str, data: Path, folder: Path) -> list[dict[str, Any]]:
    import numpy as np

    from edgenext.data import load_images
    from edgenext.formats.artifact import open_artifact
    from edgenext.formats.qnn import session as htp
    from edgenext.formats.runtimes import open_session
    from edgenext.metrics.accuracy import evaluate
    from edgenext.metrics.fidelity import fidelity

    options = _golden(arch, folder)
    base = open_artifact(api.export(arch, options, ExportOptions(form="naive"), out=folder).path)
    images = load_images(_val(data), base.manifest.eval, role="val", num_classes=200, limit=IMAGES)
    expected = evaluate(open_session(base, 2), images)
    rows = []
    for scheme in SCHEMES:
        how = QuantizeOptions(scheme, "htp", calib=_train(data))
        made = api.quantize(arch, how, options, out=folder)
        near = fidelity(np.asarray(expected), evaluate(htp.open_artifact(made, 1), images))
        row = {"arch": arch, "scheme": scheme, "soc": "SM8650", "n": IMAGES}
        rows.append(row | _placed(made.path, "htp") | {"simulator": vars(near)})
    return rows


def _accuracy(scheme: str, data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    options = ModelOptions(weights)
    base = api.export(MODEL, options, out=folder)
    how = QuantizeOptions(scheme, "htp", calib=_train(data))
    made = api.quantize(MODEL, how, options, out=folder)
    found = api.compare(str(base.path), [str(made.path)], _val(data), limit=SIMULATED, target="htp")
    return {"scheme": scheme, "n": found.n, **found.others[0].model_dump(mode="json")}


def _jetson(arch: str, scheme: str, data: Path, folder: Path) -> dict[str, Any]:
    options = _golden(arch, folder)
    how = QuantizeOptions(scheme, "jetson", calib=_train(data) if scheme != "fp16" else "", n=16)
    kind = ExportOptions(format="tensorrt")
    made = api.quantize(arch, how, options, kind, out=folder)
    return {"arch": arch, "scheme": scheme, **_placed(made.path, "jetson")}


def _ethos_accuracy(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    options = ModelOptions(weights)
    base = api.export(MODEL, options, out=folder)
    how = QuantizeOptions("w8a8-static", "ethos-u", calib=_train(data))
    made = api.quantize(MODEL, how, options, ExportOptions(format="tflite"), out=folder)
    found = api.compare(str(base.path), [str(made.path)], _val(data))
    return {"n": found.n, "base": found.base.top1, **found.others[0].model_dump(mode="json")}


def _ethos(arch: str, accelerator: str, data: Path, folder: Path) -> dict[str, Any]:
    options = ModelOptions(random_weights=True, size=256)
    how = QuantizeOptions("w8a8-static", "ethos-u", calib=_train(data), n=8)
    into = folder / "ethos"
    done = sorted(into.glob(f"{arch}-*.tflite"))
    path = (
        done[0]
        if done
        else api.quantize(arch, how, options, ExportOptions(format="tflite"), out=into).path
    )
    found = api.check(path, "ethos-u", config=accelerator)
    row = _placed(path, "ethos-u", config=accelerator)
    return {"arch": arch, "accelerator": accelerator, **row, "estimate": found.estimates}
