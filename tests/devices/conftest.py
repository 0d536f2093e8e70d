"""The devices that transports and probes are tried on."""

from peers.fixtures import jetson, peer_root, phone

__all__ = ["jetson", "peer_root", "phone"]
