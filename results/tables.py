"""Write docs/results.md and the figures of README.md from the JSON files of this folder.

    python results/tables.py [--check] [--root CHECKOUT]

`--check` writes nothing, and fails where a file differs from what would be written.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import costs_section
import sections
from measured import Machine, Row, read_machines, read_names
from peers_section import peers
from rivals_section import rivals, rivals_sentence
from sections import SMALL, XXS, format_row, latency_of
from text import between, number

BEGIN, END = "<!-- figures: written by results/tables.py -->", "<!-- end of figures -->"
OURS = {
    "onnxruntime": "w8a8-static, cpu-onnxruntime, edgenext",
    "OpenVINO": "w8a8-static, cpu-openvino, edgenext",
}
PARTS = (
    *("accuracy", "ablation", "fidelity", "formats", "vendors"),
    *("training", "roofline", "toolchain"),
)
"""Parts that are shown from one machine."""
SHORT = {XXS: "(XXS)", SMALL: "(S)"}


def main() -> None:
    """Write the files, or say which would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1])
    args = parser.parse_args()
    changed = {path: text for path, text in written(args.root).items() if _text(path) != text}
    if args.check and changed:
        names = ", ".join(path.relative_to(args.root).as_posix() for path in changed)
        sys.exit(f"{names}: not what results/*.json say. Run: python results/tables.py")
    for path, text in changed.items():
        path.write_text(text, "utf-8")


def written(root: Path) -> dict[Path, str]:
    """The text of each file."""
    names = read_names(root / "results")
    machines = read_machines(root / "results", names)
    template, text = (root / "results" / name for name in ("page.md", "readme.md"))
    readme, folder = root / "README.md", root / "results" / "peers"
    beside = machines[names["four_rows"]["rivals"]]
    sentence = rivals_sentence(folder, beside.name, beside.about["title"])
    between = text.read_text("utf-8").format(**figures(machines, names), rivals=sentence)
    return {
        root / "docs" / "results.md": template.read_text("utf-8").format(
            **page(machines, names), peers=peers(folder), rivals=rivals(folder)
        ),
        readme: replaced(readme.read_text("utf-8"), between.strip()),
    }


def replaced(text: str, figures: str) -> str:
    """A text with other figures between its markers."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"README.md lacks the markers {BEGIN} and {END}")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


def figures(machines: dict[str, Machine], names: Row) -> dict[str, str]:
    """What stands for each name in the README's text."""
    machine = machines[names["four_rows"]["machine"]]
    latency, accuracy = machine.latency[XXS], first_with(machines, "accuracy").results["accuracy"]
    return {
        "four_rows": sections.four_rows(machines, names),
        "threads": str(latency.threads),
        "machine": machine.about["title"],
        **latency.environment["packages"],
        "floor": "with the noise floor" if latency.noise_floor else "over the rounds alone",
        "n": f"{accuracy[0]['n']:,}",
        "twins": str(len(sections.twins_of(accuracy, OURS["onnxruntime"]))),
        "speeds": "; ".join(_over(machines, runtime, name) for runtime, name in OURS.items()),
    }


def _over(machines: dict[str, Machine], runtime: str, name: str) -> str:
    """The speeds of a file over the machines that it was measured on."""
    titles = [m.about["title"] for m in machines.values() if name in m.latency[XXS].timings]
    speeds = [f"{sections.ranges(machines, name, model)} {short}" for model, short in SHORT.items()]
    return f"{' and '.join(speeds)} in {runtime} over {_listed(titles)}"


