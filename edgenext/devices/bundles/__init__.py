"""Devices that somebody carries a folder to and from."""
