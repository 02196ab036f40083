"""Songs for users who have none: rendered once, at the first start."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from datamodules.slakh_index import has_tracks
from datamodules.wide_songs.collection import WideSongs
from livejam.errors import UserError
from livejam.files import atomic_path, one_after_the_other

MARKER = ".livejam/rendered.json"


@dataclass(frozen=True)
class RenderIfMissing:
    """Render songs where the data set's root is empty; an interrupted render continues.

    Args:
        songs: songs to render, at least 3.
        seed: seed of the songs.
        validation_fraction: share of the songs for validation, 0 to 1.
        test_fraction: share of the songs for test, 0 to 1.
        workers: threads that render; None = one per core.
        wide: render wide songs, and which; None renders pocket-Slakh.
    """

    songs: int = 160
    seed: int = 0
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    workers: int | None = None
    wide: WideSongs | None = None

    def render(self, root: Path) -> None:
        """Render missing songs. A folder with songs from elsewhere is left alone.

        Raises:
            UserError: the songs there were rendered with other settings.
        """
        marker, wanted = root / MARKER, json.loads(json.dumps({**asdict(self), "workers": None}))
        if marker.is_file():
            self._require_same(json.loads(marker.read_text(encoding="utf-8")), wanted, root)
        elif has_tracks(root):
            return
        if marker.is_file() and self._is_rendered(root):
            return
        with one_after_the_other(marker, f"another process is rendering songs into {root}: waiting until it is done"):
            with atomic_path(marker) as temporary:
                temporary.write_text(json.dumps(wanted), encoding="utf-8")
            self._render_missing(root)

    def _is_rendered(self, root: Path) -> bool:
        # imported where they are used because composing needs packages that training on other songs does not
        from datamodules.pocket_slakh.collection import missing_songs
        from datamodules.wide_songs.render import take_splits

        takes = 1 if self.wide is None else self.wide.takes
        return not missing_songs(root, take_splits(self.songs, takes, self.validation_fraction, self.test_fraction))

    def _render_missing(self, root: Path) -> None:
        from datamodules.pocket_slakh.render import render_songs
        from datamodules.wide_songs.render import render_wide_songs

        fractions = self.validation_fraction, self.test_fraction
        if self.wide is None:
            render_songs(root, self.songs, self.seed, self.workers, *fractions)
        else:
            render_wide_songs(root, self.songs, self.seed, self.wide, self.workers, *fractions)

    @staticmethod
    def _require_same(found: dict[str, object], wanted: dict[str, object], root: Path) -> None:
        if isinstance(there := found.get("wide"), dict):
            # what had no option when they were rendered was as it is by default
            found = {**found, "wide": {**json.loads(json.dumps(asdict(WideSongs()))), **there}}
        # more songs than before are rendered; anything else would mix two collections
        different = [name for name in wanted if name != "songs" and found.get(name) != wanted[name]]
        if different:
            details = ", ".join(f"{name}: {found.get(name)} there, {wanted[name]} asked for" for name in different)
            raise UserError(f"the songs in {root} were rendered differently ({details}); choose another data.root")