def _listed(texts: list[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if texts[1:] else texts)


def page(machines: dict[str, Machine], names: Row) -> dict[str, str]:
    """What stands for each name in the page."""
    by_part = {part: first_with(machines, part) for part in PARTS}
    scored, converted = by_part["accuracy"], by_part["formats"]
    vendors = by_part["vendors"].results["vendors"]
    htp, accuracy = vendors["htp"], scored.results["accuracy"]
    fidelity = by_part["fidelity"].results["fidelity"]
    require_same_files(accuracy, converted.results["formats"]["accuracy"])
    return {
        "machines": sections.machines(machines),
        **{f"{part}_machine": machine.about["title"] for part, machine in by_part.items()},
        "n": f"{accuracy[0]['n']:,}",
        "last_twin": str(len(sections.twins_of(accuracy, OURS["onnxruntime"])) - 1),
        "accuracy": sections.accuracy(scored, names),
        "latency": "\n\n".join(
            f"### {machine.about['title']}\n\n{sections.latency(machine, names)}"
            for machine in machines.values()
        ),
        "formats": sections.formats(converted, names),
        **_tflite(converted.results["formats"]),
        "htp_compiler": htp[0]["compiler"],
        "htp_soc": htp[0]["soc"],
        "htp_images": str(htp[0]["n"]),
        "htp": sections.htp(by_part["vendors"], names),
        "jetson_compiler": vendors["jetson"][0]["compiler"],
        "jetson": sections.jetson(by_part["vendors"], names),
        "ethos_compiler": f"Vela {vendors['ethos_u'][0]['compiler'].split()[-1]}",
        "ethos_u": sections.ethos_u(by_part["vendors"], names),
        "simulated": sections.simulated(by_part["vendors"]),
        "fidelity_images": str(fidelity[0]["n"]),
        "fidelity": sections.fidelity(by_part["fidelity"], names),
        "ablation": sections.ablation(by_part["ablation"]),
        "roofline": costs_section.roofline(by_part["roofline"]),
        "largest_gaps": costs_section.largest_gaps(by_part["roofline"]),
        "toolchain": costs_section.toolchain(by_part["toolchain"]),
        "cores": str(by_part["toolchain"].results["environment"]["cores"]),
        **_training(by_part["training"]),
    }


def first_with(machines: dict[str, Machine], part: str) -> Machine:
    """The first machine on which a part was measured."""
    return next(machine for machine in machines.values() if part in machine.results)


def _training(machine: Machine) -> dict[str, str]:
    part = machine.results["training"]
    speed, photos, distilled = part["speed"], part["finetuning"], part["distillation"]
    top1, comparison = distilled["top1"], distilled["comparison"]
    low, high = (-x for x in comparison["drop"]["ci95"])
    return {
        "digits_top1": number(part["digits"]["top1"], 1),
        "digits_seconds": number(part["digits"]["seconds"], 0),
        "digits_epochs": str(part["digits"]["epochs"]),
        "train_side": str(speed["side"]),
        "train_batch": str(speed["batch"]),
        "train_workers": str(speed["workers"]),
        "train_rounds": str(len(speed["ratios"])),
        "train_ratio": number(speed["ratio"]),
        "train_ratios": between(min(speed["ratios"]), max(speed["ratios"])),
        "training_speed": sections.training_speed(machine),
        "photos": str(photos["photos"]),
        "photo_epochs": str(photos["epochs"]),
        "photo_n": str(photos["from weights"][0]["n"]),
        "finetuning": sections.finetuning(machine),
        "distill_images": f"{distilled['images']:,}",
        "distill_epochs": str(distilled["epochs"]),
        "distill_n": f"{distilled['n']:,}",
        "distill_with": number(top1["with the teacher"]),
        "distill_without": number(top1["labels alone"]),
        "distill_gain": f"{number(-comparison['drop']['points'])} ({between(high, low)})",
    }


def _tflite(part: Row) -> dict[str, str]:
    """How the files of both TFLite converters compare."""
    rows, accuracy = latency_of(part, SMALL)["rows"], part["accuracy"]
    own, other = ("tflite", "w8a8-static"), ("tflite tensorflow", "w8a8-static")
    ms = {key: format_row(rows, *key)["p50_ms"] for key in (own, other, ("tflite", "fp32"))}
    db = {key: format_row(accuracy, *key)["sqnr_db"] for key in (own, other)}
    return {
        "tflite_speed": number(ms[other] / ms[own]),
        "tflite_db": number(db[own] - db[other], 1),
        "tflite_int8": number(ms["tflite", "fp32"] / ms[own]),
    }


def require_same_files(rows: list[Row], formats: list[Row]) -> None:
    """Refuse what the page says of twins, unless the hashes say so.

    Args:
        rows: accuracy of all schemes and engines.
        formats: accuracy of all formats.

    Raises:
        ValueError: a twin gives another file.
    """
    groups = [
        [row for row in rows if row["name"] == name] + sections.twins_of(rows, name)
        for name in OURS.values()
    ]
    groups += [
        [format_row(formats, name, "w8a8-static", twin) for twin in ("", "twin 0", "twin 1")]
        for name in ("tflite", "coreml")
    ]
    if any(len({row.get("graph_sha256", row["sha256"]) for row in group}) > 1 for group in groups):
        raise ValueError("results/page.md says that twins give the same file: they do not")


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


if __name__ == "__main__":
    main()
