from __future__ import annotations

import subprocess
import sys

import pytest

from edgenext.errors import UsageError
from edgenext.models import zoo

PUBLISHED = {  # name: top-1 (README of the published repository), crop (its main.py)
    "edgenext_xx_small": (71.23, 0.875),
    "edgenext_x_small": (74.96, 0.875),
    "edgenext_small": (79.41, 0.875),
    "edgenext_small_usi": (81.07, 0.95),
    "edgenext_base": (82.47, 0.875),
    "edgenext_base_usi": (83.68, 0.95),
    "edgenext_base_IN21K": (83.31, 0.875),
    "edgenext_xx_small_bn_hs": (70.33, 0.875),
    "edgenext_x_small_bn_hs": (74.87, 0.875),
    "edgenext_small_bn_hs": (78.39, 0.875),
}
TIMM = {  # default_cfgs of timm/models/edgenext.py
    **dict.fromkeys(("edgenext_xx_small", "edgenext_x_small"), 0.9),
    **dict.fromkeys(("edgenext_small_usi", "edgenext_base_usi", "edgenext_base_IN21K"), 0.95),
}


def test_the_ten_published_checkpoints() -> None:
    cards = zoo.cards()
    assert {c.name: (c.top1, c.eval.crop_pct) for c in cards} == PUBLISHED
    for card in cards:
        assert (card.eval.size, card.eval.interpolation) == (256, "bicubic")
        assert card.timm_crop_pct == TIMM.get(card.name)
        assert card.params == zoo.arch_table()[card.arch]["params"]


def test_the_json_of_a_card_has_the_documented_keys() -> None:
    card = zoo.card("edgenext_small_usi").model_dump(mode="json")
    assert set(card) >= {"name", "params", "macs_256", "top1", "eval"}
    assert set(card["eval"]) == {"size", "crop_pct", "interpolation", "mean", "std", "exif"}


def test_release_addresses() -> None:
    urls = {name: row["url"] for name, row in zoo.checkpoint_table().items()}
    base = "https://github.com/mmaaz60/EdgeNeXt/releases/download"
    assert urls["edgenext_xx_small"] == f"{base}/v1.0/edgenext_xx_small.pth"
    assert urls["edgenext_small_usi"] == f"{base}/v1.1/edgenext_small_usi.pth"
    assert urls["edgenext_base_usi"] == f"{base}/v1.2/edgenext_base_usi.pth"
    assert urls["edgenext_base_IN21K"] == f"{base}/v1.21/edgenext_base_IN21K.pth"


def test_imagenet_labels() -> None:
    wnids = zoo.imagenet_wnids()
    assert len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)
    assert (wnids[0], wnids[1], wnids[-1]) == ("n01440764", "n01443537", "n15075141")


@pytest.mark.parametrize("function", [zoo.card, zoo.arch, zoo.create_model])
def test_unknown_names_suggest_the_nearest(function) -> None:
    with pytest.raises(UsageError, match=r"'edgenext_smal'.*Did you mean edgenext_small"):
        function("edgenext_smal")


def test_a_published_name_has_its_architecture() -> None:
    assert zoo.arch("edgenext_base_IN21K") == zoo.arch("edgenext_base")


@pytest.mark.parametrize("size", [(31, 64), (64, 31), (0, 0), (-256, -256)])
def test_sizes_below_the_smallest_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="32 pixels"):
        zoo.check_size(*size)
    zoo.check_size(32, 32)


def test_listing_the_models_needs_no_torch() -> None:
    code = "import sys; from edgenext.models import zoo; zoo.cards(); print('torch' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "False"
