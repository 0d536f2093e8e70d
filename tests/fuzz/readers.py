"""Every reader of files that a user or a device gives, as one table.

A reader has a specimen, a folder that it accepts; the mutations of each file in it; and a call that
must end well or in an `EdgenextError`, within its limits of time and memory. `seal` repairs hashes
after a mutation, so that what is behind them is reached, too.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fuzz.device_readers import (
    SHA,
    device_report,
    device_results,
    import_bundle,
    post_results,
    read_probe,
    read_tools,
    seal_bundle,
    tool_outputs,
    use_link,
    write_answers,
    write_bundle,
    write_probe,
)
from fuzz.file_readers import (
    ENDINGS,
    adopt_file,
    exported,
    image_shard,
    image_zip,
    load_images,
    load_weights,
    mlmodel_mutation,
    onnx_mutation,
    open_it,
    read_caches,
    read_config,
    read_graph,
    read_metadata,
    read_recipe,
    read_registry,
    report_on,
    resume_training,
    run_file,
    run_folder,
    safetensors,
    safetensors_header,
    seal_artifact,
    tflite_metadata,
    torch_file,
    use_graph,
    write_caches,
    write_config,
    write_foreign,
    write_package,
    write_pictures,
    write_recipe,
    write_registry,
    write_tiny,
    write_training,
)
from fuzz.mutations import (
    Mutation,
    bytes_mutation,
    header_mutation,
    json_mutation,
    text_mutation,
    toml_mutation,
    zip_mutation,
)
from fuzz.package_readers import (
    entry_mutation,
    open_inside,
    read_package,
    write_inside,
)
from fuzz.package_readers import write_package as write_app_package


@dataclass(frozen=True)
class Reader:
    """One reader; see the module.

    `share` is its share of a campaign's inputs relative to the others, `tier` `fast` for those that
    the test suite runs, too. `limit_s` and `limit_mb` bound one input.
    """

    name: str
    build: Callable[[Path], object]
    files: Mapping[str, Mutation]
    read: Callable[[Path], object]
    seal: Callable[[Path], object] | None = None
    share: float = 1.0
    tier: str = "fast"
    limit_s: float = 10.0
    limit_mb: float = 2048.0

    def mutate(self, specimen: Path, folder: Path, rng: random.Random) -> None:
        """A copy of the specimen in `folder`, with one or two of its files changed."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(specimen, folder)
        names = sorted(self.files)
        for name in rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2)))):
            path = folder / name
            path.write_bytes(self.files[name](path.read_bytes(), rng))
        if self.seal and rng.random() < 0.8:
            self.seal(folder)


_npz = zip_mutation(header_mutation)


