"""The documentation site: it builds strictly, its links hold, and it says what the code says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from console_blocks import ROOT

from edgenext import api
from edgenext.cli.group import command, listed
from edgenext.errors import EdgenextError
from edgenext.report.glossary import TERMS

pytest.importorskip("material", reason="no MkDocs Material (it comes with the test environment)")
jsonschema = pytest.importorskip(
    "jsonschema", reason="no jsonschema (it is of the test environment)"
)

HOOKS = ROOT / "docs" / "hooks"
SCHEMA = ROOT / "docs" / "reference" / "run.schema.json"
SWEEP_SCHEMA = SCHEMA.with_name("sweep.schema.json")


class Links(HTMLParser):
    """The identifiers of a page, its links, and what it loads by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link":
            self.loads.append(values["href"])
        elif tag in ("script", "img", "iframe", "source") and "src" in values:
            self.loads.append(values["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does."""
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def html(site: Path) -> dict[Path, Links]:
    return {path: Links(path) for path in sorted(site.rglob("*.html"))}


def test_every_link_leads_to_a_file_and_a_place_in_it(site: Path, html: dict[Path, Links]) -> None:
    assert len(html) > 50
    for path, page in html.items():
        if path.name == "404.html":
            continue  # its links are from the root of a server
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_relative_to(site.resolve()) and target.is_file(), (path, link)
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in html[target].ids, (path, link)


def test_no_page_asks_another_server(html: dict[Path, Links]) -> None:
    for path, page in html.items():
        loads = [address for address in page.loads if urlsplit(address).scheme]
        assert not [a for a in loads if urlsplit(a).scheme != "data"], (path, loads)


def test_search_finds_every_command_and_option(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    text = "\n".join(doc["text"] + doc["title"] for doc in index["docs"])
    assert "--max-drop" in text and "Tango" in text
    for name in listed():
        assert f"edgenext {name}" in text


def test_every_command_and_option_has_its_place(site: Path) -> None:
    for name in listed():
        text = (site / "reference" / "cli" / f"{name}.html").read_text("utf-8")
        parsed = command(name)
        for inner in getattr(parsed, "commands", {None: parsed}).values():
            context = inner.make_context(name, [], resilient_parsing=True)
            for parameter in inner.get_params(context):
                if parameter.param_type_name == "option" and not parameter.hidden:
                    assert all(f"{spelling}" in text for spelling in parameter.opts), name


def test_every_name_of_the_api_has_its_place(html: dict[Path, Links], site: Path) -> None:
    ids = html[site / "reference" / "python.html"].ids
    assert {f"edgenext.api.{name}" for name in dir(api)} <= ids


def test_every_term_of_a_report_has_its_place(html: dict[Path, Links], site: Path) -> None:
    assert set(TERMS) <= html[site / "glossary.html"].ids
    assert {"plain-folded", "twin", "drop", "site"} <= set(TERMS)


def test_every_exit_code_and_variable_is_listed(site: Path) -> None:
    codes = (site / "reference" / "exit-codes.html").read_text("utf-8")
    assert set(re.findall(r"<td>(\d+)</td>", codes)) >= {"0", "130", *map(str, exit_codes())}
    names = (site / "reference" / "environment.html").read_text("utf-8")
    assert "EDGENEXT_CACHE" in names and "EDGENEXT_DEBUG" in names


def exit_codes(error: type[EdgenextError] = EdgenextError) -> set[int]:
    return {error.exit_code}.union(*map(exit_codes, error.__subclasses__()))


def test_every_command_with_json_has_a_record() -> None:
    table = tomllib.loads((HOOKS / "outputs.toml").read_text("utf-8"))["commands"]
    with_json = set()
    for name in listed():
        parsed = command(name)
        inner = getattr(parsed, "commands", None)
        for sub, part in inner.items() if inner else ((None, parsed),):
            context = part.make_context(name, [], resilient_parsing=True)
            if any("--json" in parameter.opts for parameter in part.get_params(context)):
                with_json.add(f"{name} {sub}" if sub else name)
    assert set(table) == with_json


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads(SCHEMA.read_text("utf-8"))


@pytest.mark.parametrize(("name", "path"), [("run_schema", SCHEMA), ("sweep_schema", SWEEP_SCHEMA)])
def test_the_schema_is_what_the_code_says(name: str, path: Path) -> None:
    program = f"import {name}, sys; sys.stdout.buffer.write({name}.text().encode())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": f"{HOOKS}{os.pathsep}{ROOT}"},
        capture_output=True,
        check=True,
    )
    assert done.stdout == path.read_bytes(), f"it is written by python docs/hooks/{name}.py"


@pytest.mark.parametrize("path", [SCHEMA, SWEEP_SCHEMA], ids=str)
def test_every_key_of_the_schema_is_explained(path: Path) -> None:
    schema = json.loads(path.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for section in (schema, *schema["$defs"].values()):
        for key, value in section["properties"].items():
            assert len(value["description"]) > 8, key


def tomls() -> list[Any]:
    """The TOML of every run in this repository: the demo's, and those that docs show whole."""
    files = [p for p in ROOT.glob("**/demo.toml") if ".venv" not in p.parts]
    assert files
    shown = [
        block
        for page in sorted((ROOT / "docs").rglob("*.md"))
        for block in re.findall(r"^```toml[^\n]*\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        if re.search(r"^model = ", block, re.M) and "[grid]" not in block
    ]
    assert len(shown) >= 3
    return [tomllib.loads(text) for text in (*(p.read_text("utf-8") for p in files), *shown)]


def test_the_schema_takes_what_a_run_takes(schema: Any) -> None:
    for values in tomls():
        jsonschema.validate(values, schema)
        api.make_config(values)


def test_the_schema_of_a_sweep_takes_what_docs_show_and_no_mistakes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sweep.md").read_text("utf-8")
    (block,) = re.findall(r"^```toml[^\n]*\n(.*?)^```", page, re.M | re.S)
    schema, values = json.loads(SWEEP_SCHEMA.read_text("utf-8")), tomllib.loads(block)
    jsonschema.validate(values, schema)
    (tmp_path / "sweep.toml").write_text(block)
    assert len(api.read_sweep(tmp_path / "sweep.toml").points) == 2 * 2 * 3 * (2 * 2 - 1) * 2
    for wrong in ({"grid": {}}, {"shard": 0}, {"exclude": [{"sise": 1}]}, {"weights": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | wrong, schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"model": "edgenext_small"},
        {"wieghts": "x.pth"},
        {"limit": 0},
        {"max_drop": -1},
        {"baselines": ["onnxruntime", "tensorrt"]},
        {"exif": "rotate"},
        {"quantize": {"scheme": "w4a4"}},
        {"quantize": {"target": "toaster"}},
        {"quantize": {"N": 128}},
        {"bench": {"rounds": "30"}},
        {"stress": {"strength": 17}},
        {"train": {"epochs": 0}},
        {"train": {"momentum": 0.9}},
    ],
    ids=str,
)
def test_the_schema_refuses_mistakes(wrong: dict[str, Any], schema: Any) -> None:
    right = {"model": "edgenext_xx_small", "data": "digits"}
    jsonschema.validate(right, schema)
    complete = right | wrong if wrong and "model" not in wrong else wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(complete, schema)
