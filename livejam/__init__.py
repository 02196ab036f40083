"""The library that plays: torch only, no Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `import livejam` loads no PyTorch
    from livejam.checkpoints.player import Player

__version__ = "0.2.0"


def load(model: str | Path, trusted: Sequence[str] = (), device: str = "cpu") -> Player:
    """A trained model, ready to play.

    Args:
        model: the name of a bundled model, such as "liveband-pocket", a published model (.safetensors), or a
            checkpoint of the `lightning` command.
        trusted: packages or modules besides livejam whose classes the file may name.
        device: what computes, in PyTorch's words: "cpu", "cuda" or "cuda:1", for example.

    Raises:
        livejam.errors.UserError: there is no such model or device, or it is unusable, and why.
    """
    from livejam.checkpoints.player import load_player
    from livejam.systems.playing import for_playing

    player = load_player(model, trusted)
    return for_playing(player) if device == "cpu" else player.on(device)
