"""The devices that transports and commands are tested on."""

from devices.added_devices import board, cli, files, handset
from peers.fixtures import jetson, peer_root, phone

__all__ = ["board", "cli", "files", "handset", "jetson", "peer_root", "phone"]