READERS: tuple[Reader, ...] = (
    Reader("manifest", write_tiny, {"it.onnx.json": json_mutation}, open_it),
    Reader(
        "manifest inside a file",
        write_inside,
        {"it.onnx": entry_mutation, "it.tflite": bytes_mutation, "it.xml": text_mutation},
        open_inside,
    ),
    Reader(
        "package",
        write_app_package,
        {"it.zip": zip_mutation(bytes_mutation), "results.json": json_mutation},
        read_package,
        share=0.3,
    ),
    Reader("ONNX graph", write_tiny, {"it.onnx": onnx_mutation}, read_graph, seal_artifact),
    Reader(
        "safetensors",
        safetensors,
        {
            "it.safetensors": safetensors_header,
            "it.json": json_mutation,
            "labels.txt": text_mutation,
        },
        load_weights,
    ),
    Reader("PyTorch zip", torch_file(True), {"it.pth": header_mutation}, load_weights, share=0.3),
    Reader(
        "PyTorch pickle", torch_file(False), {"it.pth": header_mutation}, load_weights, share=0.3
    ),
    Reader(
        "training checkpoint", write_training, {"checkpoint.pth": bytes_mutation}, resume_training
    ),
    Reader(
        "images",
        write_pictures,
        {f"data/a/x.{ending}": header_mutation for ending in ENDINGS},
        load_images,
        share=0.5,
    ),
    Reader(
        "zip of images",
        image_zip,
        {"data.zip": zip_mutation(bytes_mutation)},
        load_images,
        share=0.5,
    ),
    Reader("tar of images", image_shard, {"data.tar": bytes_mutation}, load_images, share=0.3),
    Reader("configuration", write_config, {"run.toml": toml_mutation}, read_config),
    Reader("recipe", write_recipe, {"recipe.toml": toml_mutation}, read_recipe),
    Reader(
        "run folder",
        run_folder,
        {
            "run.json": json_mutation,
            "predictions.npz": _npz,
            "images.json": json_mutation,
            "devices/one.json": json_mutation,
        },
        report_on,
        share=0.1,
    ),
    Reader(
        "caches",
        write_caches,
        {
            "stages.json": json_mutation,
            "weights/edgenext_xx_small.sha256.json": json_mutation,
        },
        read_caches,
    ),
    Reader("device registry", write_registry, {"devices.json": json_mutation}, read_registry),
    Reader(
        "results of a runner",
        device_results,
        {
            "results.jsonl": json_mutation,
            "sensors.jsonl": json_mutation,
            f"logits-{SHA}.f32": bytes_mutation,
        },
        device_report,
    ),
    Reader(
        "posts of a page",
        device_results,
        {"results.jsonl": json_mutation, f"logits-{SHA}.f32": bytes_mutation},
        post_results,
    ),
    Reader(
        "bundle",
        write_bundle,
        {
            "results/results.jsonl": json_mutation,
            "results/job.json": json_mutation,
            "results/logits": bytes_mutation,
        },
        import_bundle,
        seal_bundle,
    ),
    Reader(
        "vendors' tools",
        tool_outputs,
        {
            "passed_8.4.txt": text_mutation,
            "outputs.json": text_mutation,
            "times.json": json_mutation,
            "cpu.txt": text_mutation,
            "gpu_and_nnapi.txt": text_mutation,
            "output.raw": bytes_mutation,
            "script.txt": text_mutation,
        },
        read_tools,
    ),
    Reader(
        "probe",
        write_probe,
        {"jetson.txt": text_mutation, "android.txt": text_mutation},
        read_probe,
    ),
    Reader(
        "answers of a device",
        write_answers,
        dict.fromkeys(("hello", "owner", "need", "follow", "size", "piece"), text_mutation),
        use_link,
    ),
    Reader(
        "ONNX in its runtime",
        write_tiny,
        {"it.onnx": onnx_mutation},
        run_file,
        seal_artifact,
        0.01,
        "process",
        60,
    ),
    Reader(
        "metadata of others' files", write_foreign, {"metadata.json": json_mutation}, read_metadata
    ),
    Reader(
        "ONNX to adopt",
        write_foreign,
        {"it.onnx": onnx_mutation},
        adopt_file,
        None,
        0.01,
        "process",
        60,
    ),
    Reader(
        "ONNX to quantize",
        write_tiny,
        {"it.onnx": onnx_mutation},
        use_graph,
        seal_artifact,
        0.01,
        "process",
        60,
    ),
    Reader(
        "Core ML package",
        write_package,
        {
            "it.mlpackage/Manifest.json": json_mutation,
            "it.mlpackage/Data/com.apple.CoreML/model.mlmodel": mlmodel_mutation,
            "it.mlpackage/Data/com.apple.CoreML/weights/weight.bin": bytes_mutation,
        },
        run_file,
        seal_artifact,
        0.1,
        "converter",
    ),
    Reader(
        "TFLite file",
        exported("tflite"),
        {"edgenext_xx_small-32-fp32.tflite": bytes_mutation},
        run_file,
        seal_artifact,
        0.01,
        "converter",
        60,
    ),
    Reader(
        "TFLite metadata",
        exported("tflite"),
        {"edgenext_xx_small-32-fp32.tflite": bytes_mutation},
        tflite_metadata,
        share=0.1,
        tier="converter",
    ),
    Reader(
        "OpenVINO IR",
        exported("openvino"),
        {
            "edgenext_xx_small-32-fp32.xml": text_mutation,
            "edgenext_xx_small-32-fp32.bin": bytes_mutation,
        },
        run_file,
        seal_artifact,
        0.01,
        "converter",
        60,
    ),
    Reader(
        "ExecuTorch program",
        exported("executorch"),
        {"edgenext_xx_small-32-fp32.pte": bytes_mutation},
        run_file,
        seal_artifact,
        0.005,
        "converter",
        60,
    ),
)


def inputs_of(reader: Reader, total: int, readers: tuple[Reader, ...]) -> int:
    """How many of a campaign's inputs a reader gets; one at least."""
    return max(1, math.ceil(total * reader.share / sum(r.share for r in readers)))
