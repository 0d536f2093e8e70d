"""Whether EXIF orientations are applied: an option, else what a network was trained with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenext import api
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact
from edgenext.schema import SubsetInfo

RANDOM = {"random_weights": True, "num_classes": 10, "size": 32}


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """Two images in each of ten classes, one of them on its side."""
    exif, rng = Image.Exif(), np.random.default_rng(0)
    exif[0x0112] = 6
    for name in map(str, range(10)):
        folder = tmp_path / "rotated" / name
        folder.mkdir(parents=True)
        for i in range(2):
            image = Image.fromarray(rng.integers(0, 256, (40, 30, 3), np.uint8))
            image.save(folder / f"{i}.png", **({"exif": exif} if i else {}))
    return tmp_path / "rotated"


def test_an_option_comes_before_the_manifest(
    rotated: Path, make_artifact: Callable[..., Artifact]
) -> None:
    file = str(make_artifact().path)

    def data(options: api.DataOptions, model: api.ModelOptions) -> SubsetInfo:
        (result,) = api.evaluate([file], options, model).results
        assert result.data is not None and result.data.kinds == {"exif-orientation": 10}
        return result.data

    plain = api.DataOptions(rotated)
    ignored = data(plain, api.ModelOptions())
    assert ignored.exif == "ignore"
    applied = data(plain, api.ModelOptions(exif="apply"))
    assert applied.exif == "apply" and applied.sha256 != ignored.sha256
    assert data(api.DataOptions(rotated, exif="apply"), api.ModelOptions()) == applied
    assert data(api.DataOptions(rotated, exif="ignore"), api.ModelOptions(exif="apply")) == ignored
    with pytest.raises(UsageError, match="Did you mean apply"):
        data(api.DataOptions(rotated, exif="appl"), api.ModelOptions())  # type: ignore[arg-type]


def test_a_network_and_its_files_keep_it(rotated: Path, tmp_path: Path) -> None:
    model = api.ModelOptions(**RANDOM, exif="apply")
    config = {"model": "edgenext_xx_small", "data": str(rotated), "size": 32, "exif": "apply"}
    assert api.make_config(config).model_options.exif == "apply"
    twin = api.stress("edgenext_xx_small", model, out=tmp_path / "twin.safetensors")
    trained = api.load_checkpoint(None, twin)
    assert (trained.eval.exif, trained.eval.size) == ("apply", 32)
    file = api.export(None, api.ModelOptions(weights=twin), out=tmp_path)
    assert file.manifest.eval.exif == "apply"
    (result,) = api.evaluate([str(file.path)], rotated).results
    assert result.data is not None and result.data.exif == "apply"
    assert api.load_checkpoint(None, twin, exif="ignore").eval.exif == "ignore"
