"""Devices that run JavaScript: a browser, or Node."""
