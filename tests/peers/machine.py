"""An emulated arm64 machine: disk, network, processes; real programs behind a real link.

Its namespaces belong to one process, which the kernel kills when this process ends in any way:
nothing is left on the host, not even after SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from peers.host import PATH, UnavailableError, call, dying_with_us
from peers.network import Cable

FOLDER = Path(__file__).parent
CPU = "cortex-a76"
"""The emulated CPU, similar to an Orin's cores. The default is a CPU with all features, among them
SME, which version 7.2 of the emulator computes wrong: LiteRT's XNNPACK gives other logits."""

WAIT = 30.0


def wait_for(name: str, condition: Callable[[], bool], seconds: float = WAIT) -> None:
    """Poll a condition until it is true.

    Raises:
        TimeoutError: it did not become true in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{name} took more than {seconds:.0f} s")
        time.sleep(0.02)


class Machine:
    """A machine that runs from its construction until `close`.

    Args:
        root: its root file system, which is never written to.
        files: folders copied over the root, and `sys.txt`: lines with the name and the content of
            a file of its /sys, written at every boot.
        name: its host name.
    """

    release = "6.12.48+deb13-arm64"
    """The output of `uname -r`."""

    def __init__(self, root: Path, files: Path, name: str) -> None:
        self.name = name
        self.env = {"PATH": PATH, "QEMU_CPU": CPU, "QEMU_UNAME": self.release}
        table = files / "sys.txt"
        self._sys = table.read_text().splitlines() if table.exists() else []
        mounts = root.parent / "mnt"
        mounts.mkdir(exist_ok=True)
        self._disk = mounts / "root"
        self._boot: subprocess.Popen[str] | None = None
        self._cable: Cable | None = None
        self._holder = self._start(
            ["unshare", "--net", "--mount", "--propagation=private"],
            "hold.sh",
            [str(root.parent), root.name, mounts.name],
        )
        try:
            self._cable = Cable(self._holder.pid)
            self.address = self._cable.address
            self._copy(files)
            self._switch_on()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Switch it off and remove all of it."""
        self._switch_off()
        if self._cable is not None:
            self._cable.remove()
        self._holder.kill()
        self._holder.communicate()

    def cut(self) -> None:
        """Cut the network: packets are lost, and connections get no error."""
        if self._cable is not None:
            self._cable.cut()

    def mend(self) -> None:
        """Restore the network."""
        if self._cable is not None:
            self._cable.mend()

    def reboot(self) -> None:
        """Power off and on: processes, /tmp and /run are lost, the disk is not; a new boot id."""
        self.cut()
        self._switch_off()
        self._switch_on()
        self.mend()

    def path(self, path: str) -> Path:
        """The path on the host of a file of the machine; absolute links in it lead to the host."""
        return Path(f"/proc/{self._init}/root{self._disk}") / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine, and its folders."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def fill_disk(self, path: str, size: str = "1m") -> None:
        """Make a folder a disk of its own, empty and of this size, until `empty_disk`."""
        folder = self.path(path)
        folder.mkdir(parents=True, exist_ok=True)
        stat = folder.stat()
        owner = f"uid={stat.st_uid},gid={stat.st_gid}"
        options = f"size={size},mode={stat.st_mode & 0o7777:o},{owner}"
        self._inside("mount", "-t", "tmpfs", "-o", options, "small", self._disk_path(path))

    def empty_disk(self, path: str) -> None:
        """Remove the small disk: the folder has its former files again."""
        self._inside("umount", "--lazy", self._disk_path(path))

    def processes(self) -> list[str]:
        """Command lines of the programs that run in the machine."""
        return [shlex.join(args) for _, args in self.running()]

    def running(self) -> Iterator[tuple[int, list[str]]]:
        """Process id on the host and arguments of every program that runs in the machine."""
        namespace = Path(f"/proc/{self._init}/ns/pid").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # the process has ended
                if (folder / "ns/pid").readlink() != namespace:
                    continue
                args = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
                if args and "aarch64" in args[0]:  # emulator, program, arguments from its name on
                    yield int(folder.name), args[2:]

    def run(self, *command: str) -> str:
        """Run a program in the machine without its network; its output."""
        inside = ["nsenter", f"--target={self._init}", "--all", "chroot", str(self._disk)]
        return call(*inside, *command, env=self.env)

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a program in the machine that ends when the machine does."""
        inside = ["nsenter", f"--target={self._init}", "--all", "chroot", str(self._disk)]
        with log.open("ab") as output:
            return subprocess.Popen(
                [*inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.env,
                start_new_session=True,
            )

    def _disk_path(self, path: str) -> str:
        return f"{self._disk}/{path.lstrip('/')}"

    def _inside(self, *command: str) -> None:
        call("nsenter", f"--target={self._init}", "--mount", *command)

    def _start(self, namespaces: list[str], script: str, args: list[str]) -> subprocess.Popen[str]:
        """A shell in namespaces of its own, once it reports that it is ready."""
        process = subprocess.Popen(
            dying_with_us(*namespaces, "sh", str(FOLDER / script), *args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None and process.stderr is not None
        if process.stdout.readline() != "ready\n":
            process.kill()
            _, errors = process.communicate()
            last = (errors.strip().splitlines() or ["it ended"])[-1]
            raise UnavailableError(f"no emulated machine: {last}")
        return process

    def _copy(self, files: Path) -> None:
        disk = f"/proc/{self._holder.pid}/root{self._disk}"
        for folder in files.iterdir():
            if folder.is_dir():
                call("cp", "-r", "--preserve=mode", str(folder), disk)

    def _switch_on(self) -> None:
        shared = [f"--target={self._holder.pid}", "--net", "--mount"]
        own = ["--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc"]
        self._boot = self._start(
            ["nsenter", *shared, "unshare", *own],
            "boot.sh",
            [str(self._disk), self.name, str(uuid.uuid4())],
        )
        (self._init,) = (child.pid for child in psutil.Process(self._boot.pid).children())
        for line in self._sys:
            name, content = line.split(" ", 1)
            end = "\0" if "/devicetree/" in name else "\n"  # as the kernel ends them
            self.write(f"/sys/{name}", content + end)

    def _switch_off(self) -> None:
        if self._boot is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
            self._boot.communicate(timeout=WAIT)  # it waits for process 1, which goes last
            self._boot = None
