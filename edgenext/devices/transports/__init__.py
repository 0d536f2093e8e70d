"""The transports: one module each, with a TRANSPORT; see `edgenext.devices.transport`."""
