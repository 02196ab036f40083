"""Songs for users who have none: rendered once, at the first start."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from datamodules.slakh_index import has_tracks
from livejam.errors import UserError
from livejam.files import atomic_path, one_after_the_other

MARKER = ".livejam/rendered.json"


@dataclass(frozen=True)
class RenderIfMissing:
    """Render pocket-Slakh where the data set's root is empty; an interrupted render continues.

    Args:
        songs: songs to render, at least 3.
        seed: seed of the songs.
        validation_fraction: share of the songs for validation, 0 to 1.
        test_fraction: share of the songs for test, 0 to 1.
        workers: threads that render; None = one per core.
    """

    songs: int = 160
    seed: int = 0
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    workers: int | None = None

    def render(self, root: Path) -> None:
        """Render missing songs. A folder with songs from elsewhere is left alone.

        Raises:
            UserError: the songs there were rendered with other settings.
        """
        marker, wanted = root / MARKER, {**asdict(self), "workers": None}
        if marker.is_file():
            self._require_same(json.loads(marker.read_text(encoding="utf-8")), wanted, root)
        elif has_tracks(root):
            return
        # imported here because composing needs packages that training on other songs does not
        from datamodules.pocket_slakh.render import is_rendered, render_songs

        fractions = self.validation_fraction, self.test_fraction
        if is_rendered(root, self.songs, *fractions) and marker.is_file():
            return
        with one_after_the_other(marker, f"another process is rendering songs into {root}: waiting until it is done"):
            with atomic_path(marker) as temporary:
                temporary.write_text(json.dumps(wanted), encoding="utf-8")
            render_songs(root, self.songs, self.seed, self.workers, *fractions)

    @staticmethod
    def _require_same(found: dict[str, object], wanted: dict[str, object], root: Path) -> None:
        # more songs than before are rendered; anything else would mix two collections
        different = [name for name in wanted if name != "songs" and found.get(name) != wanted[name]]
        if different:
            details = ", ".join(f"{name}: {found.get(name)} there, {wanted[name]} asked for" for name in different)
            raise UserError(f"the songs in {root} were rendered differently ({details}); choose another data.root")
