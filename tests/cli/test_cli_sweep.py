"""`edgenext sweep`, here and on the workers of a scheduler: one table, nothing twice."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cli_calls import Cli, Process, call, temporaries
from dask_cluster import Cluster, cluster

from edgenext.schema import TIMED_COLUMNS
from edgenext.system.trees import TreeStore

parquet = pytest.importorskip("pyarrow.parquet", reason="the extra sweep is not installed")
pytest.importorskip("distributed", reason="the extra sweep is not installed")

pytestmark = pytest.mark.slow

START = """\
data = "digits"
random_weights = true
num_classes = 10
limit = 60
shard = 25
n = 8
out = "{out}"

[bench]
rounds = 1

[grid]
model = ["edgenext_xx_small"]
size = [32]
"""
SCHEMES = 'scheme = ["fp32", "w8a8-dynamic", "bf16"]\n'
TIMED = 'device = ["cpu"]\n'
JOBS = 2 + 2 * 3
"""Of `SCHEMES`: two files, each evaluated in three shards; bf16 is refused."""

Row = dict[str, Any]
Start = Callable[..., Process]


def sweep_toml(folder: Path, out: str = "sweep", grid: str = SCHEMES) -> Path:
    path = folder / f"{out}.toml"
    path.write_text(START.format(out=folder / out) + grid)
    return path


def table(folder: Path) -> list[Row]:
    rows: list[Row] = parquet.read_table(folder / "results.parquet").to_pylist()
    return rows


def untimed(rows: Sequence[Row]) -> list[Row]:
    return [{k: v for k, v in row.items() if k not in TIMED_COLUMNS} for row in rows]


def records(folder: Path) -> dict[str, float]:
    """When each record was written, by its name."""
    return {p.name: p.stat().st_mtime_ns for p in (folder / "records").rglob("*.json")}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that was done here; never write into it."""
    folder = tmp_path_factory.mktemp("local")
    assert call("sweep", sweep_toml(folder), "--workers", "2") == 0
    return folder / "sweep"


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "dask") as running:
        yield running


def test_the_table_has_a_row_for_each_point(local: Path, cli: Cli) -> None:
    rows = table(local)
    assert [row["status"] for row in rows] == ["measured", "measured", "refused"]
    assert "cpu-onnxruntime cannot run bf16" in rows[2]["error"] and rows[2]["exit_code"] == 2
    assert rows[0]["drop"] is None and rows[0]["p50_ms"] is None
    with (local / "results.csv").open(newline="") as f:
        assert [row["sha256"] for row in csv.DictReader(f)] == [r["sha256"] or "" for r in rows]

    files = [local / row["path"] for row in rows[:2]]
    done = cli.ok("compare", *files, "--data", "digits", "--limit", "60", "--json").json
    other = done["others"][0]
    assert rows[1]["n"] == done["n"] == 60
    assert (rows[0]["top1"], rows[1]["top1"]) == (done["base"]["top1"], other["top1"])
    assert rows[1]["agreement"] == other["agreement"]
    drop = {name: rows[1][name] for name in ("lost", "gained")} | {"points": rows[1]["drop"]}
    assert drop == {name: other["drop"][name] for name in drop}
    assert [rows[1]["drop_low"], rows[1]["drop_high"]] == other["drop"]["ci95"]
    for name in ("sqnr_db", "cosine", "kl"):
        assert rows[1][name] == pytest.approx(other[name], rel=1e-9)
    scores = cli.ok("eval", *files, "--data", "digits", "--limit", "60", "--json").json["results"]
    for row, score in zip(rows, scores, strict=False):
        assert (row["sha256"], row["top5"]) == (score["sha256"], score["top5"])
        assert row["loss"] == pytest.approx(score["loss"], rel=1e-12)
        assert row["images"] == score["data"]["sha256"]


def test_nothing_is_done_twice(local: Path, cli: Cli) -> None:
    shutil.copytree(local, "again")
    before = records(Path("again"))
    assert len(before) == JOBS
    done = cli.ok("sweep", sweep_toml(cli.folder, "again"), "--json").json
    assert (done["done"], done["reused"]) == (0, JOBS)
    assert records(Path("again")) == before and table(Path("again")) == table(local)

    # another scheme: its file alone is made, and evaluated
    grid = SCHEMES.replace('"bf16"', '"w8-weight-only"')
    done = cli.ok("sweep", sweep_toml(cli.folder, "again", grid), "--workers", "1", "--json").json
    assert (done["done"], done["reused"]) == (4, JOBS)
    assert untimed(table(Path("again"))[:2]) == untimed(table(local)[:2])

    # a damaged file is made again, a damaged record computed again
    path = Path("again", table(local)[1]["path"])
    path.write_bytes(path.read_bytes()[:-1])
    next(Path("again", "records").rglob("*.json")).write_text("{")
    done = cli.ok("sweep", sweep_toml(cli.folder, "again"), "--workers", "1", "--json").json
    assert done["done"] in (1, 2)
    assert untimed(done["rows"]) == untimed(table(local))


