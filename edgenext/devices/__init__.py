"""Measuring where a file will run: transports, probes, runners and bundles."""
