"""Write the locks again: every package of an installation, with the sha256 of each of its files.

Run by `make locks`, with uv. Versions come from `constraints.txt`, and for the private environments
from their own locks. What only torch's CUDA build needs is in files of its own, since its CPU build
for Linux does without it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
TEST_EXTRAS = (
    "dev",
    "vendors",
    "coreml",
    "devices",
    "executorch",
    "parquet",
    "sweep",
    "tflite",
    "train",
    "web",
)
CUDA = re.compile(r"(cuda|nvidia)-|triton==")
TORCH_CPU = "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
"""torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl, which is on no index that uv asks."""

HEADER = "# Written by `make locks`: see docs/provenance.md.\n"


def compiled(*arguments: str) -> list[str]:
    """The entries that uv resolves: a package with its marker and hashes each, sorted by name."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config"]
    options = ["--generate-hashes", "--no-annotate", "--no-header", "--python-version", "3.11"]
    output = subprocess.run(
        [*command, *options, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [with_torch_cpu(entry) for entry in re.split(r"\n(?=\S)", output.strip())]


def with_torch_cpu(entry: str) -> str:
    """An entry; that of torch with the hash of its CPU build."""
    return f"{entry} \\\n    --hash=sha256:{TORCH_CPU}" if entry.startswith("torch==") else entry


def write(path: Path, entries: Iterable[str], header: str = HEADER) -> None:
    """Write a lock."""
    path.write_text(header + "".join(f"{entry}\n" for entry in entries))
    sys.stdout.write(f"{path.relative_to(ROOT)}\n")


def write_installation(name: str, *extras: str) -> list[str]:
    """Lock this package with some extras; what only CUDA needs is returned."""
    chosen = [argument for extra in extras for argument in ("--extra", extra)]
    sources = ("--universal", "--constraint", "constraints.txt", "pyproject.toml", "locks/build.in")
    entries = compiled(*sources, *chosen)
    write(LOCKS / f"{name}.lock", (e for e in entries if not CUDA.match(e)))
    return [e for e in entries if CUDA.match(e)]


def write_private(path: Path) -> None:
    """Write the hashes of a private environment's packages; its pins and their order stay."""
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    pins = [words[0] for words in lines if words and "==" in words[0]]
    source = path.with_suffix(".in")
    source.write_text("\n".join(pins))
    try:
        entries = compiled("--no-deps", str(source))
    finally:
        source.unlink()
    by_name = {plain(entry): entry.partition(" ")[2] for entry in entries}
    write(path, (f"{pin} {by_name[plain(pin)]}" for pin in pins), "")


def plain(entry: str) -> str:
    """The normalised name of an entry's package."""
    return re.sub(r"[-_.]+", "-", entry.partition("==")[0]).lower()


def main() -> None:
    """Write all locks."""
    cuda = write_installation("run")
    write_installation("test", *TEST_EXTRAS)
    write(LOCKS / "cuda.lock", cuda)
    write(LOCKS / "tools.lock", compiled("--universal", "locks/tools.in"))
    write(LOCKS / "oracles.lock", compiled("--universal", "locks/oracles.in"))
    write(LOCKS / "metadata.lock", compiled("--no-deps", "locks/metadata.in"))
    for path in sorted((ROOT / "edgenext" / "formats").glob("*/*.lock")):
        write_private(path)
        if "\ntorch==" in path.read_text():
            write(path.with_suffix(".cuda"), cuda)


if __name__ == "__main__":
    main()
