from __future__ import annotations

import onnx_ir as ir
import pytest
from quantized_graphs import float_graph, network

from edgenext.errors import UsageError
from edgenext.graph.sites import find_sites, match_sites, module_path, site_exceptions
from edgenext.models import zoo


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/stages.1/stages.1.2/xca/qkv/Conv", "stages.1.2.xca.qkv"),
        ("/downsample_layers.0/downsample_layers.0.1/LayerNormalization", "downsample_layers.0.1"),
        ("/stages.2/stages.2.5/convs.1/Conv", "stages.2.5.convs.1"),
        ("/stages.2/stages.2.5/norm_before/Conv", "stages.2.5.norm_xca"),
        ("/head/Gemm", "head"),
        ("/ReduceMean", ""),
    ],
)
def test_the_module_of_a_node(node: str, module: str) -> None:
    assert module_path(node) == module


@pytest.mark.parametrize("form", ["convT", "convC"])
@pytest.mark.parametrize("arch", ["edgenext_xx_small", "edgenext_xx_small_bn_hs"])
def test_every_module_of_the_network_is_a_site(arch: str, form: str) -> None:
    sites = find_sites(ir.from_proto(float_graph(arch, form)).graph)
    net = network(arch)
    folded = ("norm",) if zoo.arch(arch).batch_norm else ()
    for name, module in net.named_modules():
        kind = type(module).__name__
        leaf = name.rpartition(".")[2]
        if kind in ("Linear", "Conv2d", "GELU", "Hardswish") and leaf != "token_projection":
            assert name in sites, name
        elif kind in ("LayerNorm", "LayerNorm2d"):
            assert name in sites and sites[name].kind == "norm", name
    blocks = [n for n, m in net.named_modules() if type(m).__name__.endswith("Encoder")]
    for block in blocks:
        assert sites[f"{block}.add"].kind == "residual"
        if f"{block}.xca.qkv" in sites:
            assert sites[f"{block}.xca"].kind == "attention"
            assert sites[f"{block}.xca.add"].kind == "residual"
    assert sites["stages.1.1.pos_embd" if "xx" in arch else "stages.1.2.pos_embd"]
    assert folded or sites["norm"].kind == "norm"


def test_every_node_belongs_to_one_site() -> None:
    graph = ir.from_proto(float_graph()).graph
    nodes = [n for site in find_sites(graph).values() for n in site.nodes]
    assert len(nodes) == len(set(nodes)) == sum(n.op_type != "Constant" for n in graph)


def test_patterns() -> None:
    names = ["stages.0.0.act", "stages.0.1.act", "head"]
    assert match_sites("stages.*.act", names) == names[:2]
    with pytest.raises(UsageError, match=r"stages\.0\.[01]\.act"):
        match_sites("stages.0.2.act", names)
    reasons = site_exceptions({"stages.0.0.act": "first", "stages.*": "rest"}, names)
    assert reasons == {"stages.0.0.act": "first", "stages.0.1.act": "rest"}
