"""Teachers of every kind, and what is learned from them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from edgenext import api
from edgenext.commands.teacher import open_hooks
from edgenext.data import ImageSet, load_images
from edgenext.errors import DataError, InputError, MissingDependencyError, UsageError
from edgenext.models import zoo
from edgenext.options import ExportOptions, ModelOptions
from edgenext.schema import EvalTransform
from edgenext.train import TrainRecipe
from edgenext.train.batches import normalise_tensor, to_tensor
from edgenext.train.distillation import Distillation, Teacher, network_teacher
from edgenext.train.loop import train_network
from edgenext.train.timm_parts import timm_module

SIZE = EvalTransform(size=32, crop_pct=1.0)
OTHER = EvalTransform(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
XXS = "edgenext_xx_small"


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return load_images("digits", SIZE, role="train", num_classes=10, limit=32)


def test_the_loss_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    student, answers = nn.Linear(4, 3), torch.randn(5, 3)
    x, y = torch.randn(5, 4), torch.randint(3, (5,))
    hooks = Distillation(Teacher("it", "1", lambda _: answers, SIZE), SIZE)
    loss = hooks.loss(student, x, y, TrainRecipe(label_smoothing=0.0))
    p = answers.softmax(1)
    divergence = (p * (p.log() - student(x).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(loss, F.cross_entropy(student(x), y) + 5 * divergence)


def test_a_teacher_sees_images_in_its_own_normalisation() -> None:
    seen: list[Tensor] = []
    teacher = Teacher("it", "1", lambda x: seen.append(x) or x.mean((2, 3)), OTHER, size=64)
    pixels = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(v)[:, None, None] for v in (SIZE.mean, SIZE.std))
    teacher.answers((pixels - mean) / std, SIZE)
    (x,) = seen
    assert x.shape == (2, 3, 64, 64)
    torch.testing.assert_close(x.mean((2, 3)), 2 * pixels.mean((2, 3)) - 1, atol=0.02, rtol=0)


def test_a_network_and_its_onnx_file_teach_the_same(tmp_path: Path) -> None:
    options = ModelOptions(random_weights=True, num_classes=10, size=32)
    artifact = api.export(XXS, options, ExportOptions(batch=None), out=tmp_path)
    weights = tmp_path / "it.safetensors"
    network = api.load_checkpoint(XXS, None, random_weights=True, num_classes=10, size=32)
    save_file(network.network().state_dict(), weights)
    x = torch.randn(3, 3, 32, 32)
    a = api.open_teacher(str(artifact.path), 10)
    b = api.open_teacher(str(weights), 10)
    torch.testing.assert_close(a.answers(x, SIZE), b.answers(x, SIZE), atol=1e-4, rtol=1e-3)
    assert a.identity != b.identity


def test_a_model_of_timm_teaches(images: ImageSet, tmp_path: Path) -> None:
    timm = timm_module("timm")
    torch.manual_seed(0)
    file = tmp_path / "teacher.pth"
    torch.save(timm.create_model("mobilenetv3_small_050", num_classes=10).state_dict(), file)
    teacher = api.open_teacher("timm/mobilenetv3_small_050", 10, weights=file)
    recipe = TrainRecipe(epochs=1, batch_size=16, warmup_epochs=0)
    result = train_network(
        zoo.create_model(XXS, 10), images, None,
        recipe=recipe, out=tmp_path / "out", hooks=Distillation(teacher, SIZE),
    )  # fmt: skip
    assert result.loss > 0
    with pytest.raises(UsageError, match="another run: start differs"):  # another teacher
        train_network(
            zoo.create_model(XXS, 10), images, None, recipe=recipe, out=tmp_path / "out",
            resume=True,
        )  # fmt: skip


def test_answers_are_learned(images: ImageSet, tmp_path: Path) -> None:
    """A student that learns from its teacher alone comes nearer to it."""

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 4 * F.one_hot(torch.full((len(x),), 3), 10).float()

    teacher = Teacher("three", "1", Constant(), SIZE)
    student = zoo.create_model(XXS, 10)
    recipe = TrainRecipe(epochs=3, batch_size=16, warmup_epochs=0, distill_weight=50.0)
    hooks = Distillation(teacher, SIZE)
    train_network(student, images, None, recipe=recipe, out=tmp_path, hooks=hooks)
    with torch.inference_mode():
        answers = student(normalise_tensor(to_tensor(images.images), SIZE)).argmax(1)
    assert (answers == 3).float().mean() > 0.9  # of the labels, a tenth are


def test_what_is_no_teacher(images: ImageSet, tmp_path: Path) -> None:
    other = network_teacher(zoo.create_model(XXS, 7), "seven", "1", SIZE)
    with pytest.raises(DataError, match="the teacher seven has 7 classes, the network 10"):
        train_network(
            zoo.create_model(XXS, 10), images, None,
            recipe=TrainRecipe(epochs=1), out=tmp_path, hooks=Distillation(other, SIZE),
        )  # fmt: skip
    with pytest.raises(UsageError, match="timm has no model 'resnet5'"):
        api.open_teacher("timm/resnet5", 10)
    with pytest.raises(UsageError, match="is for a teacher from timm"):
        api.open_teacher("it.onnx", 10, weights=tmp_path)
    with pytest.raises(InputError):
        api.open_teacher(str(tmp_path / "none.safetensors"), 10)


@pytest.mark.parametrize(
    ("text", "name", "error", "message"),
    [
        ("class Mine: pass", "hooks.py:Mine", UsageError, "no class Mine that is a subclass"),
        ("", "hooks.py:Mine", UsageError, "no class Mine"),
        ("1 / 0", "hooks.py:Mine", InputError, "cannot be imported: ZeroDivisionError"),
        ("", "hooks.py", UsageError, "names no hooks"),
        ("", "none.py:Mine", InputError, "no such file"),
    ],
)
def test_what_are_no_hooks(
    text: str,
    name: str,
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hooks.py").write_text(text)
    with pytest.raises(error, match=message):
        open_hooks(name)


def test_a_missing_timm_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm.no", None)
    with pytest.raises(MissingDependencyError, match=r"needs timm: .*pip install 'edgenext\[train"):
        timm_module("timm.no")
