"""Sites: the places of a network that can be quantized by themselves, by their PyTorch names.

A node of an exported graph carries the path of the module that made it. What a module's own
`forward` does between its children has no module; these sites are called after what they join:
`stages.1.2.add` is the residual of a block, `stages.1.2.xca` the attention between qkv and proj.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import onnx_ir as ir

from edgenext.errors import unknown_name

Kind = Literal[
    "stem",
    "downsample",
    "depthwise",
    "pointwise",
    "head",
    "activation",
    "residual",
    "routing",
    "norm",
    "attention",
    "pool",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a site is, along the network: the words of a recipe."""

LAYERS = ("Conv", "Gemm")
"""Operators with weights."""

ROUTING = ("Split", "Concat")
"""Operators that only move channels."""

ACTIVATIONS = ("Gelu", "HardSwish")

NAMES = {"norm_before": "norm_xca"}
"""Modules of a deployment form → the module of the reference network that they stand for."""


@dataclass
class Site:
    """A place that can be quantized by itself, and its nodes in graph order."""

    name: str
    kind: Kind
    nodes: list[ir.Node] = field(default_factory=list)


def find_sites(graph: ir.Graph) -> dict[str, Site]:
    """All sites of a deployment graph by name, in graph order."""
    sites: dict[str, Site] = {}
    for node in graph:
        if node.op_type == "Constant":
            continue
        module = module_path(str(node.name))
        name, kind = _classify(node, module)
        sites.setdefault(name, Site(name, kind)).nodes.append(node)
    return sites


def module_path(node_name: str) -> str:
    """The PyTorch name of the module that made a node; nothing for the network's own forward.

    Exported names nest: `/stages.1/stages.1.2/xca/qkv/Conv` is of `stages.1.2.xca.qkv`.
    """
    path = ""
    for part in node_name.split("/")[1:-1]:
        part = NAMES.get(part, part)
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path


def _classify(node: ir.Node, module: str) -> tuple[str, Kind]:
    """The site a node belongs to, and what kind that is."""
    leaf = module.rpartition(".")[2]
    if node.op_type in LAYERS:
        return module, _layer_kind(node, module, leaf)
    if node.op_type in ACTIVATIONS or leaf == "act":
        return module, "activation"
    if leaf == "xca":
        return module, "attention"
    if "norm" in leaf or module.startswith("downsample_layers"):
        return module, "norm"
    if node.op_type in ROUTING:
        return f"{module}.{node.op_type.lower()}", "routing"
    if node.op_type == "Add":
        return _residual_name(node, module), "residual"
    return (f"{module}.{node.op_type.lower()}" if module else "pool"), "pool"


def _layer_kind(node: ir.Node, module: str, leaf: str) -> Kind:
    if module.startswith("downsample_layers"):
        return "stem" if module.startswith("downsample_layers.0.") else "downsample"
    if leaf == "head":
        return "head"
    return "depthwise" if is_depthwise(node) else "pointwise"


def _residual_name(node: ir.Node, module: str) -> str:
    """An Add is called after the layer it adds to, or feeds."""
    if any(v is not None and v.const_value is not None for v in node.inputs):
        return f"{module}.pos_embd"
    makers = [module_path(str(p.name)) for v in node.inputs if v and (p := v.producer())]
    if any(m.endswith(".pwconv2") for m in makers):
        return f"{module}.add"
    if any(m.endswith(".proj") for m in makers):
        return f"{module}.xca.add"
    readers = [module_path(str(user.name)) for user, _ in node.outputs[0].uses()]
    return f"{readers[0] if readers else module}.add"


def is_depthwise(node: ir.Node) -> bool:
    """Whether a convolution reads one channel for each of its outputs."""
    return node.op_type == "Conv" and "group" in node.attributes and groups(node) > 1


def groups(node: ir.Node) -> int:
    """A convolution's groups."""
    return node.attributes["group"].as_int() if "group" in node.attributes else 1


def match(pattern: str, names: Iterable[str]) -> list[str]:
    """The sites a name or pattern (`stages.2.*.act`) stands for.

    Raises:
        UsageError: none; the nearest names are suggested.
    """
    known = list(names)
    found = [n for n in known if fnmatch.fnmatchcase(n, pattern)]
    if not found:
        raise unknown_name("site", pattern, known)
    return found


def exceptions(patterns: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Site → reason, from patterns with reasons; the first pattern that fits a site counts.

    Raises:
        UsageError: a pattern that fits no site.
    """
    known = list(names)
    found: dict[str, str] = {}
    for pattern, reason in patterns.items():
        for name in match(pattern, known):
            found.setdefault(name, reason)
    return found


def read(node: ir.Node) -> ir.Value:
    """The first operand of a node."""
    assert node.inputs[0] is not None  # noqa: S101 - every operator of a site has one
    return node.inputs[0]
