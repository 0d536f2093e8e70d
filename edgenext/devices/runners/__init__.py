"""The programs that measure on a device: our own runner and the vendors' tools."""
