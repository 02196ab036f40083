"""Songs that MMA, a program which users install, plays from chart to General MIDI file."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from datamodules.mma_charts import draw_chart, read_styles
from datamodules.pocket_slakh.collection import write_all
from livejam.errors import UserError
from livejam.files import atomic_path

PROGRAM = "mma"
LIBRARY = Path("/usr/share/mma/lib")
"""Where Debian has it."""
MOST_SECONDS = 60.0
"""A chart takes a few tenths of a second."""
SHARES = {False: "seen", True: "held_out", None: "all"}


def write_mma_songs(
    out: Path,
    songs: int,
    seed: int,
    held_out: bool | None = False,
    library: Path = LIBRARY,
    workers: int | None = None,
) -> list[str]:
    """Have MMA play charts that are not played yet.

    Args:
        out: a folder for MIDI files, `mma_<seed>_<share>_<number>.mid`; what is there stays as it is.
        songs: their number, at least 1.
        seed: of the charts, at least 0.
        held_out: true takes only files of the library that are held out, false only the others, null any.
        library: MMA's folder `lib`.
        workers: songs at the same time; None = one per core.

    Returns:
        why songs are missing, one sentence for each.

    Raises:
        UserError: MMA is not installed, or there is no such library.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise UserError("MMA is not installed: get it from your system (Debian: apt install mma)")
    styles = [style for style in read_styles(library) if held_out in (None, style.is_held_out)]
    if not styles:
        raise UserError(f"{library} has no grooves that are {SHARES[held_out].replace('_', ' ')}; choose other grooves")
    places = {number: out / f"mma_{seed}_{SHARES[held_out]}_{number:05d}.mid" for number in range(songs)}
    missing = [(path, number) for number, path in places.items() if not path.is_file()]
    problems: list[str] = []

    def write(path: Path, number: int) -> None:
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(_played(program, library, draw_chart(styles, seed, number)))
        except _UnplayableError as reason:  # one chart must not cost the others
            problems.append(f"{path.name}: {reason}")

    write_all(missing, write, workers, "playing charts")
    return sorted(problems)


class _UnplayableError(Exception):
    """MMA does not play a chart; says why."""


def _played(program: str, library: Path, chart: str) -> bytes:
    """The MIDI file that MMA makes of a chart.

    Raises:
        _UnplayableError: it makes none.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "chart.mma"), Path(folder, "chart.mid")
        # MMA takes a path up to its first space
        Path(folder, "lib").symlink_to(library.resolve(), target_is_directory=True)
        source.write_text(f"SetLibPath lib\n{chart}", encoding="utf-8")
        # and writes the name of the chart as it is given into the result
        command = [program, "-w", "-f", result.name, source.name]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=MOST_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise _UnplayableError(f"MMA took longer than {MOST_SECONDS:.0f} s") from None
        if done.returncode or not result.is_file():
            said = " ".join((done.stdout + done.stderr).split())
            raise _UnplayableError(f"MMA stopped with status {done.returncode}: {said[-200:]}")
        return result.read_bytes()
