"""Devices without a link: a bundle is carried to the device, and its results back."""
