"""Architectures for parametrized tests: the two smallest in every run, all in a campaign."""

from __future__ import annotations

import pytest

from edgenext.models import zoo

XXS, BN = "edgenext_xx_small", "edgenext_xx_small_bn_hs"
"""One with layer norms and GELU, one with batch norms and hard swish."""

ARCHS = [
    arch if arch in (XXS, BN) else pytest.param(arch, marks=pytest.mark.campaign)
    for arch in zoo.arch_table()
]