def test_a_killed_worker_changes_nothing(
    local: Path, dask: Cluster, start: Start, tmp_path: Path
) -> None:
    # caches of their own: a worker gets what it lacks over the network
    for name in ("one", "two"):
        dask.worker(name, EDGENEXT_CACHE=str(tmp_path / name / "cache"))
    out = tmp_path / "there"
    process = start("sweep", sweep_toml(tmp_path, "there"), "--scheduler", dask.address, "--json")
    process.until(lambda: (out / "records").is_dir(), "a record")
    dask.kill("one")
    done = process.end()
    assert done.code == 0, done.err
    assert untimed(table(out)) == untimed(table(local))
    assert done.json["done"] == JOBS == len(records(out))
    assert not temporaries(tmp_path)


def test_ctrl_c_leaves_nothing_behind_and_the_sweep_goes_on(
    local: Path, start: Start, cli: Cli, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    process = start("sweep", sweep_toml(tmp_path, "stopped"), "--workers", "2")
    process.until(lambda: (out / "records").is_dir() and records(out), "a record")
    children = process.children()
    process.ctrl_c()
    done = process.end()
    assert (done.code, done.out) == (130, "")
    assert done.err.splitlines()[-1] == (
        "edgenext: interrupted. The same command goes on where it was stopped"
    )
    assert children and not any(child.is_running() for child in children)
    assert not temporaries(tmp_path)
    before = records(out)
    done = cli.ok("sweep", sweep_toml(tmp_path, "stopped"), "--workers", "1", "--json")
    assert done.json["reused"] == len(before) and done.json["done"] == JOBS - len(before)
    assert {name: records(out)[name] for name in before} == before
    assert untimed(table(out)) == untimed(table(local))


@pytest.mark.campaign
def test_a_full_disk_ends_it_in_one_line_and_it_goes_on(
    local: Path, cli: Cli, tmp_path: Path
) -> None:
    """A limit on the size of files fails the write as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        done = cli.run("sweep", sweep_toml(tmp_path, "full"), "--workers", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.code in (6, 16) and "File too large" in done.err, done.err
    assert not temporaries(tmp_path)
    cli.ok("sweep", sweep_toml(tmp_path, "full"), "--workers", "1")
    assert untimed(table(tmp_path / "full")) == untimed(table(local))


def test_a_point_that_fails_is_a_row_and_the_others_are_measured(
    local: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(local, "some")
    monkeypatch.setenv("EDGENEXT_ENVIRONMENTS", "nowhere")  # so that nothing writes TFLite
    monkeypatch.setattr("edgenext.system.environments._is_installed", bool)
    grid = 'scheme = ["fp32", "w8a8-static"]\ntarget = ["cpu-onnxruntime", "tflite"]\n'
    config = sweep_toml(cli.folder, "some", grid)
    config.write_text(config.read_text().replace("n = 8", "n = 5000"))
    done = cli.run("sweep", config, "--workers", "1")
    assert done.code == 16
    assert "3 of 4 points failed, the first of them: " in done.err.splitlines()[-1]
    rows = table(Path("some"))
    assert [row["exit_code"] for row in rows] == [None, 8, 3, 3]
    assert untimed(rows[:1]) == untimed(table(local)[:1])
    assert "5000 images were requested, digits has only" in rows[2]["error"]
    assert "edgenext env tflite" in rows[1]["error"]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at 'tcp://127.0.0.1:9': Connection"),
        ("?", "no Dask scheduler answers at '?': ValueError: missing port number"),
        ("nowhere:x", "no Dask scheduler answers at 'nowhere:x'"),
    ],
)
def test_an_address_without_a_scheduler_is_one_line(cli: Cli, address: str, text: str) -> None:
    assert text in cli.fails(15, "sweep", sweep_toml(cli.folder), "--scheduler", address)


@pytest.mark.campaign
def test_workers_that_cannot_be_used_are_refused(
    dask: Cluster, start: Start, tmp_path: Path
) -> None:
    config = sweep_toml(tmp_path, grid=SCHEMES + TIMED)

    def refused() -> str:
        done = start("sweep", config, "--scheduler", dask.address).end()
        assert (done.code, done.out) == (15, ""), done
        assert len(done.err.splitlines()) == 1, done.err
        return done.err

    assert "has no workers. Start one: dask worker tcp://" in refused()
    dask.worker("one")
    assert "no worker at" in (error := refused()) and '--resources "quiet-core=1"' in error
    dask.worker("two", "--resources", "quiet-core=2")
    assert "quiet-core would be used by 2 jobs at a time" in refused()
    dask.kill("two")

    package = tmp_path / "other" / "edgenext"
    source = Path(sys.modules["edgenext"].__file__ or "").parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "errors.py").open("a") as f:
        f.write("\nOTHER = True\n")
    path = os.pathsep.join([str(package.parent), os.environ["PYTHONPATH"]])
    dask.worker("three", "--resources", "quiet-core=1", PYTHONPATH=path)
    assert "has other source files of edgenext" in refused()


@pytest.mark.campaign
def test_leases_never_overlap(dask: Cluster, start: Start, tmp_path: Path) -> None:
    """Two sweeps on two workers and one here, all on one machine and its quiet core."""
    grid = 'scheme = ["fp32", "w8a8-dynamic", "w8-weight-only"]\n' + TIMED
    cache = str(tmp_path / "cache")  # of all processes: the lease is a file in it
    dask.worker("one", EDGENEXT_CACHE=cache)
    dask.worker("two", "--resources", "quiet-core=1", EDGENEXT_CACHE=cache)
    there = ("--scheduler", dask.address)
    sweeps = {"a": there, "b": there, "c": ("--workers", "1")}
    processes = []
    for rounds, (name, where) in enumerate(sweeps.items(), 1):  # other rounds are other jobs
        config = sweep_toml(tmp_path, name, grid)
        config.write_text(config.read_text().replace("rounds = 1", f"rounds = {rounds}"))
        processes.append(start("sweep", config, *where))
    for process in processes:
        done = process.end(600)
        assert done.code == 0, done.err
    timed = [
        json.loads(path.read_text())
        for name in sweeps
        for path in (tmp_path / name / "records").rglob("*.json")
    ]
    spans = sorted((r["worked"]["started"], r["worked"]["ended"]) for r in timed if "report" in r)
    assert len(spans) == 9
    for (_, end), (start_, _) in pairwise(spans):
        assert end <= start_


def test_trees_are_those_that_rows_name(local: Path) -> None:
    store = TreeStore(local / "files")
    for row in table(local)[:2]:
        assert store.find(Path(row["path"]).parts[1])
        assert (local / row["path"]).is_file()


@pytest.mark.campaign
@pytest.mark.parametrize("lost", ["scheduler", "the only worker"])
def test_a_lost_scheduler_or_worker_ends_it_in_one_line_and_it_goes_on(
    local: Path, dask: Cluster, start: Start, tmp_path: Path, lost: str
) -> None:
    dask.worker("one")
    out = tmp_path / "lost"
    config = sweep_toml(tmp_path, "lost")
    process = start("-q", "sweep", config, "--scheduler", dask.address)
    process.until(lambda: (out / "records").is_dir() and records(out), "a record")
    dask.kill("scheduler" if lost == "scheduler" else "one")
    done = process.end(300)
    assert (done.code, done.out) == (15, ""), done
    assert len(done.err.splitlines()) == 1, done.err
    text = "does not answer any more" if lost == "scheduler" else "is left that can go on"
    assert text in done.err
    before = records(out)
    done = start("sweep", config, "--workers", "1", "--json").end()
    assert done.json["reused"] == len(before)
    assert untimed(table(out)) == untimed(table(local))


@pytest.mark.campaign
def test_ctrl_c_leaves_the_workers_of_a_scheduler_usable(
    local: Path, dask: Cluster, start: Start, tmp_path: Path
) -> None:
    dask.worker("one")
    out = tmp_path / "stopped"
    there = (sweep_toml(tmp_path, "stopped"), "--scheduler", dask.address)
    process = start("sweep", *there)
    process.until(lambda: (out / "records").is_dir() and records(out), "a record")
    process.ctrl_c()
    done = process.end()
    assert (done.code, done.out) == (130, "")
    assert len(done.err.splitlines()) == 1, done.err
    done = start("sweep", *there).end()
    assert done.code == 0, done.err
    assert untimed(table(out)) == untimed(table(local))


@pytest.mark.shared
@pytest.mark.campaign
def test_trained_weights_and_large_sets_give_the_same_everywhere(
    shared: Path, dask: Cluster, start: Start, cli: Cli, tmp_path: Path
) -> None:
    config = tmp_path / "trained.toml"
    data = shared / "data"
    config.write_text(
        f'''data = "{data / "tiny-imagenet-val.zip"}"
calib = "{data / "tiny-imagenet-train.zip"}"
weights = "{shared / "weights" / "edgenext_xx_small_tinyimagenet.safetensors"}"
limit = 500
shard = 128
[grid]
model = ["edgenext_xx_small"]
scheme = ["fp32", "w8a8-static"]
seed = [0, 1]
'''
    )
    for name in ("one", "two"):
        dask.worker(name, EDGENEXT_CACHE=str(tmp_path / name / "cache"))
    there = start("sweep", config, "--scheduler", dask.address, "-o", "there")
    assert there.end(600).code == 0
    cli.ok("sweep", config, "--workers", "2", "-o", "here")
    rows = table(tmp_path / "here")
    assert untimed(table(tmp_path / "there")) == untimed(rows)
    assert len({row["sha256"] for row in rows}) == 3  # seeds calibrate on other images
    files = [tmp_path / "here" / row["path"] for row in (rows[0], *rows[2:])]
    arguments = ("--data", data / "tiny-imagenet-val.zip", "--limit", "500", "--json")
    done = cli.ok("compare", *files, *arguments).json
    for row, other in zip(rows[2:], done["others"], strict=True):
        assert (row["n"], row["images"]) == (done["n"], done["data"]["sha256"])
        assert (row["top1"], row["top5"]) == (other["top1"], other["top5"])
        assert (row["lost"], row["gained"]) == (other["drop"]["lost"], other["drop"]["gained"])
        assert row["agreement"] == other["agreement"]
