"""From a graph to an artifact: converted, run, compared, and written with its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import UsageError
from edgenext.export.content import FLOAT_CONTENT, Content
from edgenext.export.deployment_graph import Graph
from edgenext.export.gate import Gate
from edgenext.export.onnx import call_size, tensor_spec
from edgenext.export.parity import (
    Reference,
    file_parity,
    graph_label,
    measure_parity,
    onnx_reference,
    run_file,
    torch_reference,
)
from edgenext.export.settings import ExportSettings
from edgenext.formats.artifact import Artifact, new_artifact
from edgenext.formats.conversion import ConversionJob, convert
from edgenext.formats.embedded import write_metadata
from edgenext.formats.format import PACKAGE, Converter, function_of
from edgenext.formats.onnx.session import tracer
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import Images, Session, filled
from edgenext.graph.tensors import site_tensors
from edgenext.models import zoo
from edgenext.schema import (
    FEATURES,
    BuildOptions,
    Conversion,
    Manifest,
)
from edgenext.system.durations import timed
from edgenext.system.progress import Progress, quiet
from edgenext.targets.scheme import FLOAT

if TYPE_CHECKING:
    import onnx

TOOLS = ("edgenext", "torch", "onnx", "onnxruntime", "onnxsim")
"""Packages whose versions are recorded in a manifest."""


def network_reference(graph: Graph, *, features_only: bool = False) -> Reference:
    """What every file of a graph is compared with: its PyTorch network, or the file it is from."""
    if graph.checkpoint:
        return torch_reference(graph.checkpoint.network(features_only=features_only))
    return onnx_reference(graph.model, graph.source["artifact"])


COMPARING = "comparing with PyTorch"


def file_steps(settings: ExportSettings) -> tuple[str, ...]:
    """The tasks of writing a file, in order."""
    return ("converting to *", COMPARING) if settings.converter else (COMPARING,)


def write_artifact(
    graph: Graph,
    settings: ExportSettings,
    path: Path,
    images: Images,
    reference: Reference,
    content: Content = FLOAT_CONTENT,
    progress: Progress = quiet,
) -> Artifact:
    """Convert a graph to its format, run the file, compare it and write it with its manifest.

    Args:
        graph: float or Q/DQ.
        settings: the format, its options and the scheme.
        path: of the file or folder.
        images: N×H×W×3 uint8, to compare on.
        reference: the network that the file should agree with, its stages in the graph's units.
        content: how it was quantized.
        progress: told of the conversion and the comparison.

    Raises:
        ParityError: the file does not agree with the network, or not with the graph that it was
            converted from, or computes NaN or infinity; nothing is written.
        MissingDependencyError: a converter or runtime that is not installed.
        RuntimeFailedError: the converter failed, or the runtime cannot load its file.
        OutputError: the folder cannot be written; nothing is left behind.
    """
    writer = _Writer(graph, settings, images, reference, content, progress)
    if settings.converter:
        return writer.write_converted(path, settings.converter)
    return writer.write_graph(path)


@dataclass(frozen=True)
class _Writer:
    """One artifact while it is written; see `write_artifact`."""

    graph: Graph
    settings: ExportSettings
    images: Images
    reference: Reference
    content: Content
    progress: Progress

    @property
    def float_model(self) -> onnx.ModelProto:
        """The graph before quantization."""
        return self.content.reference or self.graph.model

    def write_graph(self, path: Path) -> Artifact:
        """Write the ONNX graph itself, or what its format rewrites it to."""
        settings, graph, images = self.settings, self.graph, self.images
        self.progress(COMPARING, 0, 0)
        model, conversion_parity = graph.model, None
        if settings.format.rewrite:
            model = function_of(settings.format.rewrite)(model, settings.options)
            origin = onnx_reference(graph.model, graph_label(graph.model))
            conversion_parity = measure_parity(model, origin, images, graph.transform)
        parity = measure_parity(model, self.reference, images, graph.transform)
        gate = Gate(settings, settings.format.parity, path.name)
        warnings = gate.require_graph(parity)
        if conversion_parity:
            gate.require_conversion(conversion_parity, parity)
        tensors = {name for node in model.graph.node for name in node.output}
        sites = self._sites(self.content.reference or model)
        fields = self._manifest_fields() | {
            "input": tensor_spec(model.graph.input[0]),
            "outputs": tuple(tensor_spec(o) for o in model.graph.output),
            "opset": model.opset_import[0].version,
            "parity": parity,
            "conversion_parity": conversion_parity,
            "sites": {site: name for site, name in sites.items() if name in tensors},
            "warnings": (*self.content.warnings, *warnings),
        }
        with new_artifact(path) as (staged, describe):
            staged.write_bytes(model.SerializeToString(deterministic=True))
            write_metadata(settings.format, staged, describe(fields).manifest)
            artifact = describe(fields)
        return Artifact(path, artifact.manifest)

    def write_converted(self, path: Path, converter: Converter) -> Artifact:
        """Convert the graph, then read the file back, run and compare it."""
        row = self.settings.format
        if self.graph.input.shape[0] != call_size(self.graph.model):
            raise UsageError(f"{row.name} takes a fixed batch", "Give --batch a number")
        runtime = import_module(f"{PACKAGE}.{row.session or row.folder}.session")
        runtime.preload()  # so that a missing package is reported before the conversion
        with new_artifact(path) as (staged, describe):
            conversion, result = self._convert(converter, staged)
            self.progress(COMPARING, 0, 0)
            fields = self._manifest_fields()
            fields |= {"input": self.graph.input, "outputs": (), "conversion": conversion}
            if row.finish:
                function_of(row.finish)(staged, describe(fields).manifest)
            inspection = runtime.inspect(staged)
            counts = {"operators": inspection.operators, "partitions": inspection.partitions}
            fields |= {
                "input": inspection.input,
                "outputs": inspection.outputs,
                "conversion": conversion.model_copy(update=counts),
                "class_names": result.get("class_names", fields["class_names"]),
            }
            write_metadata(row, staged, describe(fields).manifest)
            described = describe(fields)
            session = open_session(described, 1)
            gate = Gate(self.settings, converter.parity, path.name)
            artifact = describe(fields | self._compare(session, described.manifest, gate))
        return Artifact(path, artifact.manifest, artifact.timed)

    def _compare(self, session: Session, manifest: Manifest, gate: Gate) -> dict[str, Any]:
        """Both parities of a converted file, and its tensors by site.

        Raises:
            ParityError: it does not agree with the network, or not with its graph.
        """
        model, images, transform = self.graph.model, self.images, self.graph.transform
        origin = onnx_reference(model, graph_label(model))
        sites = self._float_sites()
        outputs = run_file(session, manifest, self.reference, images, transform, sites)
        size = session.batch or 1
        parity = file_parity(outputs, self.reference, images, transform, size)
        conversion_parity = file_parity(outputs, origin, images, transform, size)
        gate.require_file(parity)
        gate.require_conversion(
            conversion_parity, measure_parity(model, self.reference, images, transform)
        )
        return {
            "parity": parity,
            "conversion_parity": conversion_parity,
            "sites": outputs.sites,
        }

    def _manifest_fields(self) -> dict[str, Any]:
        """The fields of the manifest that do not depend on the file."""
        graph, settings, content = self.graph, self.settings, self.content
        backbone = settings.features_only
        return {
            "format": settings.format.name,
            "scheme": settings.scheme,
            "form": graph.form,
            "target": graph.target,
            "arch": graph.arch,
            "num_classes": graph.num_classes,
            "labels": None if backbone else graph.labels,
            "class_names": None if backbone else graph.class_names,
            "features": zoo.feature_maps(graph.arch, settings.feature_layout) if backbone else (),
            "division": graph.division,
            "eval": graph.transform,
            "source": graph.source,
            "adopted": graph.adopted,
            "recipe": content.recipe,
            "calibration": content.calibration,
            "qat": content.qat,
            "engine": settings.engine,
            "kept_float": dict(content.kept_float),
            "warnings": tuple(content.warnings),
            "clipping": dict(content.clipping),
            "tools": {name: version(name) for name in TOOLS},
            "options": self._options(),
        }

    def _options(self) -> BuildOptions:
        """What makes the file again, with the rest of its manifest."""
        batch = self.graph.input.shape[0]
        return BuildOptions(
            batch=batch if batch > 0 else None,
            opset=self.graph.model.opset_import[0].version,
            uint8_input=self.graph.pixels,
            features_only=self.settings.features_only,
            format_options=dict(self.settings.options),
            seed=self.content.seed,
        )

    def _sites(self, model: onnx.ModelProto) -> dict[str, str]:
        """The tensors of a float graph by site; a graph that others made has no sites."""
        return {} if self.graph.adopted else site_tensors(model)

    def _float_sites(self) -> dict[str, NDArray[Any]]:
        """The float graph's tensors for the first images, by site."""
        images = filled(self.images, call_size(self.graph.model))
        tensors = tracer(self.float_model, 1)(self.graph.prepare(images))
        names = self._sites(self.float_model)
        return {site: tensors[name] for site, name in names.items() if name in tensors}

    def _convert(self, converter: Converter, out: Path) -> tuple[Conversion, dict[str, Any]]:
        """Call the converter: the record of the conversion, and the converter's own result."""
        graph, settings, samples = self.graph, self.settings, self.content.samples
        options: dict[str, Any] = {
            "scheme": settings.scheme,
            "calibrated": settings.calibrated,
            "quantized_graph": settings.scheme != FLOAT and not settings.converter_quantizes,
            "arch": graph.arch,
            "class_names": graph.class_names or graph.labels,
            "num_classes": graph.num_classes,
            "features": FEATURES if settings.features_only else (),
            "eval": graph.transform.model_dump(),
            **{name: option.default for name, option in settings.format.options.items()},
            **settings.options,
        }
        arrays = None
        if converter.arguments:
            describe = function_of(converter.arguments)
            arguments, arrays = describe(graph.checkpoint, graph.input, settings.features_only)
            options |= arguments
        inputs = None if samples is None else _channels_last(graph.prepare(samples))
        job = ConversionJob(settings.format, converter, options, inputs, arrays)
        size = f"{graph.arch} {graph.transform.size}"
        key = f"{settings.format.name} {converter.module} {settings.scheme} {size}"
        with timed(self.progress, f"converting to {settings.format.title}", key):
            return convert(graph.model, out, job)


def _channels_last(inputs: NDArray[Any]) -> NDArray[Any]:
    """Inputs of a graph as N×H×W×3 float32."""
    inputs = inputs.astype(np.float32, copy=False)
    return inputs if inputs.shape[-1] == 3 else inputs.transpose(0, 2, 3, 1)


def export_graph(
    graph: Graph,
    settings: ExportSettings,
    path: Path,
    images: Images,
    progress: Progress = quiet,
) -> Artifact:
    """Write a float graph as an artifact that agrees with its network.

    Args:
        graph: of a checkpoint, exported with the settings; or of a float file.
        settings: the format and its options.
        path: of the file to write.
        images: N×H×W×3 uint8 images of the transform's size, to compare on.
        progress: told of the conversion and the comparison.

    Raises:
        ParityError: the file does not agree; nothing is written.
        OutputError: the folder cannot be written.
    """
    reference = network_reference(graph, features_only=settings.features_only)
    return write_artifact(graph, settings, path, images, reference, progress=progress)
