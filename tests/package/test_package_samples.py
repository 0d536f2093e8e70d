"""The samples of a package, each run by what it is for, on twenty images."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import io
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from packages import HOSTILE_NAMES, Packaged, logits
from PIL import Image

from edgenext.metrics.fidelity import fidelity
from edgenext.system import environments


def require_same(values: Any, packaged: Packaged, least_db: float) -> None:
    """Top-1 of all images, and the logits' SQNR in dB."""
    got = np.asarray(values, np.float32)
    assert (got.argmax(1) == packaged.logits.argmax(1)).all()
    assert len(set(packaged.logits.argmax(1))) > 1, "an answer that does not depend on the image"
    assert fidelity(packaged.logits, got).sqnr_db > least_db


def modules(name: str) -> Path:
    folder = environments.interpreter(name)
    if folder is None:
        pytest.skip(f"no environment of {name} (edgenext env {name})")
    return folder


def test_python(packaged: Packaged, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(packaged.folder)
    rows = []
    for image in images:
        monkeypatch.setattr(sys, "argv", ["sample.py", str(image)])
        with contextlib.redirect_stdout(io.StringIO()) as out:
            rows.append(runpy.run_path("sample.py")["logits"])
        assert len(out.getvalue().splitlines()) == 5
    require_same(rows, packaged, 110)  # 127.0 measured: floats are normalised in another order


def node(packaged: Packaged, folder: Path, *images: Path) -> list[dict[str, Any]]:
    """What the sample prints of images in a copy of the package beside the npm packages."""
    if shutil.which("node") is None:
        pytest.skip("needs Node.js")
    copy = folder / "package"
    shutil.copytree(packaged.folder, copy)
    (copy / "node_modules").symlink_to(modules("node"))
    command = ["node", copy / "sample.mjs", "--json", *images]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_node(packaged: Packaged, images: list[Path], tmp_path: Path) -> None:
    rows = node(packaged, tmp_path, *images)
    require_same([row["logits"] for row in rows], packaged, 110)  # 127.0 measured
    command = ["node", tmp_path / "package" / "sample.mjs", images[0]]
    shown = subprocess.run(command, capture_output=True, text=True)
    best = int(packaged.logits[0].argmax())
    assert f"%  {best} {HOSTILE_NAMES[best]}" in shown.stdout.splitlines()[1]


def test_node_with_bytes(packaged_pixels: Packaged, images: list[Path], tmp_path: Path) -> None:
    rows = node(packaged_pixels, tmp_path, *images)
    require_same([row["logits"] for row in rows], packaged_pixels, 110)


def test_node_reads_every_png_of_8_bits(packaged: Packaged, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    colours = Image.fromarray(rng.integers(0, 256, (90, 80, 4), np.uint8), "RGBA")
    files = []
    for mode in ("RGBA", "RGB", "LA", "L", "P"):
        files.append(tmp_path / f"{mode}.png")
        colours.convert("RGB" if mode == "P" else "RGBA").convert(mode).save(files[-1])
    rows = node(packaged, tmp_path, *files)
    got = np.asarray([row["logits"] for row in rows], np.float32)
    assert fidelity(logits(packaged.artifact, files), got).sqnr_db > 110  # 127.0 measured


def compiled(packaged: Packaged, folder: Path) -> Path:
    """The sample in C++ in a copy of the package, with the library of this Python's onnxruntime."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    copy, lib = folder / "package", folder / "lib"
    shutil.copytree(packaged.folder, copy)
    lib.mkdir()
    (lib / "libonnxruntime.so.1").symlink_to(library)
    command = [
        *("g++", "-O2", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-DEDGENEXT_MINIMAL_API"),
        *("sample.cpp", lib / "libonnxruntime.so.1", f"-Wl,-rpath,{lib}", "-o", "sample"),
    ]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy / "sample"


def ppm(images: list[Path], folder: Path) -> list[Path]:
    files = [folder / f"{path.stem}.ppm" for path in images]
    for path, file in zip(images, files, strict=True):
        Image.open(path).convert("RGB").save(file)
    return files


@pytest.mark.parametrize("kind", ["packaged", "packaged_pixels"])
def test_cpp(kind: str, images: list[Path], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    packaged: Packaged = request.getfixturevalue(kind)
    program = compiled(packaged, tmp_path)
    command = [program, "--logits", *ppm(images, tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [[float(value) for value in line.split()] for line in done.stdout.splitlines()]
    require_same(rows, packaged, 110)  # 127.0 measured
    shown = subprocess.run([program, program.parent / "example.ppm"], capture_output=True)
    best = int(packaged.logits[0].argmax())
    assert f"%  {best} {HOSTILE_NAMES[best]}" in shown.stdout.decode().splitlines()[1]
    (tmp_path / "bad.ppm").write_bytes(b"P6 9 9 255 short")
    refused = subprocess.run([program, tmp_path / "bad.ppm"], capture_output=True, text=True)
    assert refused.returncode == 1 and "is cut short" in refused.stderr


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


CLASSIFY = """
async (content) => {
  const bytes = Uint8Array.from(atob(content), (char) => char.charCodeAt(0));
  return (await classify(new Blob([bytes], { type: "image/png" }))).logits;
}
"""


def wait_for_status(page: Any, pattern: str) -> None:
    """Wait for a text; `wait_for_function` would need a page that may evaluate strings."""
    from playwright.sync_api import expect

    expect(page.locator("#status")).to_have_text(re.compile(pattern), timeout=30_000)


def test_web_page(packaged: Packaged, images: list[Path], browser: Any) -> None:
    modules("web")
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    with served(packaged.folder) as address:
        page.goto(f"{address}/web/")
        wait_for_status(page, "Ready")
        rows = [
            page.evaluate(CLASSIFY, base64.b64encode(path.read_bytes()).decode()) for path in images
        ]
        require_same(rows, packaged, 100)
        page.set_input_files("#file", images[0])
        page.wait_for_selector("#classes tr")
        shown = page.eval_on_selector_all("#classes tr", "all => all.map((r) => r.innerText)")
        best = int(packaged.logits[0].argmax())
        assert len(shown) == 5 and shown[0].endswith(f"{best} {HOSTILE_NAMES[best]}")
        assert page.title() == "Classify an image"
        assert page.locator("#status").inner_text().endswith(" ms")
        page.set_input_files("#file", packaged.folder / "labels.txt")
        wait_for_status(page, r"^(?!Computing)(?!.* ms$)")
    context.close()
    assert complaints == []
    assert all(url.startswith((address, "blob:", "data:")) for url in requests), requests


def test_a_web_page_without_its_runtime_says_what_is_missing(
    packaged: Packaged, tmp_path: Path, browser: Any
) -> None:
    copy = tmp_path / "package"
    shutil.copytree(packaged.folder, copy, ignore=shutil.ignore_patterns("ort*"))
    context = browser.new_context()
    page = context.new_page()
    with served(copy) as address:
        page.goto(f"{address}/web/")
        wait_for_status(page, "onnxruntime-web")
    context.close()


ARM_CPU = """\
processor\t: 0
BogoMIPS\t: 48.00
Features\t: fp asimd
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd03
CPU revision\t: 4

"""
"""/proc/cpuinfo of a Cortex-A53: onnxruntime crashes when it reads that of an x86 host."""


@pytest.mark.campaign
def test_cpp_on_arm64(packaged: Packaged, images: list[Path], tmp_path: Path) -> None:
    """Compiled for arm64, and run by QEMU with onnxruntime-node's library."""
    compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if compiler is None or emulator is None:
        pytest.skip("needs g++-aarch64-linux-gnu and qemu-user")
    folders = (modules("node") / "onnxruntime-node" / "bin").glob("napi-v*/linux/arm64")
    (library,) = (folder / "libonnxruntime.so.1" for folder in folders)
    copy = tmp_path / "package"
    shutil.copytree(packaged.folder, copy)
    command = [
        *(compiler, "-O2", "-std=c++17", "-DEDGENEXT_MINIMAL_API", "sample.cpp", library),
        *(f"-Wl,-rpath,{library.parent}", "-Wl,--unresolved-symbols=ignore-in-shared-libs"),
        *("-o", "sample"),
    ]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    root = tmp_path / "root"  # whose files QEMU shows in place of the host's
    (root / "proc").mkdir(parents=True)
    (root / "proc" / "cpuinfo").write_text(ARM_CPU)
    (root / "lib").symlink_to("/usr/aarch64-linux-gnu/lib")
    run = [emulator, "-cpu", "cortex-a53", "-L", root, copy / "sample", "--logits"]
    ran = subprocess.run([*run, *ppm(images, tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    rows = [[float(value) for value in line.split()] for line in ran.stdout.splitlines()]
    require_same(rows, packaged, 100)  # 125.0 measured
