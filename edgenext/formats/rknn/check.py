"""Rockchip's toolkit on an RKNN file: which operators the NPU runs, and which its CPU."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from edgenext.errors import RefusedError
from edgenext.formats.placement import check_report, placements, refusals
from edgenext.formats.rknn.package import read_record, unpack
from edgenext.formats.rknn.platforms import PLATFORMS, require_platform
from edgenext.formats.rknn.session import preload
from edgenext.formats.rknn.simulation import start_simulator, working_folder
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

REASON = "the toolkit leaves it to the CPU"


def check(artifact: Artifact, platform: str = "") -> CheckReport:
    """On which unit of a Rockchip SoC each operator runs, by the table of the toolkit's log.

    Args:
        artifact: an RKNN file; its graph is built again.
        platform: a row of `platforms.toml`; if empty, the one that the file was built for.

    Raises:
        UsageError: unknown platform.
        MissingDependencyError: the private environment has not been made.
        RuntimeFailedError: the zip beside the file is missing or damaged.
        RuntimeCrashedError: the toolkit crashed.
    """
    own = require_platform(str(read_record(artifact.path)["platform"]))
    name = require_platform(platform or own)
    start = time.monotonic()
    fields: dict[str, Any] = {"accepted": False, "delegated": False}
    with scratch_folder() as scratch:
        folder = working_folder(scratch)
        unpack(artifact.path, folder)
        try:
            facts, _ = start_simulator(preload(), folder, name).request({})
        except RefusedError as e:
            facts = {"layers": [], "tool": ""}
            fields["errors"] = (e.message,)
    layers = facts["layers"]
    if layers:
        outside = [(row[0], row[3], REASON) for row in layers if row[2] != "npu"]
        units = {
            unit: Counter(row[0] for row in layers if row[2] == unit) for unit in ("npu", "cpu")
        }
        fields |= {
            "accepted": True,
            "delegated": not outside,
            "placements": placements(units),
            "refusals": refusals(outside),
        }
    return check_report(
        artifact,
        "rknn",
        unit="npu",
        compiler="rknn-toolkit2",
        version=facts["tool"].partition(" ")[2],
        seconds=round(time.monotonic() - start, 1),
        notes=(f"asked for {name}, {PLATFORMS[name].about}",),
        **fields,
    )
