"""The tables of docs/results.md and README.md, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from measured import Latency, Machine, Row, Timing, timing
from text import between, drop, megabytes, milliseconds, number, speed, spread, table

XXS, SMALL = "edgenext_xx_small", "edgenext_small"
PACKAGES = ("onnxruntime", "openvino", "onnx", "torch")
"""Those whose versions stand under a table."""


def machines(all_machines: dict[str, Machine]) -> str:
    """Which CPUs were measured."""
    rows = []
    for name, machine in all_machines.items():
        env = machine.results["environment"]
        cores = f"{env['cores']} {machine.about['cores']}"
        rows.append(
            (
                machine.about["title"],
                env["cpu"],
                ", ".join(env["isa"]),
                cores,
                f"{env['memory_gb']:.0f}",
                f"`results/{name}.json`",
            )
        )
    return table(("machine", "CPU", "instructions", "cores", "GB", "file"), rows, text_columns=6)


def accuracy(machine: Machine, names: Row) -> str:
    """Top-1 of the network and of its badly scaled twins, in every scheme and engine."""
    rows = machine.results["accuracy"]
    own = {row["name"]: row for row in rows if ", twin " not in row["name"]}
    titles: dict[str, str] = names["files"]
    require_named(own, titles)
    lines = [_accuracy_row(titles[name], own[name]) for name in titles if name in own]
    for name, title in titles.items():
        if twins := twins_of(rows, name):
            lines.append(_twins_row(f"{title}, on {len(twins)} twins", twins))
    head = ("", "top-1 %", "drop (95 % interval)", "lost / gained", "agreement %", "SQNR dB")
    return table(head, lines)


def _accuracy_row(title: str, row: Row) -> Sequence[str]:
    if "drop" not in row:
        return (title, number(row["top1"]), "base", "", "", "")
    counts = f"{row['drop']['lost']} / {row['drop']['gained']}"
    fidelity = (number(row["agreement"], 1), number(row["sqnr_db"], 1))
    return (title, number(row["top1"]), drop(row), counts, *fidelity)


def _twins_row(title: str, twins: Sequence[Row]) -> Sequence[str]:
    return (
        title,
        spread(row["top1"] for row in twins),
        spread(row["drop"]["points"] for row in twins),
        "",
        spread((row["agreement"] for row in twins), 1),
        spread((row["sqnr_db"] for row in twins), 1),
    )


def twins_of(rows: Iterable[Row], name: str) -> list[Row]:
    """The rows of a file on the badly scaled twins."""
    return [row for row in rows if row["name"].startswith(f"{name}, twin ")]


def latency(machine: Machine, names: Row) -> str:
    """The latency of a machine: what it is, the table, and what was not valid."""
    both = [machine.latency[model] for model in (XXS, SMALL)]
    titles: dict[str, str] = names["files"]
    for entry in both:
        require_named(entry.timings, titles)
    lines = []
    for name, title in titles.items():
        timings = [entry.timings.get(name) for entry in both]
        if any(timings):
            lines.append((title, *(cell for t in timings for cell in _timing(t))))
    short = [names["models"][entry.model] for entry in both]
    head = [f"{model} {what}" for model in short for what in ("p50 ms", "speed", "MB")]
    parts = [_machine_line(machine, both, names), table(("", *head), lines)]
    if reasons := _reasons(both, names):
        parts.append(f"Struck out, because not valid:\n\n{reasons}")
    return "\n\n".join(parts)


def _timing(timing: Timing | None) -> Sequence[str]:
    size = megabytes(timing.size_bytes) if timing else ""
    return (milliseconds(timing), speed(timing), size)


def _machine_line(machine: Machine, both: Sequence[Latency], names: Row) -> str:
    env = machine.results["environment"]
    versions = [f"{p} {env['packages'][p]}" for p in PACKAGES if p in env["packages"]]
    threads = sorted({entry.threads for entry in both})
    facts = [
        f"{env['cpu']} ({', '.join(env['isa'])}), {env['cores']} {machine.about['cores']} cores",
        f"{' and '.join(map(str, threads))} thread{'s' if threads != [1] else ''}",
        f"Python {env['python']}, {', '.join(versions)}",
    ]
    measured: dict[str, list[str]] = {}
    for entry in both:
        measured.setdefault(_noise(machine, entry), []).append(names["models"][entry.model])
    sentences = [f"{' and '.join(models)} {text}" for text, models in measured.items()]
    return " ".join([f"{'; '.join(facts)}.", *sentences, machine.about.get("note", "")]).strip()


def _noise(machine: Machine, entry: Latency) -> str:
    measured = f"measured on {machine.measured(entry.model)}"
    if entry.noise_floor is None:
        return f"{measured} without a noise floor: the intervals are over the rounds alone."
    return f"{measured} with a noise floor of {100 * entry.noise_floor:.1f} % in the intervals."


def _reasons(both: Sequence[Latency], names: Row) -> str:
    return "\n".join(
        f"- {names['models'][entry.model]}, {names['files'][name].replace('**', '')}: "
        f"{'; '.join(timing.reasons)}."
        for entry in both
        for name, timing in entry.timings.items()
        if not timing.valid
    )


def formats(machine: Machine, names: Row) -> str:
    """Every format and scheme."""
    part = machine.results["formats"]
    small = {_key(r): r for r in latency_of(part, SMALL)["rows"]}
    lines = []
    for row in part["accuracy"]:
        if row["twin"]:
            continue
        cost = small[_key(row)]
        nodes = f"{row['nodes']} / {row['transposes']}" if row["nodes"] else ""
        seconds = f"{cost['seconds']:.0f}" if cost["seconds"] else ""
        memory = f"{cost['peak_mb'] / 1024:.1f}" if cost.get("peak_mb") else ""
        lines.append(
            (
                names["formats"][_key(row)[0]],
                row["scheme"],
                megabytes(cost["size_bytes"]),
                nodes,
                seconds,
                memory,
                drop(row),
                number(row["agreement"], 1),
                number(row["sqnr_db"], 1),
                speed(timing(cost)) if "speed" in cost else "",
            )
        )
    head = (
        *("format", "scheme", "S MB", "operators / transposes", "export s", "GiB"),
        *("drop (95 % interval)", "agreement %", "SQNR dB", "S speed"),
    )
    return table(head, lines, text_columns=2)


def latency_of(part: Row, model: str) -> Row:
    """The benchmark of a network in the part `formats`."""
    return next(entry for entry in part["latency"] if entry["model"] == model)


def format_row(rows: Iterable[Row], name: str, scheme: str, twin: str = "") -> Row:
    """The row of a format, with its option if it has one, in a scheme."""
    return next(r for r in rows if _key(r) == (name, scheme) and r.get("twin", "") == twin)


def _key(row: Row) -> tuple[str, str]:
    """A format with its option, and the scheme."""
    words = [key if value is True else str(value) for key, value in row["told"].items()]
    return " ".join([row["format"], *words]), row["scheme"]


def htp(machine: Machine, names: Row) -> str:
    """Qualcomm's compiler and simulator, architecture by architecture."""
    rows = machine.results["vendors"]["htp"]
    lines = [
        (
            names["models"][row["arch"]],
            row["scheme"],
            placed(row),
            number(row["simulator"]["sqnr_db"], 1),
            number(row["simulator"]["agreement"], 1),
        )
        for row in rows
    ]
    head = ("architecture", "scheme", "nodes on the NPU", "SQNR dB", "agreement %")
    return table(head, lines, text_columns=2)


