"""The list of environment variables is that of the code; the cache follows them."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from edgenext.devices.registry import devices_path
from edgenext.system.files import cache_folder
from edgenext.system.packaged import packaged_toml

PACKAGE = Path(str(resources.files("edgenext")))
READ = re.compile(r"""(?:environ(?:\.get|\.setdefault)?[\[(]|user_folder\()"([A-Z_]+)\"""")


def test_every_variable_that_the_code_reads_is_listed_and_no_other() -> None:
    code = "\n".join(path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py")))
    table = packaged_toml("edgenext", "environment.toml")["variable"]
    rows = [row["name"] for row in table]
    own = set(re.findall(r"\bEDGENEXT_[A-Z_]+\b", code))
    assert own == {name for name in rows if name.startswith("EDGENEXT_")}
    assert set(READ.findall(code)) - {"PYTHONPATH"} <= set(rows)
    assert [name for name in rows if name not in code] == []
    assert len(rows) == len(set(rows)) and all(row["description"] for row in table)


@pytest.mark.parametrize(
    ("own", "base", "folder"),
    [
        ("/here", "/there", "/here"),
        ("", "/there", "/there/edgenext"),
        ("", "there", "~/.cache/edgenext"),  # the XDG specification: a relative path is ignored
        ("", "", "~/.cache/edgenext"),
        ("", None, "~/.cache/edgenext"),
        (None, "/there", "/there/edgenext"),
    ],
)
def test_the_cache_is_where_the_environment_says(
    own: str | None, base: str | None, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("EDGENEXT_CACHE", own), ("XDG_CACHE_HOME", base)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert cache_folder("weights") == Path(folder).expanduser() / "weights"


def test_devices_are_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGENEXT_DEVICES", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/there")
    assert devices_path() == Path("/there/edgenext/devices.json")
    monkeypatch.setenv("XDG_CONFIG_HOME", "there")
    assert devices_path() == Path("~/.config/edgenext/devices.json").expanduser()
    monkeypatch.setenv("EDGENEXT_DEVICES", "mine.json")
    assert devices_path() == Path("mine.json")
