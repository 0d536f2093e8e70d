from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import weights as golden
from private import private_python

from edgenext.errors import DataError, InputError, UsageError
from edgenext.formats.session import normalise
from edgenext.formats.tflite.tensorflow import SCHEMES, convert
from edgenext.graph.forms import deployed_arrays
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.schema import EvalTransform
from edgenext.targets.scheme import CALIBRATED

ROOT = Path(__file__).parents[2]
SIZE = 64
TRANSFORM = EvalTransform(size=SIZE, crop_pct=1.0)
XXS, BN = "edgenext_xx_small", "edgenext_xx_small_bn_hs"
ARCHS = list(zoo.arch_table())
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D")
WORK = """
import json, sys
from edgenext.formats.tflite.tensorflow import convert
for job in json.load(sys.stdin):
    print(json.dumps(convert(job)))
"""

litert = pytest.importorskip("ai_edge_litert.interpreter")


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter that has tensorflow."""
    return private_python("tensorflow")


def network(arch: str) -> EdgeNeXt:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return net.eval()


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)


def channel_last(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(normalise(pictures, TRANSFORM).transpose(0, 2, 3, 1))


def job(folder: Path, arch: str = XXS, scheme: str = "fp32", **options: Any) -> dict[str, Any]:
    pixels = bool(options.get("pixels"))
    weights = folder / f"{arch}{'-pixels' * pixels}.npz"
    net = network(arch)
    if not weights.exists():
        np.savez(weights, **deployed_arrays(net, SIZE, SIZE, TRANSFORM if pixels else None))
    calibration = folder / f"calibration{'-pixels' * pixels}.npy"
    pictures = images(8, seed=1)
    np.save(calibration, pictures.astype(np.float32) if pixels else channel_last(pictures))
    return {
        "weights": str(weights),
        "arch": dataclasses.asdict(net.arch),
        "num_classes": net.num_classes,
        "size": [SIZE, SIZE],
        "batch": 1,
        "scheme": scheme,
        "calibrated": scheme in CALIBRATED,
        "samples": str(calibration) if scheme in CALIBRATED else None,
        "integer_io": False,
        "pixels": False,
        "out": str(folder / f"{arch}-{scheme}-{'-'.join(options)}.tflite"),
    } | options


def run_jobs(python: str, *jobs: dict[str, Any]) -> list[Path]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [python, "-c", WORK],
        input=json.dumps(jobs),
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert process.stdout.count('"tool": "tensorflow ') == len(jobs)
    return [Path(j["out"]) for j in jobs]


def interpreter(file: Path, delegate: bool = True) -> Any:
    kinds = litert.OpResolverType
    kind = kinds.AUTO if delegate else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    result = litert.Interpreter(str(file), num_threads=1, experimental_op_resolver_type=kind)
    result.allocate_tensors()
    return result


def operators(file: Path, delegate: bool = False) -> Counter[str]:
    return Counter(o["op_name"] for o in interpreter(file, delegate)._get_ops_details())


def logits(file: Path, inputs: np.ndarray) -> np.ndarray:
    """N×K logits of inputs, which are quantized, and dequantized, as the file requires."""
    runner = interpreter(file)
    (source,), (target,) = runner.get_input_details(), runner.get_output_details()
    scale, zero = source["quantization"]
    if source["dtype"] == np.int8:
        inputs = np.clip(np.round(inputs / scale) + zero, -128, 127).astype(np.int8)
    outputs = []
    for start in range(0, len(inputs), source["shape"][0]):
        runner.set_tensor(source["index"], inputs[start : start + source["shape"][0]])
        runner.invoke()
        outputs.append(runner.get_tensor(target["index"]))
    values = np.concatenate(outputs)
    scale, zero = target["quantization"]
    return (values.astype(np.float32) - zero) * scale if target["dtype"] == np.int8 else values


def sqnr_db(file: Path, arch: str = XXS, n: int = 8) -> float:
    pictures = images(n)
    raw = interpreter(file).get_input_details()[0]["dtype"] == np.uint8
    with torch.no_grad():
        expected = network(arch)(torch.from_numpy(normalise(pictures, TRANSFORM))).numpy()
    return fidelity(expected, logits(file, pictures if raw else channel_last(pictures))).sqnr_db


def mismatched_biases(file: Path) -> list[int]:
    """Layers whose bias has a scale other than input × kernel."""
    runner = interpreter(file, delegate=False)
    scales = {
        t["index"]: t["quantization_parameters"]["scales"] for t in runner.get_tensor_details()
    }
    layers = [o for o in runner._get_ops_details() if o["op_name"] in LAYERS]
    quantized = [tuple(o["inputs"]) for o in layers if len(scales[o["inputs"][2]])]
    assert quantized
    return [
        int(b)
        for x, w, b in quantized
        if not np.allclose(scales[b], scales[x] * scales[w], rtol=1e-4, atol=0)
    ]


def require_float(file: Path, arch: str) -> None:
    """A float file has the network's operators in one piece, and its logits."""
    assert sqnr_db(file, arch) > 110, arch
    counts, built = operators(file), network(arch).arch
    assert operators(file, delegate=True)["DELEGATE"] == 1
    assert counts["TRANSPOSE"] == 2 * 3  # into each attention and out of it
    assert counts["HARD_SWISH" if built.batch_norm else "GELU"] == sum(built.depths)


