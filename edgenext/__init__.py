"""Edge-deployment toolchain for EdgeNeXt. The Python API is `edgenext.api`."""
