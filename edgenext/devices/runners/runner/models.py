"""An artifact in its runtime: one class for each runtime."""

import json
import os
import platform
import sys

from .errors import JobError
from .machine import multiplies_bf16

UNITS = {
    "cpu": [],
    "gpu": ["CUDAExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
    "npu": ["QNNExecutionProvider"],
    "nnapi": ["NnapiExecutionProvider"],
}
"""onnxruntime's providers for a compute unit, besides the CPU's, which is always last."""
UNIT_OF = {
    "CPUExecutionProvider": "cpu",
    "CUDAExecutionProvider": "gpu",
    "TensorrtExecutionProvider": "tensorrt",
    "QNNExecutionProvider": "npu",
    "NnapiExecutionProvider": "nnapi",
}


def prepare(images, spec, job):
    """N×H×W×3 uint8 images as an input, in the artifact's layout and type."""
    import numpy as np

    if spec["dtype"] == "uint8" and spec.get("scale") is None:
        last = spec["shape"][3] == 3
        return np.ascontiguousarray(images if last else images.transpose(0, 3, 1, 2))
    mean = np.asarray(job["mean"], np.float32) * 255
    scale = 1 / (np.asarray(job["std"], np.float32) * 255)
    x = np.ascontiguousarray(((images - mean) * scale).transpose(0, 3, 1, 2))
    if len(spec["shape"]) == 4 and spec["shape"][3] == 3:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if spec.get("scale") is None:
        return x.astype(spec["dtype"])
    limits = np.iinfo(spec["dtype"])
    levels = np.round(x / spec["scale"]) + (spec.get("zero_point") or 0)
    return np.clip(levels, limits.min, limits.max).astype(spec["dtype"])


def content(path):
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def import_error(package, error):
    """The error of a package that cannot be imported, with a remedy."""
    # the loader ignores a file that is built for another processor, and reports it as missing
    path = str(error).partition(":")[0]
    is_foreign = "shared object" in str(error) and os.path.exists(path)
    cause = "it is built for another processor: " if is_foreign else ""
    return JobError(
        "%s cannot be imported on the device (%s%s): install it there for %s, Python %s"
        % (package, cause, error, platform.machine(), platform.python_version())
    )


def version(library):
    """A package's version, from its module or from its metadata."""
    if hasattr(library, "__version__"):
        return library.__version__
    try:
        from importlib import metadata

        return metadata.version(library.__name__.partition(".")[0].replace("_", "-"))
    except Exception:  # noqa: BLE001 - older Pythons and some packages have no metadata
        return "unknown"


class OnnxModel:
    """An ONNX file in onnxruntime."""

    package = "onnxruntime"

    runtime = "onnxruntime"
    partitions = None
    precision = ()

    def __init__(self, path, artifact, threads, profile=None):
        ort = self.library()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if profile:
            options.enable_profiling = True
            options.profile_file_prefix = profile
        available = ort.get_available_providers()
        providers = [p for p in UNITS[artifact["unit"]] if p in available]
        self._session = ort.InferenceSession(path, options, providers + ["CPUExecutionProvider"])
        self.unit = UNIT_OF[self._session.get_providers()[0]]
        self._input, self._output = artifact["input"]["name"], artifact["output"]

    @staticmethod
    def library():
        """onnxruntime, imported."""
        try:
            import onnxruntime
        except (ImportError, OSError) as e:
            raise import_error("onnxruntime", e) from e
        return onnxruntime

    def infer(self, prepared):
        """Logits of one prepared batch."""
        return self._session.run([self._output], {self._input: prepared})[0]

    @classmethod
    def placement(cls, path, artifact, threads, images, job):
        """Operators by unit and name, from onnxruntime's own profile."""
        model = cls(path, artifact, threads, profile="placement")
        model.infer(prepare(images, artifact["input"], job))
        profile = model._session.end_profiling()
        with open(profile) as file:
            events = json.load(file)
        os.remove(profile)
        units = {}
        for event in events:
            arguments = event.get("args", {})
            if event.get("cat") == "Node" and arguments.get("provider"):
                unit = UNIT_OF.get(arguments["provider"], arguments["provider"])
                counts = units.setdefault(unit, {})
                name = arguments.get("op_name", "?")
                counts[name] = counts.get(name, 0) + 1
        return units


class TfliteModel:
    """A TFLite file in LiteRT with XNNPACK."""

    package = "ai-edge-litert"

    runtime = "litert"
    unit = "cpu"
    precision = ()

    def __init__(self, path, artifact, threads):
        if artifact["unit"] != "cpu":
            raise JobError(
                "LiteRT's Python package does not support the unit %s: use benchmark_model"
                % artifact["unit"]
            )
        interpreter = self.library().Interpreter
        self._interpreter = interpreter(model_content=content(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        details = self._interpreter.get_output_details()
        chosen = [detail for detail in details if detail["name"] == artifact["output"]]
        self._output = (chosen or details)[0]
        ops = self._interpreter._get_ops_details()
        self.partitions = sum(op["op_name"] == "DELEGATE" for op in ops)

    @staticmethod
    def library():
        """LiteRT's interpreter module, imported."""
        try:
            from ai_edge_litert import interpreter
        except (ImportError, OSError) as first:
            try:
                from tflite_runtime import interpreter
            except (ImportError, OSError):
                raise import_error("ai-edge-litert", first) from first
        return interpreter

    def infer(self, prepared):
        """Logits of one prepared batch."""
        import numpy as np

        self._interpreter.set_tensor(self._input, prepared)
        self._interpreter.invoke()
        value = self._interpreter.get_tensor(self._output["index"])
        scale, zero = self._output["quantization"]
        if value.dtype == np.float32 or not scale:
            return np.asarray(value, np.float32)
        return (value.astype(np.float32) - zero) * np.float32(scale)

    @classmethod
    def placement(cls, path, artifact, threads, images, job):
        """Empty: all operators run on the CPU."""
        return {}


class OpenVinoModel:
    """An ONNX file or an IR, with `artifact["weights"]` beside it, in OpenVINO."""

    package = "openvino"

    runtime = "openvino"
    unit = "cpu"
    partitions = None

    def __init__(self, path, artifact, threads):
        if artifact["unit"] != "cpu":
            raise JobError("the runner has OpenVINO for the CPU, not for %s" % artifact["unit"])
        core = self.library().Core()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": artifact["precision"],
        }
        # OpenVINO tells the format of a file by its ending, and files here are named by their hash
        names = [path]
        if artifact["weights"]:
            names.append(os.path.join(os.path.dirname(path), artifact["weights"]))
        compiled = core.compile_model(core.read_model(*map(content, names)), "CPU", settings)
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        multiplies = multiplies_bf16() if precision == "bf16" else True
        self.precision = {
            "precision_asked": artifact["precision"],
            "precision": precision,
            "precision_emulated": None if multiplies is None else not multiplies,
        }
        self._core = core  # of two in a process, one must not end before the other
        self._output = compiled.output(artifact["output"])
        self._request = compiled.create_infer_request()

    @staticmethod
    def library():
        """OpenVINO, imported without the package that reports its use over the network."""
        sys.modules["openvino_telemetry"] = None
        try:
            import openvino
        except (ImportError, OSError) as e:
            raise import_error("openvino", e) from e
        return openvino

    def infer(self, prepared):
        """Logits of one prepared batch."""
        import numpy as np

        outputs = self._request.infer([prepared], share_inputs=True, share_outputs=True)
        return np.array(outputs[self._output], np.float32)

    @classmethod
    def placement(cls, path, artifact, threads, images, job):
        """Empty: all operators run on the CPU."""
        return {}


MODELS = {model.runtime: model for model in (OnnxModel, TfliteModel, OpenVinoModel)}
