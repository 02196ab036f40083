"""Play models that livejam exported; docs/export.md of livejam describes their directory."""

from livejam_player.model import ModelError, StepModel
from livejam_player.player import Player
from livejam_player.sketching import sketch_of

__all__ = ["ModelError", "Player", "StepModel", "sketch_of"]
