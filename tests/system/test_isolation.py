"""Calls in a separate process: their result, their output, and how they fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgenext.errors import DataError, RuntimeFailedError
from edgenext.system import isolation
from edgenext.system.isolation import call_isolated

FUNCTIONS = """
import os, sys
from edgenext.errors import DataError

def echo(job):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    return {"job": job, "folder": os.getcwd()}

def refuse(job):
    raise DataError("no images", "Add some")

def fail(job):
    raise ValueError("broken")

def die(job):
    os.kill(os.getpid(), 9)

def sleep(job):
    import time
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the functions above importable in the other process, as the module `functions`."""
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    original = isolation.importable_package

    @contextmanager
    def importable_package() -> Iterator[dict[str, str]]:
        with original() as variables:
            path = os.pathsep.join((variables["PYTHONPATH"], str(tmp_path)))
            yield variables | {"PYTHONPATH": path}

    monkeypatch.setattr(isolation, "importable_package", importable_package)


def test_modules_of_another_folder(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "others.py").write_text("def one(job):\n    return {'one': 1}\n")
    folder = tmp_path / "more"
    call = call_isolated("others:one", {}, tmp_path / "log", "cannot", path=folder)
    assert call.result["one"] == 1


def test_the_result_the_output_and_the_peak(tmp_path: Path) -> None:
    call = call_isolated("functions:echo", {"n": 3}, tmp_path / "log", "cannot echo")
    assert call.result["job"] == {"n": 3}
    assert 5 < call.result["peak_mb"] < 500
    assert 0 < call.seconds < isolation.TIMEOUT_S
    assert sorted(call.output.splitlines()) == ["to stderr", "to stdout"]
    assert (tmp_path / "log").read_text() == call.output
    assert not Path(call.result["folder"]).exists()


def test_an_error_of_this_package_is_raised_again(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        call_isolated("functions:refuse", {}, tmp_path / "log", "cannot refuse")
    assert (caught.value.message, caught.value.remedy) == ("no images", "Add some")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("fail", "ValueError: broken"), ("die", "killed by signal 9: out of memory?")],
)
def test_a_process_that_dies_names_its_log(tmp_path: Path, name: str, reason: str) -> None:
    log = tmp_path / "log"
    with pytest.raises(RuntimeFailedError) as caught:
        call_isolated(f"functions:{name}", {}, log, "cannot do it")
    assert str(caught.value) == f"cannot do it: {reason}. The full log is {log}"
    assert log.is_file()


def test_a_process_that_takes_too_long_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "TIMEOUT_S", 2)
    with pytest.raises(RuntimeFailedError, match="cannot wait: no result after 2 s"):
        call_isolated("functions:sleep", {}, tmp_path / "log", "cannot wait")
