"""Where two files of a network part: load both, and compare them on real images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.commands.context import Context
from edgenext.commands.diff_sites import SITE_BY_SITE, Side, compare_sites
from edgenext.commands.images import SAMPLE_IMAGES, labelled_images
from edgenext.commands.subject import Subject
from edgenext.errors import ArtifactError, UsageError
from edgenext.export.deployment_graph import Graph, read_graph
from edgenext.export.onnx import call_size
from edgenext.export.settings import resolve
from edgenext.formats.artifact import distinct_names
from edgenext.formats.onnx.session import tracer
from edgenext.formats.pytorch.session import TorchSession
from edgenext.formats.session import Traceable
from edgenext.graph.sites import find_sites
from edgenext.graph.tensors import site_tensors
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import DEFAULT_FORMAT, MODEL, DataOptions, ExportOptions, ModelOptions
from edgenext.schema import DiffReport

Array = NDArray[Any]


def diff(
    a: str | Path,
    b: str | Path,
    data: DataOptions | str | Path,
    model_options: ModelOptions = MODEL,
    *,
    threshold_db: float = 30.0,
    context: Context | None = None,
) -> DiffReport:
    """Where two models or artifacts part, site by site: see `edgenext diff`.

    Args:
        a: a model's name or an artifact.
        b: another of the same network.
        data: images; 16 of them unless the options have a limit.
        model_options: where the models' weights come from.
        threshold_db: a site whose SQNR is below it has parted.
        context: what was loaded before.

    Raises:
        UsageError: input sizes, numbers of classes or architectures differ.
        ArtifactError: a file whose sites are not known.
        DataError: the two do not see the same images, or too few of them.

    >>> files = "edgenext_xx_small-32-fp32.onnx", "edgenext_xx_small-32-w8a8-static.onnx"
    >>> report = diff(*files, DataOptions("digits", limit=8))
    >>> report.equal, report.fitted, len(report.sites) > 50
    (False, 'scale', True)
    """
    if not math.isfinite(threshold_db):
        raise UsageError(f"--threshold {threshold_db} is not a number of dB", "Use one such as 30")
    context = context or Context()
    options = DataOptions.of(data)
    if options.limit is None:
        options = replace(options, limit=SAMPLE_IMAGES)
    subjects = _of_one_kind(context.subject(a, model_options), context.subject(b, model_options))
    for subject in subjects:
        subject.require_sites("diff")
    with context.progress.steps("opening *", "decoding *", SITE_BY_SITE):
        context.progress("opening both files", 0, 0)
        sides = open_sides(*subjects, context)
        images = [labelled_images(context, subject, options) for subject in subjects]
        return compare_sites(*sides, (images[0], images[1]), threshold_db, context.progress)


class NetworkSession(TorchSession):
    """A PyTorch network; its tensors are those of its float deployment graph."""

    def __init__(self, checkpoint: Checkpoint, graph: Graph) -> None:
        super().__init__(checkpoint.network(features_only=checkpoint.backbone), checkpoint.eval)
        self.batch = call_size(graph.model)
        self._tracer = tracer(graph.model)

    def trace(self, prepared: Array) -> dict[str, NDArray[np.float32]]:
        """Every float tensor that the graph makes of one prepared batch, by name."""
        return self._tracer(prepared)


def _of_one_kind(a: Subject, b: Subject) -> tuple[Subject, Subject]:
    """Both; a network beside a backbone is the backbone of its weights."""

    def beside(subject: Subject, other: Subject) -> Subject:
        if subject.checkpoint is None or not other.is_backbone:
            return subject
        return Subject(checkpoint=replace(subject.checkpoint, backbone=True, labels=None))

    return beside(a, b), beside(b, a)


def open_sides(a: Subject, b: Subject, context: Context) -> tuple[Side, Side]:
    """Load both; a network takes the form of the artifact it is compared with.

    Raises:
        UsageError: input sizes, numbers of classes or architectures differ.
        ArtifactError: a file whose sites are not known.
        RuntimeFailedError: a runtime refuses its file.
    """
    _require_comparable(a, b)
    names = distinct_names([s.artifact.path if s.artifact else Path(s.name) for s in (a, b)])
    return _open_side(names[0], a, b, context), _open_side(names[1], b, a, context)


def _require_comparable(a: Subject, b: Subject) -> None:
    """Refuse two that cannot be the same network."""
    facts = [(f"{s.transform.size} px", _outputs(s), _arch(s)) for s in (a, b)]
    for first, second in zip(*facts, strict=True):
        if first != second:
            raise UsageError(
                f"{a.name} and {b.name} cannot be compared: {first} and {second}",
                "Export both from the same weights, with the same --size",
            )


def _outputs(subject: Subject) -> str:
    return "feature maps" if subject.is_backbone else f"{subject.classes[0]} classes"


def _arch(subject: Subject) -> str:
    if subject.artifact:
        return subject.artifact.manifest.arch
    return subject.checkpoint.arch if subject.checkpoint else ""


def _open_side(name: str, subject: Subject, other: Subject, context: Context) -> Side:
    if subject.artifact is None:
        assert subject.checkpoint  # noqa: S101 - a subject is one or the other
        form = other.artifact.manifest.form if other.artifact else ""
        options = ExportOptions(form=form, features_only=subject.is_backbone)
        graph = context.graph(subject.checkpoint, resolve(options))
        session = NetworkSession(subject.checkpoint, graph)
        return Side(name, subject, session, site_tensors(graph.model), graph.form, _kinds(graph))
    manifest, loaded = subject.artifact.manifest, subject.session()
    if isinstance(loaded, Traceable) and not manifest.sites:
        raise ArtifactError(
            f"the manifest of {name} does not say where its sites are: it is of an older version",
            "Export it again",
        )
    plain = manifest.format == DEFAULT_FORMAT and not manifest.engine
    kinds = _kinds(read_graph(subject.artifact)) if plain else {}
    return Side(name, subject, loaded, manifest.sites, manifest.form, kinds)


def _kinds(graph: Graph) -> dict[str, str]:
    return {name: site.kind for name, site in find_sites(ir.from_proto(graph.model).graph).items()}
