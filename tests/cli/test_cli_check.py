"""`check`: what is printed, and the exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from cli_calls import FP32, INT8, Cli
from vendored import artifact_of, nvidia, qualcomm

from edgenext.schema import CheckReport, RangeReport

Copy = Callable[..., list[Path]]


def test_a_file_that_is_taken_whole(cli: Cli, artifacts: Copy) -> None:
    (path,) = artifacts(INT8)
    done = cli.ok("check", path)
    assert done.err == ""
    first, second, placed, note = done.out.splitlines()
    assert first == f"{path.stem} for cpu-onnxruntime: accepted, all of it on cpu"
    assert second.startswith("onnxruntime ") and "(host)" in second
    assert placed.startswith("  cpu  ") and "48 QLinearConv" in placed
    assert note.startswith("note: ")


def test_json_is_a_report(cli: Cli, artifacts: Copy) -> None:
    (path,) = artifacts(FP32)
    report = CheckReport.model_validate(cli.ok("check", path, "--json").json)
    assert report.artifact == path.stem and report.accepted


def test_ranges(cli: Cli, artifacts: Copy) -> None:
    for path in artifacts(FP32, INT8):
        done = cli.ok("check", path, "--range", "--calib", "digits", "-n", "2", "--json")
        report = RangeReport.model_validate(done.json)
        assert report.proven and report.n == 2 and not report.unknown
        assert [r.share for r in report.rows] == sorted(
            (r.share for r in report.rows), reverse=True
        )
        measured = [r for r in report.rows if r.measured is not None]
        assert len(measured) > 150 and all(r.measured <= r.bound for r in measured)
        kinds = {(r.kind, r.type) for r in report.rows}
        assert (("accumulator", "int32") in kinds) == (path.name == INT8)


def test_ranges_without_a_proof_end_with_11(cli: Cli, artifacts: Copy) -> None:
    (path,) = artifacts(FP32)
    done = cli.run("check", path, "--range", "--target", "jetson")
    assert done.code == 11 and done.err == ""
    assert "floats in float16: NOT proven for" in done.out and "xca/Div" in done.out
    assert "Add --range" in cli.fails(2, "check", path, "--calib", "digits")
    assert "asks no compiler" in cli.fails(2, "check", path, "--range", "--soc", "SM8650")
    path.write_bytes(b"\x08\x08" + path.read_bytes()[:4000])
    cli.fails(3, "check", path, "--range")


@qualcomm
def test_what_is_not_taken_ends_with_11(cli: Cli, artifacts: Copy) -> None:
    (path,) = artifacts(FP32)
    done = cli.run("check", path, "--target", "htp", "--soc", "SM8350")
    assert done.code == 11 and done.err == ""
    assert "for htp: NOT accepted" in done.out
    assert "error: Failed to finalize QNN graph" in done.out
    done = cli.run("check", path, "--target", "htp", "--soc", "SM8350", "--json")
    assert done.code == 11 and done.json["accepted"] is False


@nvidia
def test_hostile_names_cannot_move_the_cursor(cli: Cli, artifacts: Copy) -> None:
    (path,) = artifacts(FP32)
    model = onnx.load(path)
    gelu = next(n for n in model.graph.node if n.op_type == "Gelu")
    gelu.name, gelu.op_type = "[bold]a\nerror: b\x1b[2J", "Bernoulli"
    artifact_of(model, Path("bad.onnx"))
    done = cli.run("check", "bad.onnx", "--target", "jetson")
    assert done.code == 11
    (line,) = (x for x in done.out.splitlines() if x.startswith("not on gpu: "))
    assert line == "not on gpu: 1 Bernoulli: unsupported node ([bold]a error: b [2J)"
    assert "\x1b" not in done.out and not any(x == "error: b" for x in done.out.splitlines())


@nvidia
def test_many_of_a_kind_are_told_once(cli: Cli, artifacts: Copy) -> None:
    (path,) = artifacts(FP32)
    model = onnx.load(path)
    gelus = [node for node in model.graph.node if node.op_type == "Gelu"]
    for node in gelus:
        node.op_type = "Bernoulli"
    artifact_of(model, Path("bad.onnx"))
    done = cli.run("check", "bad.onnx", "--target", "jetson")
    (line,) = (x for x in done.out.splitlines() if x.startswith("not on gpu: "))
    names = ", ".join(node.name for node in gelus[:3])
    assert line == f"not on gpu: 12 Bernoulli: unsupported node ({names} and 9 more)"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--target", "coreml"), 3, "coreml takes coreml"),
        (("--target", "hpt"), 2, "Did you mean htp"),
        (("--target", "htp", "--soc", "SM865"), 2, "Did you mean SM8650"),
        (("--soc", "SM8650"), 2, "cpu-onnxruntime has no option soc"),
        (("--target", "jetson", "--jetpack", "7"), 2, "unknown JetPack generation '7'"),
    ],
)
def test_what_cannot_be_asked(
    cli: Cli, artifacts: Copy, args: tuple[str, ...], code: int, said: str
) -> None:
    (path,) = artifacts(FP32)
    assert said in cli.fails(code, "check", path, *args)


def test_a_file_that_is_not_there(cli: Cli) -> None:
    assert "no artifact at nothing.onnx" in cli.fails(3, "check", "nothing.onnx")


def test_a_target_for_a_format_that_has_no_runtime_here(cli: Cli, artifacts: Copy) -> None:
    (path,) = artifacts(FP32)
    said = cli.fails(3, "eval", path, "--target", "jetson", "--data", "digits", "--limit", "20")
    assert "no runtime on this machine runs" in said and "as jetson does" in said
