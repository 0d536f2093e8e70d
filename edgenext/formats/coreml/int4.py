"""Weights of a Core ML program in 4 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

NAME = "edgenext::int4_weights"
LIMIT = 7
"""The largest level of int4 weights."""


def register_int4_pass() -> str:
    """Register a pass that stores weights in 4 bits where their levels fit; its name.

    The converter stores them as int8, with scales that use all of its range unless the quantizer
    chose int4.
    """
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY, register_pass

    int4 = types.nptype_from_builtin(types.int4)

    class Int4Weights(AbstractGraphPass):  # type: ignore[misc]
        def apply(self, prog: Any) -> None:
            for function in prog.functions.values():
                for op in list(function.operations):
                    if op.op_type == "constexpr_blockwise_shift_scale" and _fits(op.data.val):
                        self._narrow(function, op)

        def _narrow(self, function: Any, op: Any) -> None:
            with function:
                narrow = Builder.constexpr_blockwise_shift_scale(
                    data=op.data.val.astype(int4), scale=op.scale.val, before_op=op
                )
            function.replace_uses_of_var_after_op(
                anchor_op=op,
                old_var=op.outputs[0],
                new_var=narrow,
                force_replace=True,
            )
            function.remove_ops([op])

    if NAME not in PASS_REGISTRY.passes:
        register_pass(namespace="edgenext", name="int4_weights")(Int4Weights)
    return NAME


def _fits(levels: Any) -> bool:
    """Whether weights are within the range of int4, and stored wider."""
    return levels.dtype == np.int8 and int(np.abs(levels.astype(np.int16)).max()) <= LIMIT
