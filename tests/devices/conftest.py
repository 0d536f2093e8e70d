"""The devices that transports and commands are tested on."""

from devices.added_devices import board, board_file, cli, files, handset, handset_file
from peers.fixtures import jetson, peer_root, phone

__all__ = [
    "board",
    "board_file",
    "cli",
    "files",
    "handset",
    "handset_file",
    "jetson",
    "peer_root",
    "phone",
]
