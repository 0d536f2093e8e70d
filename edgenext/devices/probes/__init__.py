"""The facts and the present state of a device."""