def require_integer(file: Path, arch: str) -> None:
    """A w8a8-static file is one piece, and close to the network."""
    assert sqnr_db(file, arch) > 24, arch  # 28.0 measured of XXS
    assert operators(file, delegate=True)["DELEGATE"] == 1
    assert not mismatched_biases(file)


@pytest.fixture(scope="module")
def files(python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Path]:
    """Architecture and scheme → its file, made by one process."""
    folder = tmp_path_factory.mktemp("tensorflow")
    keys = [(XXS, s) for s in SCHEMES] + [(BN, "fp32"), (BN, "w8a8-static")]
    return dict(zip(keys, run_jobs(python, *(job(folder, *key) for key in keys)), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("arch", [XXS, BN])
def test_files_agree_with_torch(files: dict[tuple[str, ...], Path], arch: str) -> None:
    require_float(files[arch, "fp32"], arch)
    require_integer(files[arch, "w8a8-static"], arch)


@pytest.mark.campaign
def test_files_of_every_architecture_agree_with_torch(python: str, tmp_path: Path) -> None:
    others = [arch for arch in ARCHS if arch not in (XXS, BN)]
    for scheme, require in (("fp32", require_float), ("w8a8-static", require_integer)):
        made = run_jobs(python, *(job(tmp_path, arch, scheme) for arch in others))
        for arch, file in zip(others, made, strict=True):
            require(file, arch)


@pytest.mark.slow
def test_schemes(files: dict[tuple[str, ...], Path]) -> None:
    made = {scheme: files[XXS, scheme] for scheme in SCHEMES}
    db = {scheme: sqnr_db(file) for scheme, file in made.items()}
    size = {scheme: file.stat().st_size for scheme, file in made.items()}
    assert db["fp32"] > 110 and db["fp16"] > 50
    assert db["w8a16-static"] > db["w8a8-static"] + 3
    assert db["w8-weight-only"] > db["w8a8-dynamic"] > db["w8a8-static"] > 20
    assert size["fp16"] < 0.55 * size["fp32"]
    assert max(size[s] for s in SCHEMES[2:]) < 0.35 * size["fp32"]
    for scheme in set(SCHEMES) - {"w8a16-static"}:
        assert operators(made[scheme], delegate=True)["DELEGATE"] == 1, scheme
    assert not mismatched_biases(made["w8a16-static"])
    assert not operators(made["w8a8-dynamic"])["QUANTIZE"]


@pytest.mark.campaign
def test_the_same_fp32_job_gives_the_same_bytes(
    python: str, files: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    (again,) = run_jobs(python, job(tmp_path))
    assert again.read_bytes() == files[XXS, "fp32"].read_bytes()


@pytest.mark.slow
@pytest.mark.campaign
def test_inputs_and_outputs_and_equal_bytes(
    python: str, files: dict[tuple[str, ...], Path], tmp_path: Path
) -> None:
    jobs = [
        job(tmp_path, pixels=True, batch=4),
        job(tmp_path, scheme="w8a8-static", integer_io=True),
        job(tmp_path, scheme="w8a8-static", integer_io=True, pixels=True),
        job(tmp_path, scheme="w8a8-static"),
    ]
    *made, again = run_jobs(python, *jobs)
    kinds = [(np.uint8, np.float32), (np.int8, np.int8), (np.uint8, np.int8)]
    for file, kind, least, batch in zip(made, kinds, (110, 20, 20), (4, 1, 1), strict=True):
        runner = interpreter(file)
        (source,), (target,) = runner.get_input_details(), runner.get_output_details()
        assert (source["dtype"], target["dtype"]) == kind
        assert list(source["shape"]) == [batch, SIZE, SIZE, 3]
        assert list(runner.get_signature_list()["serving_default"].values()) == [
            ["input"],
            ["logits"],
        ]
        assert sqnr_db(file) > least
    assert again.read_bytes() == files[XXS, "w8a8-static"].read_bytes()  # by another process


@pytest.mark.campaign
def test_other_inputs_in_integers(python: str, tmp_path: Path) -> None:
    jobs = [job(tmp_path, scheme="w8a8-static", **o) for o in ({"pixels": True}, {"batch": 4})]
    pixels, four = run_jobs(python, *jobs)
    assert interpreter(pixels).get_input_details()[0]["dtype"] == np.uint8
    assert list(interpreter(four).get_input_details()[0]["shape"]) == [4, SIZE, SIZE, 3]
    assert sqnr_db(pixels) > 24 and sqnr_db(four) > 24  # 27.6 measured


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scheme": "w4"}, UsageError, "unknown scheme 'w4'"),
        ({"scheme": "w8a8-static", "calibrated": True}, UsageError, "needs calibration images"),
        ({"integer_io": True}, UsageError, "fp32 has no integer input"),
        ({"num_classes": 7}, InputError, "no head of 7×168"),
        ({"weights": "absent.npz"}, InputError, "cannot read the weights absent.npz"),
        (
            {"scheme": "w8a8-static", "calibrated": True, "samples": "small.npy"},
            DataError,
            "are 2×32×32×3, not",
        ),
    ],
)
def test_bad_jobs(
    change: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    if "samples" in change:
        change = {**change, "samples": str(tmp_path / "small.npy")}
        np.save(change["samples"], np.zeros((2, 32, 32, 3), np.float32))
    with pytest.raises(error, match=message):
        convert(job(tmp_path) | change)
