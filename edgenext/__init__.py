"""Edge-deployment toolchain for EdgeNeXt."""
