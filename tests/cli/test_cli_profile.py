"""`edgenext profile`: the time of every operator of an ONNX file, and of its sites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_calls import FP32, INT8, Cli

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
    assert "no manifest" in cli.fails(3, "profile", "truncated.onnx")
    openvino = ("export", "edgenext_xx_small", "--random-weights", "--num-classes", "10")
    pytest.importorskip("openvino", reason="openvino is not installed")
    made = cli.ok(*openvino, "--size", "32", "--format", "openvino", "--json").json
    assert "profiles are made of ONNX files" in cli.fails(2, "profile", made["artifact"])
