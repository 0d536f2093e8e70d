"""The devices that transports and probes are tried on, and those that commands measure on."""

from devices.added import board, cli, files, handset
from peers.fixtures import jetson, peer_root, phone

__all__ = ["board", "cli", "files", "handset", "jetson", "peer_root", "phone"]
