"""Run an ONNX file in a runtime that shares no code with onnxruntime: `run.py NAME FILE IN OUT`.

`IN` is a .npy of the images as the file takes them, one at a time; `OUT` gets the logits, N×K. Run
by the interpreter of the environment of `make oracles`, which has none of this package.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Run = Callable[[np.ndarray], np.ndarray]


def tract(file: Path) -> Run:
    """tract, in Rust."""
    import tract

    model = tract.onnx().load(str(file)).into_model().into_runnable()
    return lambda x: model.run([x])[0].to_numpy()


def iree(file: Path) -> Run:
    """IREE, by torch-mlir's importer and LLVM."""
    import subprocess

    from iree import runtime
    from iree.compiler.tools import compile_file

    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder, "graph.mlir")
        importer = [sys.executable, "-m", "iree.compiler.tools.import_onnx"]
        subprocess.run([*importer, str(file), "-o", str(graph)], check=True)
        generic = ["--iree-llvmcpu-target-cpu=generic"]
        program = compile_file(
            str(graph), input_type="onnx", target_backends=["llvm-cpu"], extra_args=generic
        )
    context = runtime.SystemContext(config=runtime.Config("local-task"))
    context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, program))
    names = context.modules.module.vm_module.function_names
    (name,) = (n for n in names if "$" not in n and not n.startswith("__"))
    function = context.modules.module[name]
    # a copy: the array is a view of memory that IREE takes back
    return lambda x: np.array(function(x).to_host())


def tvm(file: Path) -> Run:
    """TVM's Relax, by its ONNX importer and LLVM."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(file), keep_params_in_input=False)
    module = relax.get_pipeline("zero")(module)
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())

    def run(x: np.ndarray) -> np.ndarray:
        result = machine["main"](tvm.runtime.tensor(x))
        return (result if hasattr(result, "numpy") else result[0]).numpy()

    return run


ORACLES: dict[str, Callable[[Path], Run]] = {"tract": tract, "iree": iree, "tvm": tvm}


def main(name: str, file: str, inputs: str, out: str) -> None:
    """Write the logits of all images."""
    run = ORACLES[name](Path(file))
    rows = [run(np.ascontiguousarray(x[None])).reshape(1, -1) for x in np.load(inputs)]
    np.save(out, np.concatenate(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
