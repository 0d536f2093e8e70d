"""Sites: the parts of a network that can be quantized one by one, by their PyTorch names.

The name of a node in an exported graph contains the path of its module. Operators that a module's
own `forward` applies between its children have no module of their own; their sites are named after
what they join: `stages.1.2.add` is the residual of a block, `stages.1.2.xca` the attention between
qkv and proj.
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
"""Kinds of sites, in the order of the network; recipes use these names."""

LAYERS = ("Conv", "Gemm")
"""Operators with weights."""

ROUTING = ("Split", "Concat")
"""Operators that only move channels."""

ACTIVATIONS = ("Gelu", "HardSwish")

NAMES = {"norm_before": "norm_xca"}
"""Module of a deployment form → the module of the reference network that it stands for."""


@dataclass
class Site:
    """A part of the graph that can be quantized by itself: its nodes in graph order."""

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
    """The PyTorch name of a node's module; empty for the network's own forward.

    Exported names nest: `/stages.1/stages.1.2/xca/qkv/Conv` belongs to `stages.1.2.xca.qkv`.
    """
    path = ""
    for part in node_name.split("/")[1:-1]:
        part = NAMES.get(part, part)
        path = part if not path or part.startswith(f"{path}.") else f"{path}.{part}"
    return path


def _classify(node: ir.Node, module: str) -> tuple[str, Kind]:
    """The name and kind of the site that a node belongs to."""
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
    """The name of an Add's site: after the layer whose output it adds, or the one that reads it."""
    if any(v is not None and v.const_value is not None for v in node.inputs):
        return f"{module}.pos_embd"
    producers = [module_path(str(p.name)) for v in node.inputs if v and (p := v.producer())]
    if any(name.endswith(".pwconv2") for name in producers):
        return f"{module}.add"
    if any(name.endswith(".proj") for name in producers):
        return f"{module}.xca.add"
    readers = [module_path(str(user.name)) for user, _ in node.outputs[0].uses()]
    return f"{readers[0] if readers else module}.add"


def is_depthwise(node: ir.Node) -> bool:
    """Whether a convolution reads one channel for each of its outputs."""
    return node.op_type == "Conv" and "group" in node.attributes and groups(node) > 1


def groups(node: ir.Node) -> int:
    """The number of a convolution's groups."""
    return node.attributes["group"].as_int() if "group" in node.attributes else 1


def match_sites(pattern: str, names: Iterable[str]) -> list[str]:
    """The sites that a name or pattern (`stages.2.*.act`) matches.

    Raises:
        UsageError: it matches none; the nearest names are suggested.
    """
    candidates = list(names)
    matches = [name for name in candidates if fnmatch.fnmatchcase(name, pattern)]
    if not matches:
        raise unknown_name("site", pattern, candidates)
    return matches


def site_exceptions(patterns: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Site → reason, from patterns with reasons; the first pattern that matches a site counts.

    Raises:
        UsageError: a pattern that matches no site.
    """
    candidates = list(names)
    reasons: dict[str, str] = {}
    for pattern, reason in patterns.items():
        for name in match_sites(pattern, candidates):
            reasons.setdefault(name, reason)
    return reasons


def first_input(node: ir.Node) -> ir.Value:
    """The first operand of a node."""
    assert node.inputs[0] is not None  # noqa: S101 - every operator of a site has one
    return node.inputs[0]
