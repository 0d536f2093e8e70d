"""Training: a recipe, a loop, checkpoints that resume. `edgenext.train.loop` needs torch."""

from edgenext.train.recipe import EpochReport, TrainRecipe, TrainResult

__all__ = ["EpochReport", "TrainRecipe", "TrainResult"]
