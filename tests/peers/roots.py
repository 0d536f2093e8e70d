"""The arm64 root that peers start from: made once, kept in the user's cache, never written to.

It is Debian trixie, unpacked and not configured, with a real sshd, a real adbd, Python and the
runtimes of constraints.txt. A change of this file or of those versions makes another root.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import sys
from pathlib import Path

from peers.host import PATH, UnavailableError, call, register_emulator

from edgenext.system.files import cache_folder

FOLDER = Path(os.environ.get("EDGENEXT_PEERS") or cache_folder("peers")).absolute()
"""Where roots are kept: of the user, as it was before tests had a cache of their own."""

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
SUITE = "trixie"
PYTHON = "3.13"
TOOLS = ("qemu-user-static", "mmdebstrap", "iproute2")
PACKAGES = (
    "adbd",
    "openssh-server",
    "openssh-sftp-server",
    "python3",
    "libgomp1",
    "libstdc++6",
    "procps",
    "psmisc",
)
RUNTIMES = (
    "onnxruntime",
    "numpy",
    "ai-edge-litert",
    "flatbuffers",
    "packaging",
    "protobuf",
    "backports.strenum",
    "ml_dtypes",
    "tqdm",
    "typing_extensions",
)
SITE = "opt/edgenext-python"
ACCOUNTS = """\
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
nano:x:1000:1000::/home/nano:/bin/bash
shell:x:2000:2000::/data/local/tmp:/bin/sh
"""
GROUPS = "nano:x:1000:\nshell:x:2000:\n"
EDGE_PYTHON = f'#!/bin/sh\nPYTHONPATH=/{SITE} exec /usr/bin/python3 "$@"\n'
UNNEEDED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt")


def pins() -> list[str]:
    """The runtimes with the versions that this project pins."""
    lines = CONSTRAINTS.read_text().split()
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower(): line for line in lines}
    return [pinned[re.sub(r"[-_.]+", "-", name).lower()] for name in RUNTIMES]


def root_path() -> Path:
    """Where the root of this recipe is, or would be."""
    recipe = Path(__file__).read_bytes() + "\n".join(pins()).encode()
    return FOLDER / f"arm64-{hashlib.sha256(recipe).hexdigest()[:12]}"


def find_root() -> Path:
    """The root of this recipe.

    Raises:
        UnavailableError: it has not been made.
    """
    root = root_path()
    if not root.is_dir():
        raise UnavailableError("no arm64 root (PYTHONPATH=tests python -m peers.install)")
    return root


def make_root() -> Path:
    """The root of this recipe, made if it is not there; two makers wait for each other.

    Raises:
        UnavailableError: it cannot be made.
    """
    root = root_path()
    if root.is_dir():
        return root
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            for leftover in FOLDER.glob(".*.tmp"):
                shutil.rmtree(leftover)
            building = FOLDER / f".{root.name}.{secrets.token_hex(4)}.tmp"
            try:
                _install_tools()
                register_emulator()
                _unpack(building)
                _configure(building)
                _install_runtimes(building)
                building.rename(root)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    return root


def _install_tools() -> None:
    if all(_installed(package) for package in TOOLS):
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
    call(*apt, "update", env=env)
    call(*apt, "install", "--no-install-recommends", *TOOLS, env=env)


def _installed(package: str) -> bool:
    try:
        return "ok installed" in call("dpkg-query", "-W", "-f=${Status}", package)
    except UnavailableError:
        return False


def _mirror() -> str:
    """The Debian mirror that this machine is set up for."""
    template = "$(LABEL) $(REPO_URI)"
    for line in call("apt-get", "indextargets", "--format", template).splitlines():
        label, _, url = line.partition(" ")
        if label == "Debian" and url:
            return url
    return "http://deb.debian.org/debian"


def _unpack(root: Path) -> None:
    call(
        "mmdebstrap",
        "--quiet",
        "--variant=extract",
        "--architectures=arm64",
        "--include=?essential",
        f"--include={','.join(PACKAGES)}",
        SUITE,
        str(root),
        f"deb {_mirror()} {SUITE} main",
    )
    if not (root / f"usr/bin/python{PYTHON}").exists():
        raise UnavailableError(f"Debian {SUITE} has no Python {PYTHON}")
    for folder in UNNEEDED:
        shutil.rmtree(root / folder, ignore_errors=True)


def _configure(root: Path) -> None:
    """What the packages' own scripts would have done, as far as it is needed."""
    etc = root / "etc"
    for name, more in (("passwd", ACCOUNTS), ("group", GROUPS)):
        base = (root / "usr/share/base-passwd" / f"{name}.master").read_text()
        (etc / name).write_text(base + more)
    names = [line.split(":")[0] for line in (etc / "passwd").read_text().splitlines()]
    (etc / "shadow").write_text("".join(f"{name}:*:20000::::::\n" for name in names))
    (etc / "shadow").chmod(0o600)
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    for folder in ("proc", "sys", "dev", "run", "tmp", "root", "home/nano", "usr/local/bin"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    os.chown(root / "home/nano", 1000, 1000)
    (root / "root").chmod(0o700)
    python = root / "usr/local/bin/edge-python"
    python.write_text(EDGE_PYTHON)
    python.chmod(0o755)
    (root / "usr/local/bin/bare-python").symlink_to("/usr/bin/python3")


def _install_runtimes(root: Path) -> None:
    tags = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
    platforms = [f"--platform={tag}" for tag in (*tags, "manylinux_2_17_aarch64")]
    abis = [f"--abi={abi}" for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none")]
    call(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"),
        *platforms,
        *abis,
        f"--target={root / SITE}",
        *pins(),
    )
    # imported once, so that no peer has to compile them again under emulation
    imports = "import numpy, onnxruntime, ai_edge_litert.interpreter, argparse, statistics, uuid"
    env = {"PATH": PATH}  # ours may forbid to keep what is compiled
    call("chroot", str(root), "/usr/local/bin/edge-python", "-c", imports, env=env)
