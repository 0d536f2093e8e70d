"""The Python API: every command as a function.

    from pathlib import Path
    from edgenext import api

    options = api.ModelOptions(weights=Path("edgenext_small.pth"))
    artifact = api.export("edgenext_small", options)
    report = api.compare("edgenext_small", [str(artifact.path)], "imagenet/", options)

Each function is in a file of its own under `edgenext/commands/`, which is imported when its name is
used first: torch and the converters take seconds.
"""

from __future__ import annotations

import ast as _ast
from importlib import import_module as _import_module
from importlib import resources as _resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgenext.commands.adopt import adopt as adopt
    from edgenext.commands.backbone import backbone as backbone
    from edgenext.commands.bench import bench as bench
    from edgenext.commands.bench import bundle as bundle
    from edgenext.commands.bench import import_results as import_results
    from edgenext.commands.bench import is_bundled as is_bundled
    from edgenext.commands.check import check as check
    from edgenext.commands.check_range import check_range as check_range
    from edgenext.commands.compare import compare as compare
    from edgenext.commands.config import RunConfig as RunConfig
    from edgenext.commands.config import make_config as make_config
    from edgenext.commands.config import read_config as read_config
    from edgenext.commands.context import Context as Context
    from edgenext.commands.demo import demo as demo
    from edgenext.commands.demo import write_demo_toml as write_demo_toml
    from edgenext.commands.devices import add_device as add_device
    from edgenext.commands.devices import clean_device as clean_device
    from edgenext.commands.devices import list_devices as list_devices
    from edgenext.commands.devices import probe_device as probe_device
    from edgenext.commands.devices import remove_device as remove_device
    from edgenext.commands.diff import diff as diff
    from edgenext.commands.doctor import doctor as doctor
    from edgenext.commands.env import make_environment as make_environment
    from edgenext.commands.evaluate import evaluate as evaluate
    from edgenext.commands.export import export as export
    from edgenext.commands.export import tuned as tuned
    from edgenext.commands.fastest import fastest as fastest
    from edgenext.commands.fetch import fetch as fetch
    from edgenext.commands.gate import judge_results as judge_results
    from edgenext.commands.gate import judge_run as judge_run
    from edgenext.commands.gate import read_gate as read_gate
    from edgenext.commands.gate import require_passed as require_passed
    from edgenext.commands.models import models as models
    from edgenext.commands.package import package as package
    from edgenext.commands.predict import predict as predict
    from edgenext.commands.profile import profile as profile
    from edgenext.commands.quantize import quantize as quantize
    from edgenext.commands.report import report as report
    from edgenext.commands.run import run as run
    from edgenext.commands.search import search as search
    from edgenext.commands.sensitivity import sensitivity as sensitivity
    from edgenext.commands.stress import stress as stress
    from edgenext.commands.sweep import require_complete as require_complete
    from edgenext.commands.sweep import sweep as sweep
    from edgenext.commands.sweep_config import SweepConfig as SweepConfig
    from edgenext.commands.sweep_config import read_sweep as read_sweep
    from edgenext.commands.teacher import open_teacher as open_teacher
    from edgenext.commands.train import Training as Training
    from edgenext.commands.train import choose_recipe as choose_recipe
    from edgenext.commands.train import prepare_training as prepare_training
    from edgenext.commands.train import train as train
    from edgenext.commands.verify import verify as verify
    from edgenext.formats.artifact import Artifact as Artifact
    from edgenext.formats.artifact import open_artifact as open_artifact
    from edgenext.models.checkpoint import Checkpoint as Checkpoint
    from edgenext.models.checkpoint import load_checkpoint as load_checkpoint
    from edgenext.models.zoo import create_model as create_model
    from edgenext.options import AdoptOptions as AdoptOptions
    from edgenext.options import BenchOptions as BenchOptions
    from edgenext.options import CiOptions as CiOptions
    from edgenext.options import DataOptions as DataOptions
    from edgenext.options import ExportOptions as ExportOptions
    from edgenext.options import ModelOptions as ModelOptions
    from edgenext.options import QatOptions as QatOptions
    from edgenext.options import QuantizeOptions as QuantizeOptions
    from edgenext.train.accelerator import TrainSettings as TrainSettings
    from edgenext.train.distillation import Distillation as Distillation
    from edgenext.train.hooks import Hooks as Hooks
    from edgenext.train.recipe import TrainRecipe as TrainRecipe
    from edgenext.train.recipe import load_recipe as load_recipe


def _modules() -> dict[str, str]:
    """The module of each name: of the imports above, which only type checkers follow."""
    source = _resources.files("edgenext").joinpath("api.py").read_text("utf-8")
    imports = (node for node in _ast.walk(_ast.parse(source)) if isinstance(node, _ast.ImportFrom))
    return {
        alias.name: node.module
        for node in imports
        for alias in node.names
        if node.module and alias.name == alias.asname
    }


_MODULES = _modules()


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'edgenext.api' has no attribute {name!r}")
    value = getattr(_import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_MODULES)
