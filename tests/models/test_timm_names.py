from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from golden import weights as golden
from safetensors.torch import save_file

from edgenext.errors import CheckpointError
from edgenext.models.checkpoint import load_checkpoint
from edgenext.models.timm_names import is_timm, published_name

# published name → timm's, of edgenext_xx_small (timm 1.0.31)
TIMM = json.loads((golden.HERE / "timm_names.json").read_text())


def test_all_names_of_the_smallest_architecture() -> None:
    assert set(TIMM) == set(golden.state("edgenext_xx_small"))
    assert {published_name(timm): timm for timm in TIMM.values()} == TIMM


def test_names_and_shapes_of_all_architectures(shared) -> None:
    table = json.loads((shared / "golden" / "timm_keys.json").read_text())["names"]
    assert len(table) == 4
    for arch, names in table.items():
        shapes = {k: list(v.shape) for k, v in golden.arrays(arch).items()}
        assert {published_name(v["timm"]): v["shape"] for v in names.values()} == shapes


def test_published_names_are_kept() -> None:
    assert not is_timm(TIMM)
    assert is_timm(TIMM.values())
    assert [published_name(name) for name in TIMM] == list(TIMM)


@pytest.mark.parametrize("prefix", ["", "module.", "model.module."])
def test_a_timm_file_gives_the_golden_logits(tmp_path, xxs, prefix: str) -> None:
    path = tmp_path / "timm.safetensors"
    save_file({prefix + TIMM[k]: v for k, v in xxs.items()}, path)
    checkpoint = load_checkpoint(None, path)
    assert checkpoint.arch == "edgenext_xx_small"
    with torch.inference_mode():
        logits = checkpoint.network()(golden.image(224, 224))[0].numpy()
    np.testing.assert_allclose(logits, golden.logits("edgenext_xx_small", 224, 224), atol=2e-3)


def test_a_timm_file_that_misses_a_tensor_names_it(tmp_path, xxs) -> None:
    path = tmp_path / "timm.safetensors"
    del xxs["stages.1.1.xca.temperature"]
    save_file({TIMM[k]: v for k, v in xxs.items()}, path)
    with pytest.raises(CheckpointError, match=r"1 missing \(stages\.1\.1\.xca\.temperature\)"):
        load_checkpoint("edgenext_xx_small", path)


def test_the_network_of_timm_itself(tmp_path) -> None:
    timm = pytest.importorskip("timm", reason="no timm (pip install 'edgenext[train]')")
    torch.manual_seed(0)
    reference = timm.create_model("edgenext_x_small", pretrained=False).eval()
    with torch.no_grad():
        for p in reference.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    path = tmp_path / "timm.pth"
    torch.save(reference.state_dict(), path)
    image = golden.image(160, 288)
    with torch.inference_mode():
        logits = load_checkpoint(None, path).network()(image)
        torch.testing.assert_close(logits, reference(image), rtol=1e-4, atol=1e-3)