def placed(row: Row) -> str:
    """How many of a file's operators its compiler has placed where."""
    if not row["accepted"]:
        return f"refused: {'; '.join(row['errors'])}"
    total = sum(row["operators"].values())
    return ", ".join(
        f"all {count}" if count == total else f"{count} of {total} on {unit}"
        for unit, count in row["operators"].items()
    )


def simulated(machine: Machine) -> str:
    """Accuracy in a simulator, and in LiteRT for Ethos-U."""
    part = machine.results["vendors"]
    rows = [(f"HTP, {row['scheme']}", row) for row in part["htp_accuracy"]]
    rows.append((f"Ethos-U, {part['ethos_u_accuracy']['scheme']}", part["ethos_u_accuracy"]))
    lines = [
        (
            title,
            row["evidence"],
            f"{row['n']:,}",
            drop(row),
            number(row["agreement"], 1),
            number(row["sqnr_db"], 1),
        )
        for title, row in rows
    ]
    head = ("file", "evidence", "n", "drop (95 % interval)", "agreement %", "SQNR dB")
    return table(head, lines, text_columns=2)


def jetson(machine: Machine, names: Row) -> str:
    """NVIDIA's parser and builder."""
    lines = [
        (names["models"][row["arch"]], row["scheme"], placed(row))
        for row in machine.results["vendors"]["jetson"]
    ]
    return table(("architecture", "scheme", "operators on the GPU"), lines, text_columns=2)


