"""Training: a recipe, a loop, and checkpoints to resume from.

`edgenext.train.loop` and `edgenext.train.hooks` need torch.
"""

from edgenext.train.recipe import EpochReport, TrainRecipe, TrainResult, load_recipe, recipe_names

__all__ = ["EpochReport", "TrainRecipe", "TrainResult", "load_recipe", "recipe_names"]
