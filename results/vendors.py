"""Reports of vendors' compilers and simulators on this package's files, without hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inputs import MODEL, SIZE, SMALL, golden_model, train_images, val_images

from edgenext import api
from edgenext.options import DataOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import CheckReport

HTP_SCHEMES = ("w8a8-static", "w8a16-static")
TENSORRT_SCHEMES = ("fp16", "w8a8-static")
ACCELERATORS = ("ethos-u55-256", "ethos-u65-512", "ethos-u85-512")
IMAGES, SIMULATED = 16, 500
"""Images for simulated fidelity and accuracy: each takes a fraction of a second at 64 px."""


def vendors(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    """Placement, fidelity and accuracy on Qualcomm's simulator; placement by NVIDIA and Arm."""
    return {
        "htp": [row for arch in _archs() for row in _htp(arch, data, folder)],
        "htp_accuracy": [_htp_accuracy(scheme, data, weights, folder) for scheme in HTP_SCHEMES],
        "jetson": [
            _jetson(arch, scheme, data, folder) for arch in _archs() for scheme in TENSORRT_SCHEMES
        ],
        "ethos_u_accuracy": _ethos_accuracy(data, weights, folder),
        "ethos_u": [
            _ethos(arch, accelerator, data, folder)
            for arch in (MODEL, SMALL)
            for accelerator in ACCELERATORS
        ],
    }


def _archs() -> list[str]:
    from edgenext.models.zoo import arch_table

    return list(arch_table())


def _placement(report: CheckReport) -> dict[str, Any]:
    return {
        "compiler": f"{report.compiler} {report.version}",
        "evidence": report.evidence,
        "accepted": report.accepted,
        "delegated": report.delegated,
        "operators": {p.unit: p.total for p in report.placements},
        "errors": list(report.errors),
    }


def _htp(arch: str, data: Path, folder: Path) -> list[dict[str, Any]]:
    from edgenext.commands.evaluate import logits_of
    from edgenext.data import load_images
    from edgenext.formats.runtimes import open_session
    from edgenext.metrics.fidelity import fidelity

    options = golden_model(arch, folder)
    base = api.export(arch, options, ExportOptions(form="naive"), out=folder)
    transform = base.manifest.eval
    images = load_images(val_images(data), transform, role="val", num_classes=200, limit=IMAGES)
    expected = logits_of(open_session(base, 2), images)
    rows = []
    for scheme in HTP_SCHEMES:
        quantize_options = QuantizeOptions(scheme, "htp", calib=train_images(data))
        artifact = api.quantize(arch, quantize_options, options, out=folder)
        simulated = logits_of(open_session(artifact, 1, target="htp"), images)
        row = {"arch": arch, "scheme": scheme, "soc": "SM8650", "n": IMAGES}
        row |= _placement(api.check(artifact.path, target="htp"))
        rows.append(row | {"simulator": vars(fidelity(expected, simulated))})
    return rows


def _htp_accuracy(scheme: str, data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    options = ModelOptions(weights)
    base = api.export(MODEL, options, out=folder)
    quantize_options = QuantizeOptions(scheme, "htp", calib=train_images(data))
    artifact = api.quantize(MODEL, quantize_options, options, out=folder)
    images = DataOptions(val_images(data), SIMULATED)
    report = api.compare(str(base.path), [str(artifact.path)], images, target="htp")
    return {"scheme": scheme, "n": report.n, **report.others[0].model_dump(mode="json")}


def _jetson(arch: str, scheme: str, data: Path, folder: Path) -> dict[str, Any]:
    calib = train_images(data) if scheme != "fp16" else ""
    artifact = api.quantize(
        arch,
        QuantizeOptions(scheme, "jetson", calib=calib, n=16),
        golden_model(arch, folder),
        ExportOptions(format="tensorrt"),
        out=folder,
    )
    placement = _placement(api.check(artifact.path, target="jetson"))
    return {"arch": arch, "scheme": scheme, **placement}


def _ethos_accuracy(data: Path, weights: Path, folder: Path) -> dict[str, Any]:
    options = ModelOptions(weights)
    base = api.export(MODEL, options, out=folder)
    quantize_options = QuantizeOptions("w8a8-static", "ethos-u", calib=train_images(data))
    tflite = ExportOptions(format="tflite")
    artifact = api.quantize(MODEL, quantize_options, options, tflite, out=folder)
    report = api.compare(str(base.path), [str(artifact.path)], val_images(data))
    return {"n": report.n, "base": report.base.top1, **report.others[0].model_dump(mode="json")}


def _ethos(arch: str, accelerator: str, data: Path, folder: Path) -> dict[str, Any]:
    out = folder / "ethos"
    existing = sorted(out.glob(f"{arch}-*.tflite"))
    path = existing[0] if existing else _ethos_file(arch, data, out)
    report = api.check(path, "ethos-u", config=accelerator)
    placement = _placement(report)
    return {
        "arch": arch,
        "accelerator": accelerator,
        **placement,
        "estimate": report.estimates,
    }


def _ethos_file(arch: str, data: Path, out: Path) -> Path:
    return api.quantize(
        arch,
        QuantizeOptions("w8a8-static", "ethos-u", calib=train_images(data), n=8),
        ModelOptions(random_weights=True, size=SIZE),
        ExportOptions(format="tflite"),
        out=out,
    ).path