def ethos_u(machine: Machine, names: Row) -> str:
    """Arm's Vela."""
    lines = [
        (
            names["models"][row["arch"]],
            row["accelerator"],
            placed(row),
            f"{row['estimate']['inferences_per_second']:.0f}",
            f"{row['estimate']['sram_kib']:.0f}",
        )
        for row in machine.results["vendors"]["ethos_u"]
    ]
    head = ("network", "accelerator", "operators on the NPU", "inferences a second", "SRAM KiB")
    return table(head, lines, text_columns=2)


def fidelity(machine: Machine, names: Row) -> str:
    """INT8 of all architectures."""
    lines = [
        (
            names["models"][row["arch"]],
            row["target"],
            number(row["sqnr_db"], 1),
            number(row["agreement"], 1),
            f"{row['cosine']:.5f}",
        )
        for row in machine.results["fidelity"]
    ]
    head = ("architecture", "target", "SQNR dB", "agreement %", "cosine")
    return table(head, lines, text_columns=2)


def ablation(machine: Machine) -> str:
    """The recipe with each of its choices taken out."""
    lines = [
        (row["name"], drop(row), number(row["agreement"], 1), number(row["sqnr_db"], 1))
        for row in machine.results["ablation"]
    ]
    return table(("recipe", "drop (95 % interval)", "agreement %", "SQNR dB"), lines)


def training_speed(machine: Machine) -> str:
    """Images a second of our loop, a plain one, and of the parts of ours."""
    part = machine.results["training"]["speed"]
    lines = [
        (name, number(value, 0), between(min(rounds), max(rounds), 0))
        for name, value in part["images_per_s"].items()
        for rounds in (part["rounds"][name],)
    ]
    return table(("", "images/s, median", "rounds"), lines)


def finetuning(machine: Machine) -> str:
    """Photographs of one's own, from weights and from scratch."""
    part = machine.results["training"]["finetuning"]
    lines = [
        (name, *(number(row["top1"], 1) for row in part[name]), number(part[name][0]["seconds"], 0))
        for name in ("from weights", "from scratch")
    ]
    seeds = [f"division {row['seed']}" for row in part["from weights"]]
    return table(("top-1 %", *seeds, "seconds"), lines)


def four_rows(machines: dict[str, Machine], names: Row) -> str:
    """The table of the README."""
    machine, chosen = machines[names["four_rows"]["machine"]], names["four_rows"]["rows"]
    rows = machine.results["accuracy"]
    own = {row["name"]: row for row in rows}
    lines = []
    for name in chosen:
        timings = [machine.latency[model].timings[name] for model in (XXS, SMALL)]
        cells = [
            f"{milliseconds(t)} ms, {speed(t)}" if t.ci95 else milliseconds(t) + " ms"
            for t in timings
        ]
        twins = [row["drop"]["points"] for row in twins_of(rows, name)]
        worst = number(max(twins)) if twins else ""
        lost = drop(own[name]) if "drop" in own[name] else "base"
        lines.append((names["files"][name], *cells, lost, worst))
    head = ("", "XXS", "S", "drop of top-1, points", "on a badly scaled twin")
    return table(head, lines)


def ranges(machines: dict[str, Machine], name: str, model: str) -> str:
    """The range of a file's speeds over the machines on which it is valid."""
    timings = [m.latency[model].timings.get(name) for m in machines.values()]
    speeds = [t.speed for t in timings if t and t.valid]
    return between(min(speeds), max(speeds), 1).replace(" to ", "x to ") + "x"


def require_named(rows: Iterable[str], titles: Iterable[str]) -> None:
    """Refuse a row that no table would show.

    Raises:
        KeyError: a name that is not in `names.toml`.
    """
    if unknown := set(rows) - set(titles):
        raise KeyError(f"names.toml has no title for {', '.join(sorted(unknown))}")
