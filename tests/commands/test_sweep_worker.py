"""Workers of a sweep agree on versions and arithmetic, or are named with what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from edgenext.commands.sweep_worker import QUIET_CORE, agreed, differences, facts, timing_machine
from edgenext.errors import SchedulerError
from edgenext.system.jobs.job import COMPUTE, WorkerAnswer


def answer(worker: str, *leases: str, **changes: Mapping[str, Any] | str) -> WorkerAnswer:
    """The facts of this process, of a worker where some differ."""
    own = facts()
    for name, value in changes.items():
        own[name] = value if isinstance(value, str) else own[name] | value
    return WorkerAnswer(worker, frozenset(leases), own)


def test_workers_that_are_alike_agree_with_this_process() -> None:
    terms = agreed([answer("a"), answer("b", QUIET_CORE)], ("/sweep/files",))
    assert differences(terms.expected, "") == ""
    assert terms.folders == ("/sweep/files",)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"versions": {"edgenext": "0.0.9"}}, "the worker b has edgenext 0.0.9, and .* is needed"),
        ({"versions": {"onnxruntime": "1.0"}}, "the worker b has onnxruntime 1.0"),
        ({"versions": {"extra": "1.0"}}, "the worker b has extra 1.0, and none is needed"),
        ({"package": "0"}, "the worker b has other source files of edgenext"),
        ({"arithmetic": {"isa": ["avx2"]}}, r"different CPUs, .* with avx2 \(b\)\. .*compute=1"),
    ],
)
def test_a_worker_that_differs_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SchedulerError, match=text):
        agreed([answer("a"), answer("b", **changes)], ())
    terms = agreed([answer("b")], ())
    other = dict(answer("b", **changes).answer)
    assert differences(other, "") != "" == differences(terms.expected, "")


def test_a_worker_that_only_holds_a_device_may_have_another_cpu() -> None:
    other = {"arithmetic": {"isa": ["avx2"]}}
    terms = agreed([answer("a", COMPUTE), answer("b", "orin", **other)], ())
    assert terms.expected["arithmetic"] == facts()["arithmetic"]
    assert differences(answer("b", **other).answer, "orin") == ""


def test_a_quiet_core_is_of_one_kind_of_machine() -> None:
    alike = [answer("a"), answer("b", QUIET_CORE), answer("c", QUIET_CORE)]
    assert timing_machine(alike).model_dump(mode="json") == facts()["machine"]
    with pytest.raises(SchedulerError, match=r"different machines: .* \(b\) and other \(d\)"):
        timing_machine([*alike, answer("d", QUIET_CORE, machine={"cpu": "other"})])
