"""What peers need of this machine: Debian, root, namespaces, an emulator of arm64."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATOR = "qemu-aarch64"
HANDLER = Path(f"/usr/lib/binfmt.d/{EMULATOR}.conf")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS = ("apt-get", "dpkg", "ip", "unshare", "nsenter", "setpriv", "mount", "chroot")


class UnavailableError(Exception):
    """Peers cannot run on this machine; the message is the reason."""


def require() -> None:
    """Check in some milliseconds whether peers can run at all.

    Raises:
        UnavailableError: with the reason.
    """
    if sys.platform != "linux":
        raise UnavailableError("peers need Linux")
    if os.geteuid() != 0:
        raise UnavailableError("peers need root")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise UnavailableError(f"peers need Debian with {', '.join(missing)}")
    probe = "mount -t tmpfs none /mnt"
    try:
        call("unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", probe)
    except UnavailableError as e:
        raise UnavailableError(f"no namespaces of its own for a peer: {e}") from e


def register_emulator() -> None:
    """Let the kernel run arm64 programs, in every root, until the next boot.

    Raises:
        UnavailableError: the emulator is not installed or the kernel accepts no handlers.
    """
    registered = BINFMT / EMULATOR
    if registered.exists():
        return
    if not HANDLER.exists():
        raise UnavailableError("no arm64 emulator (Debian package qemu-user-static)")
    try:
        if not (BINFMT / "register").exists():
            call("mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT))
        (BINFMT / "register").write_text(HANDLER.read_text().strip())
    except FileExistsError:
        pass  # another process was faster
    except OSError as e:
        raise UnavailableError(f"the kernel accepts no emulator: {e.strerror}") from e


def dying_with_us(*command: str) -> list[str]:
    """A command line whose process the kernel kills when this process ends."""
    return ["setpriv", "--pdeathsig=KILL", *command]


def call(*command: str, env: dict[str, str] | None = None) -> str:
    """Run a command to its end; its output.

    Raises:
        UnavailableError: with the last line of its errors.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=900)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise UnavailableError(f"{command[0]}: {e}") from e
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        last = lines[-1] if lines else f"exit code {done.returncode}"
        raise UnavailableError(f"{command[0]}: {last}")
    return done.stdout
