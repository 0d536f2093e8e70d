"""What MkDocs does for this site beside rendering `docs/`.

Reference pages are made from the code while the site is built, so none of them can say anything
else than the code does. CONTRIBUTING and CHANGELOG are pages too: they stay where readers of the
repository look for them. Links between these files and `docs/` work in both places.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import glossary
import reference_cli
import reference_json
import reference_python
import reference_tables
import reference_toml
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

GENERATED: dict[str, Callable[[], str]] = {
    "glossary.md": glossary.page,
    "reference/python.md": reference_python.page,
    "reference/run-toml.md": reference_toml.page,
    "reference/exit-codes.md": reference_tables.exit_codes,
    "reference/environment.md": reference_tables.environment,
    "reference/json.md": reference_json.page,
}
"""Pages that no file of `docs/` has, and what writes them."""

FROM_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository beside `docs/`, and the page that each is in the site."""

LINK = re.compile(r"(?<!!)\[(?P<text>[^\[\]]*)\]\((?P<target>[^()\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add a page for each command to the navigation, below that of the command line."""
    for entries in _lists(config.nav):
        for entry in entries:
            if isinstance(entry, dict) and entry.get("Command line") == reference_cli.INDEX:
                entry["Command line"] = [reference_cli.INDEX, *reference_cli.pages()]
    return config


def _lists(nav: object) -> Iterator[list[object]]:
    """Every list of entries in a navigation."""
    if isinstance(nav, list):
        yield nav
        for entry in nav:
            if isinstance(entry, dict):
                for value in entry.values():
                    yield from _lists(value)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and those of the repository's own files."""
    texts = {path: write() for path, write in GENERATED.items()}
    texts[reference_cli.INDEX] = reference_cli.index()
    texts |= {path: reference_cli.page(name) for path, name in reference_cli.paths().items()}
    for source, path in FROM_ROOT.items():
        if path != "index.md":
            texts[path] = _as_in_docs((ROOT / source).read_text("utf-8"))
    for path, text in texts.items():
        files.append(File.generated(config, path, content=text))
    return files


def _as_in_docs(text: str) -> str:
    """The Markdown of a file of the repository's root, with links as from a file of `docs/`."""

    def moved(match: re.Match[str]) -> str:
        target = match["target"]
        if "://" in target or target.startswith("#"):
            return match[0]
        inside = target.startswith("docs/")
        return f"[{match['text']}]({target.removeprefix('docs/') if inside else '../' + target})"

    return _outside_blocks(text, lambda part: LINK.sub(moved, part))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turn links that leave `docs/` into links to their pages, or into the name of the file.

    Raises:
        FileNotFoundError: the repository has no such file.
    """
    folder = PurePosixPath(page.file.src_uri).parent
    depth = len(folder.parts)

    def moved(match: re.Match[str]) -> str:
        path, _, anchor = match["target"].partition("#")
        parts = PurePosixPath(path).parts
        if "://" in path or parts[: depth + 1] != ("..",) * (depth + 1):
            return match[0]
        name = "/".join(parts[depth + 1 :])
        if not (ROOT / name).exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {name}, which does not exist")
        if name in FROM_ROOT:
            target = "../" * depth + FROM_ROOT[name]
            return f"[{match['text']}]({target}{'#' if anchor else ''}{anchor})"
        return f"{match['text']} (`{name}` in the repository)"

    return _outside_blocks(markdown, lambda part: LINK.sub(moved, part))


def _outside_blocks(text: str, change: Callable[[str], str]) -> str:
    """The text, changed where it is no block of code."""
    result, start = [], 0
    for match in CODE.finditer(text):
        result += [change(text[start : match.start()]), match[0]]
        start = match.end()
    return "".join([*result, change(text[start:])])
