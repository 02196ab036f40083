"""Recordings whose sound musicians may ask for by a name.

Whoever starts a server names files; what comes over the network can only choose among these names, and reads no file.

Shapes: E channels of an embedding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks.conditioning import read_words
from livejam.reference import interpolated, mixed
from livejam.streaming.references import read_reference

NONE = "none"
"""The name of no reference."""

NAME = re.compile(r"[\w-]{1,40}")


@dataclass(frozen=True)
class NamedReferences:
    """Embeddings (E) by name.

    Args:
        embeddings: of the recordings.
    """

    embeddings: Mapping[str, Tensor] = field(default_factory=dict)

    def mixed(self, names: str) -> Tensor | None:
        """The reference of a text such as `voice`, or `voice:0.7, strings:0.3`; None for `none`.

        Raises:
            UserError: there is no such name, or a weight is wrong.
        """
        if names.strip() == NONE:
            return None
        return mixed([(self._named(name), weight) for name, weight in read_words(names).parts])

    def between(self, one: str, other: str, share: float) -> Tensor:
        """The reference between two.

        Args:
            one: a name.
            other: another name.
            share: of the other one, 0 to 1.

        Raises:
            UserError: there is no such name, or the share is out of range.
        """
        return interpolated(self._named(one), self._named(other), share)

    def _named(self, name: str) -> Tensor:
        found = self.embeddings.get(name.strip())
        if found is None:
            without = "the server was started without --like"
            known = f"there are {', '.join(self.embeddings)}" if self.embeddings else without
            raise UserError(f"there is no reference '{name[:40]}'; {known}")
        return found


def read_named(given: Sequence[str], player: Player) -> NamedReferences:
    """The references of options such as `voice=voice.wav`.

    Args:
        given: a name and a file each.
        player: the model that will sound like them.

    Raises:
        UserError: one is no name and file, two have the same name, the model takes no reference, or a file is unusable.
    """
    found: dict[str, Tensor] = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not equals or not NAME.fullmatch(name) or name == NONE or not path:
            raise UserError(
                f"--like {each} names no reference; give a name of letters, digits, _ and - that is not '{NONE}', and "
                "a file: --like voice=voice.wav"
            )
        if name in found:
            raise UserError(f"--like has two files with the name {name}; give each a name of its own")
        found[name] = read_reference(Path(path), player)
    return NamedReferences(found)
