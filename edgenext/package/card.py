"""The model card of a package: a header that Hugging Face reads, and the rest for people."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgenext.formats.artifact import Artifact
from edgenext.formats.embedded import weights_sha256
from edgenext.formats.format import FORMATS
from edgenext.package.literals import yaml
from edgenext.package.results import Accuracy
from edgenext.package.samples import Sample
from edgenext.report.markdown_text import code_of, table_row, text_of
from edgenext.report.text import enumerated, number, span
from edgenext.report.use import preprocessing_words
from edgenext.schema import ExpectedAnswers, Manifest

LIBRARIES = {
    "onnx": "onnxruntime",
    "tflite": "litert",
    "coreml": "coreml",
    "openvino": "openvino",
    "executorch": "executorch",
}
"""Format → what Hugging Face calls the library that runs it."""


def pretrained_cfg(manifest: Manifest) -> dict[str, Any]:
    """A network's preprocessing under timm's keys."""
    t = manifest.eval
    return {
        "architecture": manifest.arch,
        "num_classes": manifest.num_classes,
        "input_size": [3, t.size, t.size],
        "crop_pct": t.crop_pct,
        "crop_mode": "center",
        "interpolation": t.interpolation,
        "mean": list(t.mean),
        "std": list(t.std),
    }


@dataclass(frozen=True)
class Card:
    """What a card says; `results` is by the sha256 of a file."""

    artifacts: Sequence[Artifact]
    samples: Sequence[Sample]
    expected: ExpectedAnswers
    results: Mapping[str, Accuracy]
    python: Sequence[str]
    """The names of the samples in Python."""
    web: bool
    """Whether onnxruntime-web is in the package."""

    @property
    def manifest(self) -> Manifest:
        """Of the first file: what the files share is in each."""
        return self.artifacts[0].manifest

    def text(self) -> str:
        """The whole card."""
        parts = [*self._header(), "", *self._body()]
        return "\n".join(parts) + "\n"

    def _header(self) -> Iterator[str]:
        m = self.manifest
        yield "---"
        yield f"pipeline_tag: {yaml('image-classification')}"
        yield f"library_name: {yaml(LIBRARIES.get(m.format, m.format))}"
        yield f"license: {yaml('other')}"
        yield f"license_name: {yaml('that-of-the-weights')}"
        yield f"license_link: {yaml('LICENSE')}"
        yield f"tags: {yaml(self._tags())}"
        if datasets := self._datasets():
            yield f"datasets: {yaml(datasets)}"
        yield f"pretrained_cfg: {yaml(pretrained_cfg(m))}"
        if self.results:
            yield f"metrics: {yaml(['accuracy'])}"
            yield f"model-index: {yaml(list(self._index()))}"
        yield "---"

    def _tags(self) -> list[str]:
        formats = dict.fromkeys(artifact.manifest.format for artifact in self.artifacts)
        return ["edgenext", "image-classification", *formats]

    def _datasets(self) -> list[str]:
        """The names of the images that decided or measured a file."""
        names = [row.dataset for row in self.results.values()]
        for artifact in self.artifacts:
            names += [images.subset.data for images in artifact.manifest.fitted_on]
            division = artifact.manifest.division
            names += [division.data] if division else []
        return list(dict.fromkeys(names))

    def _index(self) -> Iterator[dict[str, Any]]:
        """The entries of `model-index`, a file each."""
        for artifact in self.artifacts:
            row = self.results.get(artifact.manifest.sha256)
            if row is None:
                continue
            dataset: dict[str, Any] = {"name": row.dataset, "type": _slug(row.dataset)}
            if row.data and row.data.split:
                dataset["split"] = row.data.split
            metrics = [
                {
                    "type": "accuracy",
                    "name": f"{name} accuracy in percent",
                    "value": round(value, 3),
                    "args": {"n": row.n, "ci95": [round(end, 3) for end in interval]},
                }
                for name, (value, interval) in row.metrics.items()
            ]
            task = {"type": "image-classification", "name": "Image classification"}
            result = {"task": task, "dataset": dataset, "metrics": metrics}
            yield {"name": artifact.name, "results": [result]}

    def _body(self) -> Iterator[str]:
        m = self.manifest
        yield f"# {text_of(m.arch)}"
        yield ""
        yield f"An EdgeNeXt image classifier of {m.num_classes:,} classes, {m.eval.size} px."
        yield ""
        yield table_row(["File", "Format", "Scheme", "MiB", "SHA-256"])
        yield table_row(["---"] * 5)
        for artifact in self.artifacts:
            own = artifact.manifest
            yield table_row(
                [
                    code_of(artifact.path.name),
                    FORMATS[own.format].title,
                    own.scheme,
                    number(own.size_bytes / 2**20, 2),
                    code_of(own.sha256[:16] + "…"),
                ]
            )
        yield from self._use()
        yield from self._preprocessing()
        yield from self._accuracy()
        yield from self._provenance()

    def _use(self) -> Iterator[str]:
        yield from ("", "## Use", "", "Each line is typed in this folder.", "")
        for name in self.python:
            yield f"- Python: {code_of(f'python {name} example.png')}"
        for row in self.samples:
            command = f": {code_of(row.use)}" if row.use else ""
            yield f"- {row.title}, {code_of(row.file)}{command}"
        if not self.web and any(row.file.startswith("web/") for row in self.samples):
            yield ""
            yield (
                "The page needs the npm package `onnxruntime-web`: put the three files that it "
                "names into `web/`."
            )
        best = next(iter(self.expected.files.values()))[0]
        answer = f"{best.index} {best.name}".strip()
        yield ""
        yield (
            f"`example.png` is class {text_of(answer)} with {best.probability:.1%}; "
            "`expected.json` has the five best classes of each file. "
            "`labels.txt` has the name of each class on a line, in the order of the outputs."
        )

    def _preprocessing(self) -> Iterator[str]:
        yield from ("", "## Preprocessing", "")
        for artifact in self.artifacts:
            own = artifact.manifest
            words = preprocessing_words(own.eval, own.input)
            yield f"- {code_of(artifact.path.name)}: {text_of(words)}."
        yield ""
        yield "`preprocessing.json` says the same to programs, with timm's `pretrained_cfg`."
        yield "Pixels and resizing are those of Pillow, whose resizing has antialiasing."

    def _accuracy(self) -> Iterator[str]:
        if not self.results:
            return
        yield from ("", "## Accuracy", "")
        yield table_row(["File", "Images", "n", "Top-1 in %", "Top-5 in %", "Evidence"])
        yield table_row(["---"] * 6)
        for artifact in self.artifacts:
            row = self.results.get(artifact.manifest.sha256)
            if row is None:
                continue
            figures = [
                f"{number(value, 2)} ({span(*interval, 2)})"
                for value, interval in row.metrics.values()
            ]
            name = code_of(artifact.path.name)
            yield table_row([name, text_of(row.dataset), f"{row.n:,}", *figures, row.evidence])
        yield ""
        yield "In brackets are Wilson's intervals of 95 %."

    def _provenance(self) -> Iterator[str]:
        yield from ("", "## Where the files come from", "")
        for artifact in self.artifacts:
            m = artifact.manifest
            facts = [f"made from {code_of(weights_sha256(m) or 'unnamed weights')}"]
            if m.calibration:
                subset = m.calibration.subset
                facts.append(f"calibrated on {subset.n} images of {text_of(subset.data)}")
            if m.parity:
                against = text_of(m.parity.against)
                facts.append(f"{number(m.parity.sqnr_db, 1)} dB SQNR against {against}")
            yield f"- {code_of(artifact.path.name)}: {enumerated(facts)}."
        yield ""
        yield (
            "Made with `edgenext package`. `edgenext verify` compares every file with its hash; "
            "`sha256sum --check SHA256SUMS` does so without it."
        )
        yield from ("", "## License", "")
        yield (
            "The samples are under the MIT license in `LICENSE`. The deployment files have the "
            "license of their weights."
        )


def _slug(name: str) -> str:
    """A name in lower case, with dashes for everything but letters, digits and dots."""
    return re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-") or "images"
