"""Packages: read, run, traced, and refused if they are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenext.errors import ArtifactError, EdgenextError, RuntimeFailedError
from edgenext.formats.coreml import program as mil_program
from edgenext.formats.coreml import session as coreml
from edgenext.formats.coreml.session import MilProgram

with mil_program.warnings_hidden():
    ct = pytest.importorskip("coremltools", reason="coremltools is not installed")
    coreml.preload()
    from coremltools.converters.mil import Builder as mb  # noqa: N813 # as coremltools has it
from mil_packages import IGNORED_WARNINGS, X, package

pytestmark = IGNORED_WARNINGS


def test_an_unsupported_operator(tmp_path: Path) -> None:
    path = package(tmp_path, lambda x: mb.cumsum(x=x, axis=1, name="running"), X)
    with pytest.raises(
        RuntimeFailedError, match=r"it\.mlpackage: unsupported operator 'cumsum'.*'running'"
    ):
        MilProgram(path)


def test_an_unsupported_parameter(tmp_path: Path) -> None:
    path = package(
        tmp_path,
        lambda x: mb.avg_pool(
            x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="valid", ceil_mode=True, name="few"
        ),
        X[:, :, :, :4],
    )
    with pytest.raises(RuntimeFailedError, match=r"compute 'few', a avg_pool: ceil_mode"):
        MilProgram(path).run({"x": X[:, :, :, :4]})


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    program = MilProgram(package(tmp_path, lambda x: mb.relu(x=x), X))
    with pytest.raises(RuntimeFailedError, match="no input 'x'"):
        program.run({"image": X})
    with pytest.raises(RuntimeFailedError, match=r"'x' is \(1, 3, 4, 5\), the program takes \(2"):
        program.run({"x": X[:1]})


def test_a_trace_has_every_variable_and_a_run_the_outputs(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        y = mb.relu(x=x, name="first")
        return mb.square(x=mb.exp(x=y, name="second"), name="third")

    program = MilProgram(package(tmp_path, build, X))
    assert list(program.run({"x": X})) == ["third"]
    assert list(program.run({"x": X}, also=("first",))) == ["third", "first"]
    values = program.run({"x": X}, trace=True)
    assert list(values) == ["x", "first", "second", "third"]
    assert program.operators() == {"relu": 1, "exp": 1, "square": 1}
    np.testing.assert_allclose(values["second"], np.exp(X.clip(0)), 1e-6)


WEIGHTS = Path("Data", "com.apple.CoreML", "weights", "weight.bin")


MODEL = Path("Data", "com.apple.CoreML", "model.mlmodel")


def copy(package: Path, folder: Path) -> Path:
    path = folder / package.name
    for source in package.rglob("*"):
        if source.is_file():
            to = path / source.relative_to(package)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(source.read_bytes())
    return path


@pytest.mark.parametrize(
    ("file", "keep", "says"),
    [
        (Path("Manifest.json"), None, "is not a Core ML package: .*No such file"),
        (Path("Manifest.json"), 40, r"is not a Core ML package: .*Manifest\.json is not JSON"),
        (
            MODEL,
            None,
            r"is not a Core ML package: Data/com\.apple\.CoreML/model\.mlmodel is missing",
        ),
        (MODEL, 1000, "cannot be read: .*"),
        (MODEL, 0, "is a model of no kind, not an ML program"),
        (WEIGHTS, None, r"cannot be read: Could not open .*weight\.bin"),
        (WEIGHTS, 0, r"cannot be read: .*weight\.bin"),
        (WEIGHTS, 100, "cannot be read: index out of bounds"),
        (WEIGHTS, 5000, "cannot be read: index out of bounds"),
    ],
)
def test_incomplete_packages(
    tmp_path: Path, weighted_package: Path, file: Path, keep: int | None, says: str
) -> None:
    path = copy(weighted_package, tmp_path)
    if keep is None:
        (path / file).unlink()
    else:
        (path / file).write_bytes((path / file).read_bytes()[:keep])
    with pytest.raises(EdgenextError, match=f"{path.name} {says}") as caught:
        MilProgram(path)
    assert caught.type is ArtifactError
    assert "\n" not in str(caught.value)


def test_paths_that_are_not_ml_programs(tmp_path: Path, weighted_package: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not a Core ML package: .*No such file"):
        MilProgram(tmp_path / "absent.mlpackage")
    (tmp_path / "file.mlpackage").write_bytes(b"\x08\x09 not a folder")
    with pytest.raises(ArtifactError, match=r"is not a Core ML package: .*Not a directory"):
        MilProgram(tmp_path / "file.mlpackage")
    foreign = copy(weighted_package, tmp_path)
    spec = ct.proto.Model_pb2.Model(specificationVersion=4)
    spec.neuralNetwork.layers.add(name="a layer")
    (foreign / MODEL).write_bytes(spec.SerializeToString())
    with pytest.raises(ArtifactError, match="is a neuralNetwork, not an ML program"):
        MilProgram(foreign)
