"""Training: a recipe, a loop, and checkpoints to resume from. `edgenext.train.loop` needs torch."""

from edgenext.train.recipe import EpochReport, TrainRecipe, TrainResult

__all__ = ["EpochReport", "TrainRecipe", "TrainResult"]
