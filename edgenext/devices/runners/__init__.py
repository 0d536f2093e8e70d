"""What measures on a device: our own runner, or the vendor's tools."""
