"""Adding a format, a target, a scheme or a command: done in a copy of the package.

Each is told to a newcomer in CONTRIBUTING.md; nothing but the files named there is touched.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from shutil import copytree, ignore_patterns
from textwrap import dedent
from typing import Any

import pytest

MODEL = ("edgenext_xx_small", "--random-weights", "--num-classes", "10", "--size", "32")
NAME = "edgenext_xx_small-32"
DIGITS = ("--data", "digits", "--limit", "8")


SHELL = """\
import contextlib, io, json, sys
from edgenext.cli import main
for line in sys.stdin:
    sys.argv, out, err = ["edgenext", *json.loads(line)], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as e:
            code = e.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]), file=sys.__stdout__, flush=True)
"""
"""A process that calls one command after the other: importing torch takes seconds."""


class Copy:
    """A copy of the package, and a folder to call its command line in."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "lib" / "edgenext"
        source = Path(str(resources.files("edgenext")))
        copytree(source, self.package, ignore=ignore_patterns("__pycache__"))
        self.folder = folder / "work"
        self.folder.mkdir()
        self._shell: subprocess.Popen[str] | None = None

    def write(self, name: str, text: str) -> None:
        """Add a file to the package."""
        path = self.package / name
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))

    def append(self, name: str, text: str) -> None:
        """Add lines to a file of the package."""
        path = self.package / name
        path.write_text(path.read_text() + dedent(text))

    def run(self, *args: object) -> tuple[int, str, str]:
        """A command's exit code, and what it writes on stdout and stderr."""
        if self._shell is None:
            self._shell = subprocess.Popen(
                [sys.executable, "-c", SHELL],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(self.package.parent), "COLUMNS": "200"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(json.dumps([str(arg) for arg in args]) + "\n")
        self._shell.stdin.flush()
        code, out, err = json.loads(self._shell.stdout.readline())
        return code, out, err

    def ok(self, *args: object) -> str:
        """What a command that succeeds prints."""
        code, out, err = self.run(*args)
        assert code == 0, err
        return out

    def json(self, *args: object) -> Any:
        """What a command prints with --json."""
        return json.loads(self.ok(*args, "--json"))

    def fails(self, *args: object) -> str:
        """What a command that is refused says."""
        code, _, err = self.run(*args)
        assert code == 2, err
        return err

    def close(self) -> None:
        """End the process."""
        if self._shell is not None:
            self._shell.communicate()


FILES = {
    "formats/toy/format.toml": """\
        title = "Toy"
        about = "the ONNX graph, gzipped"
        ending = ".toy"
        target = "cpu-onnxruntime"
        magic = [{ hex = "1f8b" }]

        [options.toy_level]
        default = "6"
        help = "how hard to compress, 1 to 9"

        [converter]

        [[runs]]
        format = "toy"
        target = "cpu-onnxruntime"

        [check]
        target = "cpu-onnxruntime"
        formats = ["toy"]
        make = "edgenext export --format toy"

        [check.options.toy_level]
        default = ""
        help = "the level to ask for"
        """,
    "formats/toy/convert.py": """\
        import gzip
        from pathlib import Path


        def convert(job):
            graph = Path(job["graph"]).read_bytes()
            Path(job["out"]).write_bytes(gzip.compress(graph, int(job["toy_level"]), mtime=0))
            return {"tool": "gzip", "notes": [f"level {job['toy_level']}"]}
        """,
    "formats/toy/session.py": """\
        import gzip
        from collections import Counter

        import onnx

        from edgenext.formats.onnx.session import OnnxSession, tensor_spec
        from edgenext.formats.session import Inspection


        def preload():
            return onnx


        class ToySession(OnnxSession):
            runtime = "toy"


        def inspect(path):
            graph = onnx.load_from_string(gzip.decompress(path.read_bytes())).graph
            operators = Counter(node.op_type for node in graph.node)
            outputs = tuple(map(tensor_spec, graph.output))
            return Inspection(tensor_spec(graph.input[0]), outputs, dict(operators))


        def open_session(artifact, threads):
            model = gzip.decompress(artifact.path.read_bytes())
            return ToySession(model, artifact.manifest, threads)
        """,
    "formats/toy/check.py": """\
        from edgenext.schema import CheckReport


        def check(artifact, toy_level="6"):
            manifest = artifact.manifest
            return CheckReport(
                artifact=artifact.name,
                sha256=manifest.sha256,
                format=manifest.format,
                scheme=manifest.scheme,
                target="cpu-onnxruntime",
                unit="cpu",
                compiler="toy",
                version=toy_level,
                evidence="host",
                accepted=True,
                delegated=True,
            )
        """,
    "targets/toaster/target.toml": """\
        about = "a toaster with onnxruntime"
        form = "convC"
        place = "a toaster"

        [refuses]
        fp16 = "it computes in float32"
        """,
    "commands/digest.py": '''\
        """The hash of an artifact."""

        from pathlib import Path


        def digest(artifact: Path) -> str:
            """The sha256 of an artifact."""
            from edgenext.formats.artifact import open_artifact

            return open_artifact(artifact).manifest.sha256
        ''',
    "cli/digest.py": '''\
        """The command `edgenext digest`."""

        from pathlib import Path

        from edgenext.cli import console
        from edgenext.cli.app import app


        @app.command()
        def digest(artifact: Path) -> None:
            """Print the hash of an artifact."""
            from edgenext import api

            console.out.print(api.digest(artifact))
        ''',
}
"""Files of the package that are new."""

LINES = {
    "targets/schemes.toml": """
        [w6a8-static]
        about = "6-bit levels of weights in bytes, 8-bit activations"
        method = "static"
        calibrated = true
        int8 = true
        sections = ["weights", "activations", "sites"]
        refused = "it has no use for 6 bits"
        least_db = 8
        why = "Weights in ±31 steps."
        """,
    "api.py": "from edgenext.commands.digest import digest as digest\n",
}
"""Lines that files of the package get at their end."""

RECIPES = {
    "targets/toaster/w8a8-static.toml": (r'target = ".*"', 'target = "toaster"'),
    "targets/cpu-onnxruntime/w6a8-static.toml": (
        r'(?s)scheme = ".*?"(.*?)limit = \d+',
        r'scheme = "w6a8-static"\1limit = 31',
    ),
}
"""Recipes that differ from that of the default target in one place."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """A copy with one more format, target, scheme and command."""
    copied = Copy(tmp_path_factory.mktemp("copy"))
    recipe = (copied.package / "targets/cpu-onnxruntime/w8a8-static.toml").read_text()
    for name, text in FILES.items():
        copied.write(name, text)
    for name, text in RECIPES.items():
        copied.write(name, re.sub(*text, recipe))
    for name, text in LINES.items():
        copied.append(name, text)
    yield copied
    copied.close()


def test_a_format_is_a_folder(copy: Copy) -> None:
    shown = copy.ok("export", "--help")
    assert "toy" in shown and "--toy-level" in shown and "Toy: how hard to compress" in shown
    assert "--toy-level" in copy.ok("check", "--help")

    copy.ok("export", *MODEL)
    made = copy.json("export", *MODEL, "--format", "toy", "--toy-level", "3")
    assert made["artifact"] == f"{NAME}-3-fp32.toy" and made["format"] == "toy"
    assert made["conversion"]["notes"] == ["level 3"]
    assert made["parity"]["sqnr_db"] > 100 and made["parity"]["stages"]["stage4"] > 100
    quantized = copy.json(
        "export",
        *MODEL,
        "--format",
        "toy",
        "--scheme",
        "w8a8-static",
        "--calib",
        "digits",
        "-n",
        16,
    )
    assert quantized["scheme"] == "w8a8-static" and quantized["size_bytes"] < made["size_bytes"] / 2

    (scored,) = copy.json("eval", made["artifact"], *DIGITS)["results"]
    assert scored["runtime"] == "toy" and scored["n"] == 8
    rows = copy.json("bench", f"{NAME}-fp32.onnx", made["artifact"], "--rounds", 1)["results"]
    assert [row["runtime"] for row in rows] == ["onnxruntime", "toy"]
    report = copy.json("diff", f"{NAME}-fp32.onnx", made["artifact"], *DIGITS)
    assert report["equal"] and len(report["sites"]) > 50
    checked = copy.json("check", made["artifact"], "--toy-level", "9")
    assert (checked["compiler"], checked["version"]) == ("toy", "9")


def test_a_target_is_a_folder(copy: Copy) -> None:
    made = copy.json("quantize", *MODEL, "--target", "toaster", "--calib", "digits", "-n", 16)
    assert (made["target"], made["form"]) == ("toaster", "convC")
    assert made["artifact"] == f"{NAME}-toaster-w8a8-static.onnx"
    exported = copy.json("export", *MODEL, "--target", "toaster")
    assert (exported["target"], exported["form"]) == ("toaster", "convC")
    for scheme, reason in (
        ("fp16", "toaster cannot run fp16: it computes in float32. Use w8a8-static"),
        ("bf16", "toaster cannot run bf16: its runtime has no bfloat16 kernels"),
    ):
        assert reason in copy.fails("quantize", *MODEL, "--target", "toaster", "--scheme", scheme)


def test_a_scheme_is_recipes_and_a_row(copy: Copy) -> None:
    calib = ("--calib", "digits", "-n", 16)
    made = copy.json("quantize", *MODEL, "--scheme", "w6a8-static", *calib)
    assert made["artifact"] == f"{NAME}-w6a8-static.onnx" and made["parity"]["sqnr_db"] > 8
    assert "w6a8-static" in copy.ok("quantize", "--help")
    refused = copy.fails(
        "quantize", *MODEL, "--target", "tflite", "--scheme", "w6a8-static", *calib
    )
    assert "tflite cannot run w6a8-static: it has no use for 6 bits" in refused


def test_a_command_is_two_files_and_a_line(copy: Copy) -> None:
    made = copy.json("export", *MODEL)
    assert copy.ok("digest", made["artifact"]).strip() == made["sha256"]
    assert "Print the hash of an artifact" in copy.ok("--help")
