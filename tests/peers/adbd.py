"""A peer behind a real adbd, and an adb server of its own that knows it: what a phone is to us."""

from __future__ import annotations

import socket
import subprocess
from importlib.resources import files
from pathlib import Path

from peers.host import PATH, dying_with_us
from peers.machine import wait_for
from peers.peer import Peer


class AdbPeer(Peer):
    """An aarch64 host with adbd, and root's and Android's commands on it.

    Attributes:
        adb: the adb client that adbutils brings.
        server_port: where the adb server listens that knows the peer.
        client_env: what adb has to have in its environment to use that server.
    """

    daemon = ("/usr/lib/android-sdk/platform-tools/adbd",)
    programs = ("adbd",)
    release = "6.1.75-android14-11"
    port = 5555

    def __init__(self, root: Path, kind: str = "phone") -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self.adb = Path(str(files("adbutils"))) / "binaries" / "adb"
        super().__init__(root, kind)

    @property
    def serial(self) -> str:
        """What adb calls it."""
        return f"{self.address}:{self.port}"

    def prepare(self) -> None:
        """Make Android's writable folder, and start the server."""
        self.env |= {"PATH": f"/system/bin:{PATH}", "HOME": "/"}
        place = self.path("/data/local/tmp")
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o771)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.server_port = free.getsockname()[1]
        self.client_env = {
            "PATH": PATH,
            "HOME": str(self.folder),
            "ANDROID_ADB_SERVER_PORT": str(self.server_port),
            "ADB_MDNS": "0",
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "0",
            "ADB_USB": "0",
        }
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                dying_with_us(str(self.adb), "nodaemon", "server"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.client_env,
                start_new_session=True,
            )
        wait_for("the start of the adb server", self._server_listens)

    def client(self, *args: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run adb with these arguments, for this peer."""
        return subprocess.run(
            [str(self.adb), "-s", self.serial, *args],
            env=self.client_env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def connect(self) -> None:
        """Have the server connect anew: it does not see by itself that a daemon is another."""
        self.client("disconnect", self.serial)
        wait_for("adb connect", self._connects)

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            socket.create_connection((self.address, self.port), 5).close()
        except OSError:
            return False
        return True

    def restart_daemon(self) -> None:
        """Start the daemon, if it does not run, and connect."""
        super().restart_daemon()
        self.connect()

    def close(self) -> None:
        """Switch it and the adb server off and take everything away."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        super().close()

    def _connects(self) -> bool:
        said = self.client("connect", self.serial).stdout
        return said.startswith(("connected", "already")) and self.client("get-state").stdout == (
            "device\n"
        )

    def _server_listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.server_port), 1).close()
        except OSError:
            return False
        return True
