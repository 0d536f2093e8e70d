"""A peer with a real adbd and an adb server of its own: it stands in for a phone."""

from __future__ import annotations

import socket
import subprocess
from importlib.resources import files
from pathlib import Path

from peers.host import PATH, dying_with_us
from peers.machine import wait_for
from peers.peer import Peer


class AdbPeer(Peer):
    """An aarch64 host with adbd, and commands of Android.

    Attributes:
        adb: the adb client that adbutils brings.
        server_port: the port of the adb server that is connected to the peer.
        client_env: the environment in which adb uses that server.
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
        """The serial number in adb."""
        return f"{self.address}:{self.port}"

    def prepare(self) -> None:
        """Make Android's writable folder, and start the adb server."""
        self.env |= {"PATH": f"/system/bin:{PATH}", "HOME": "/"}
        folder = self.path("/data/local/tmp")
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o771)
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
        """Connect the server again: it does not notice a new daemon by itself."""
        self.client("disconnect", self.serial)
        wait_for("adb connect", self._connects)

    def answers(self) -> bool:
        """Whether it accepts connections."""
        try:
            socket.create_connection((self.address, self.port), 5).close()
        except OSError:
            return False
        return True

    def restart_daemon(self) -> None:
        """Start the daemon unless it runs, and connect."""
        super().restart_daemon()
        self.connect()

    def close(self) -> None:
        """Switch off the machine and the adb server, and remove all of it."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
        super().close()

    def _connects(self) -> bool:
        output = self.client("connect", self.serial).stdout
        return output.startswith(("connected", "already")) and self.client("get-state").stdout == (
            "device\n"
        )

    def _server_listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.server_port), 1).close()
        except OSError:
            return False
        return True
