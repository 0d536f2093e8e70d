"""`edgenext profile`: the time of every operator of a file, and of its sites."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import FP32, INT8, MODEL, Cli

from edgenext import api

Artifacts = Callable[..., list[Path]]


def test_operators_sites_and_multiply_adds(cli: Cli, artifacts: Artifacts) -> None:
    files = artifacts(FP32, INT8)
    reports = [cli.ok("profile", path, "-n", "5", "--json").json for path in files]
    (card,) = (c for c in api.models() if c.name == "edgenext_xx_small")
    for report in reports:
        rows = report["rows"]
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        assert sum(row["ms"] for row in rows) == pytest.approx(report["total_ms"])
        assert [row["ms"] for row in rows] == sorted((row["ms"] for row in rows), reverse=True)
        # 64 times fewer pixels than at 256 px, and a head of 10 classes
        macs = sum(row["macs"] or 0 for row in rows)
        assert macs == pytest.approx(card.macs_256 / 64, rel=0.03)
        assert min(report["peaks"].values()) > 1e9
        assert all(row["of_peak"] < 1.2 for row in rows if row["of_peak"] is not None)
        assert {"stages.1.1.xca", "stages.3.1.pwconv2", "head"} <= {row["site"] for row in rows}
    of_head = [row for report in reports for row in report["rows"] if row["site"] == "head"]
    assert {row["operator"] for row in of_head if row["macs"]} == {"Gemm", "QGemm"}


def test_a_table_and_a_plot(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(INT8)
    done = cli.ok("profile", path, "-n", "2", "--top", "3", "--plot", "where.svg")
    head, columns, *rows = done.out.splitlines()
    assert head.startswith(f"{path.stem} on ") and "10⁹ multiply-adds a second: float32" in head
    assert columns.split()[:3] == ["operator", "site", "ms"]
    assert "more operators: --top" in rows[3]
    assert any(line.startswith("QLinearConv") for line in rows[5:])
    picture = Path("where.svg").read_text()
    assert "<!-- stages." in picture and "<!-- QLinearConv -->" in picture


def test_what_cannot_be_profiled(cli: Cli, artifacts: Artifacts) -> None:
    (path,) = artifacts(FP32)
    assert "-n must be at least 1" in cli.fails(2, "profile", path, "-n", "0")
    assert "--threads must be at least 1" in cli.fails(2, "profile", path, "--threads", "0")
    assert "is not a .png or .svg file" in cli.fails(2, "profile", path, "--plot", "a.pdf")
    Path("truncated.onnx").write_bytes(path.read_bytes()[:1000])
    assert "is not an ONNX file" in cli.fails(3, "profile", "truncated.onnx")
    manifest = json.loads(Path(f"{path}.json").read_text()) | {"format": "tflite"}
    Path("network.tflite").write_bytes(path.read_bytes())
    Path("network.tflite.json").write_text(json.dumps(manifest | {"file": "network.tflite"}))
    error = cli.fails(2, "profile", "network.tflite")
    assert "is a TFLite file, whose runtime here does not say how long an operator takes" in error
    assert "Profile the ONNX or OpenVINO file of the same network" in error


@pytest.mark.parametrize(
    "scheme", ["fp32", pytest.param("w8a8-static", marks=pytest.mark.campaign)]
)
def test_openvino_times_its_operators_too(cli: Cli, scheme: str) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    calib = () if scheme == "fp32" else ("--calib", "digits", "-n", "16")
    form = ("--format", "openvino", "--scheme", scheme, *calib)
    made = cli.ok("export", *MODEL, *form, "--json").json
    report = cli.ok("profile", made["artifact"], "-n", "3", "--json").json
    rows = report["rows"]
    assert report["runtime"] == "openvino" and report["p50_ms"] > 0
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert sum(row["ms"] for row in rows) == pytest.approx(report["total_ms"])
    (card,) = (c for c in api.models() if c.name == "edgenext_xx_small")
    macs = sum(row["macs"] or 0 for row in rows)
    assert macs == pytest.approx(card.macs_256 / 64, rel=0.03)
    assert {"stages.1.1.xca", "stages.3.1.pwconv2", "head"} <= {row["site"] for row in rows}
    assert report["peaks"].keys() == {"float32"} | ({"int8"} if calib else set())
    shares = [row["of_peak"] for row in rows if row["of_peak"] is not None]
    assert len(shares) > 40 and min(shares) > 0
