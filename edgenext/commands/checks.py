"""Comparing files with the hashes that records have of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from edgenext.errors import InputError
from edgenext.formats.artifact import companion_path, content_sha256, content_size, manifest_path
from edgenext.schema import HashProblem, Manifest
from edgenext.system.files import sha256_file
from edgenext.system.sums import own_hash


class Checks:
    """What was compared, and what differs.

    Args:
        root: the folder that was given, or that of the file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.hashes = 0
        self.problems: list[HashProblem] = []
        self.notes: list[str] = []
        self.covered: set[Path] = set()
        self.manifests: dict[Path, Manifest] = {}
        """The intact manifests by the path of their artifact."""
        self._digests: dict[tuple[Path, str], str] = {}

    def name(self, path: Path) -> str:
        """A path relative to the root; the name of a file that is elsewhere."""
        if not self._inside(path):
            return path.name
        return path.absolute().relative_to(self.root.absolute()).as_posix()

    def fail(self, path: Path, by: str, problem: str, actual: str = "", expected: str = "") -> None:
        """A file is not what a record says."""
        entry = HashProblem(
            file=self.name(path), by=by, problem=problem, actual=actual, expected=expected
        )
        if entry not in self.problems:
            self.problems.append(entry)

    def file(self, path: Path, by: str, expected: str) -> None:
        """Compare the bytes of a file with a record's sha256."""
        self.compare(path, by, expected, sha256_file)

    def content(self, path: Path, by: str, expected: str) -> None:
        """Compare an artifact's content with a record's sha256."""
        self.compare(path, by, expected, content_sha256)

    def compare(self, path: Path, by: str, expected: str, digest: Callable[[Path], str]) -> None:
        """Compare what a function gives for a path with what a record says."""
        self.hashes += 1
        self.cover(path)
        if not path.exists():
            self.fail(path, by, "is missing", "", expected)
            return
        if path.is_file() and companion_path(path) is None:
            digest = sha256_file  # which the others are too, of a single file
        key = (path.absolute(), digest.__name__)
        try:
            if key not in self._digests:
                self._digests[key] = digest(path)
        except InputError as e:
            self.fail(path, by, f"cannot be read: {e.message.rpartition(': ')[2]}")
            return
        if self._digests[key] != expected:
            self.fail(path, by, "was changed", self._digests[key], expected)

    def sealed(self, path: Path, key: str) -> bool:
        """Compare a record with the hash that it has of itself; False if it has none."""
        recorded, computed = own_hash(path.read_bytes(), key)
        if not recorded:
            return False
        self.hashes += 1
        self.cover(path)
        if recorded != computed:
            self.fail(path, "itself", "was changed", computed, recorded)
        return True

    def cover(self, path: Path) -> None:
        """A record has a hash of this file, or of everything in this folder."""
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        self.covered |= {file.absolute() for file in files}

    def artifact(self, path: Path) -> Manifest | None:
        """Compare an artifact with its manifest, and the manifest with its own hash.

        Returns:
            The manifest; None if it cannot be read.
        """
        file = manifest_path(path)
        by = self.name(file)
        try:
            sealed = self.sealed(file, "manifest_sha256")
            manifest = Manifest.model_validate_json(file.read_bytes())
        except ValidationError as e:
            first = e.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the file"
            self.cover(file)
            self.fail(file, "its schema", f"is not a manifest: {field}: {first['msg']}")
            return None
        except OSError as e:
            self.fail(file, "its schema", f"cannot be read: {e.strerror}")
            return None
        if not sealed:
            self.notes.append(
                f"{by} has no hash of itself: an earlier version wrote it, or it was edited"
            )
        self._content(path, by, manifest)
        self.manifests[path.absolute()] = manifest
        return manifest

    def _content(self, path: Path, by: str, manifest: Manifest) -> None:
        """Compare the files of an artifact, each by itself where its manifest has their hashes."""
        base = path if path.is_dir() else path.parent
        before = len(self.problems)
        for name, expected in manifest.files.items():
            self.file(base / name, by, expected)
        for part in filter(None, (path, companion_path(path))):
            self.cover(part)
        if len(self.problems) == before:  # else the files that differ are named
            self.content(path, by, manifest.sha256)
        if len(self.problems) == before and content_size(path) != manifest.size_bytes:
            self.fail(path, by, f"has not the {manifest.size_bytes} bytes that the manifest says")

    def _inside(self, path: Path) -> bool:
        return path.absolute().is_relative_to(self.root.absolute())
