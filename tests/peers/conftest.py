"""The devices that are tested here."""

from peers.fixtures import jetson, peer_root, phone

__all__ = ["jetson", "peer_root", "phone"]
