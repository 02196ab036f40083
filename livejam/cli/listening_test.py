"""`livejam listening-test`: a page for listeners, and the analysis of their answers."""

from __future__ import annotations

import argparse
import math
import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.batch import CATEGORIES
from livejam.cli.compare import run_names
from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from metrics.listening import Verdict

    Floats = NDArray[np.float64]

TRUTH, ANCHOR = "ground truth", "low anchor"

LEVEL_DBFS = -23.0
"""All clips are equally loud while they sound."""

NAME = re.compile(rf"(?P<song>.+)_(?P<instrument>{'|'.join(c.replace(' ', '-') for c in (*CATEGORIES, 'Any'))})(_.+s)?")

QUALITY = {
    "name": "quality",
    "title": "Part 1: sound",
    "task": "Every clip is one instrument alone. Rate how good it sounds, whatever it plays.",
    "questions": [
        {"name": "quality", "text": "How good does it sound overall?", "low": "bad", "high": "excellent"},
        {"name": "consistency", "text": "Does it stay as good from start to end?", "low": "no", "high": "yes"},
    ],
}
ADHERENCE = {
    "name": "adherence",
    "title": "Part 2: playing together",
    "task": "On every page the same band plays, each time with another player of one instrument. Rate how well that "
    "player fits the band, whatever the sound is like.",
    "questions": [
        {"name": "fit", "text": "How well does it fit the band?", "low": "not at all", "high": "perfectly"},
        {"name": "consistency", "text": "Does it fit equally well from start to end?", "low": "no", "high": "yes"},
    ],
}
"""The two parts and four questions of LiveBand's test (section 6.4), in our words."""


def add_listening_test(commands: Any) -> None:
    """Add the command to the parser's commands."""
    test = commands.add_parser(
        "listening-test",
        help="make a listening test of runs, or analyse its answers",
        description="RUN …: a web page in DIR/index.html that needs neither a server nor a network. Listeners\n"
        "rate the models of the runs, the hidden truth and a low anchor, blind and each in a different order: first\n"
        "single stems for their sound (anchor: noise in the latents), then stems within the mix for how they fit\n"
        "(anchor: a stem of another song). They save their answers as a CSV file.\n\n"
        "analyse ANSWERS …: Friedman's test per question, then all pairs by Wilcoxon's signed-rank test, corrected\n"
        "by Holm. Only complete answers count.",
        epilog="examples:\n  livejam listening-test runs/quickstart --out listening\n"
        "  livejam listening-test analyse answers-1.csv answers-2.csv answers-3.csv --markdown listening.md",
    )
    test.add_argument("words", nargs="+", metavar="RUN", help="tested runs; or `analyse`, followed by files of answers")
    test.add_argument("--out", type=Path, metavar="DIR", help="folder for the page, new or empty")
    test.add_argument("--items", type=int, default=10, metavar="N", help="pages per part (default: 10)")
    test.add_argument("--seed", type=int, default=0, metavar="S", help="seed of choice and order (default: 0)")
    test.add_argument("--markdown", type=Path, metavar="MD", help="also write the analysis as Markdown")
    add_overwrite(test)
    test.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.words[0] == "analyse":
        answers = [Path(word) for word in options.words[1:]]
        require_free({"--markdown": options.markdown}, answers, options.overwrite)
        return _analyse(answers, options.markdown)
    if options.out is None:
        raise UserError("a listening test needs a folder: add --out DIR")
    runs = [Path(word) for word in options.words]
    make_test(dict(zip(run_names(runs), runs, strict=True)), options.out, options.items, options.seed)
    print(f"{options.out / 'index.html'}: open it, or give the whole folder to listeners")
    return 0


@dataclass(frozen=True)
class Excerpt:
    """The files that a test wrote for one item.

    Args:
        name: name of its files.
        song: the song that it is from.
        instrument: the instrument that plays.
    """

    name: str
    song: str
    instrument: str


def excerpts_of(run: Path) -> dict[str, Excerpt]:
    """All excerpts whose audio a test wrote, by name.

    Raises:
        UserError: there is none.
    """
    ending = "_generated.wav"
    names = sorted(path.name.removesuffix(ending) for path in (run / "audio").glob(f"*{ending}"))
    found = {name: match for name in names if (match := NAME.fullmatch(name))}
    if not found:
        raise UserError(f"{run}/audio holds nothing that a model played; test it with callbacks.AudioLogger first")
    return {name: Excerpt(name, match["song"], match["instrument"]) for name, match in found.items()}


def make_test(runs: dict[str, Path], out: Path, items: int, seed: int) -> None:
    """Write the page and its clips.

    Args:
        runs: the folder of each model.
        out: a new or empty folder.
        items: pages per part (≥ 1).
        seed: seed of the choice of excerpts and of every listener's order.

    Raises:
        UserError: files are missing, or there are too few excerpts.
    """
    from livejam.cli.listening_page import page
    from livejam.files import atomic_path

    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; name a new folder for the listening test")
    by_run = [excerpts_of(run) for run in runs.values()]
    common = [excerpt for name, excerpt in by_run[0].items() if all(name in other for other in by_run)]
    if not 1 <= items <= len(common):
        raise UserError(
            f"{items} items are asked for, and {len(common)} excerpts are common to all runs; give --items, or test "
            "with a greater AudioLogger.max_test_items"
        )
    drawn = random.Random(seed)
    chosen = sorted(drawn.sample(common, items), key=lambda excerpt: excerpt.name)
    partners = {excerpt.name: _partner(excerpt, common, drawn) for excerpt in chosen}
    clips = ClipWriter(out, seed)
    quality = [_quality_item(excerpt, runs, clips) for excerpt in chosen]
    adherence = [_adherence_item(excerpt, partners[excerpt.name], runs, clips) for excerpt in chosen]
    parts = [{**QUALITY, "items": quality}, {**ADHERENCE, "items": adherence}]
    identity = f"{zlib.crc32(repr((seed, parts)).encode()):08x}"
    with atomic_path(out / "index.html") as path:
        path.write_text(page({"id": identity, "seed": seed, "parts": parts}), encoding="utf-8")


def _partner(excerpt: Excerpt, others: Sequence[Excerpt], drawn: random.Random) -> Excerpt:
    """An excerpt of another song, of the same instrument if there is one."""
    foreign = [other for other in others if other.song != excerpt.song]
    alike = [other for other in foreign if other.instrument == excerpt.instrument]
    if not foreign:
        raise UserError("all excerpts are of one song; a listening test needs excerpts of two songs at least")
    return drawn.choice(alike or foreign)


class ClipWriter:
    """Writes clips under names that reveal nothing.

    Args:
        out: folder of the page.
        seed: seed of the names.
    """

    def __init__(self, out: Path, seed: int) -> None:
        self.out = out
        self.names = random.Random(f"names {seed}")

    def write(self, condition: str, audio_N: Floats, sample_rate_hz: int) -> dict[str, str]:
        """Write a clip, as loud as all others; returns its entry for the page."""
        import numpy as np
        import soundfile

        from livejam.files import atomic_path
        from metrics.loudness import gated_level_dbfs

        level_dbfs = gated_level_dbfs(audio_N, sample_rate_hz)
        gain = 1.0 if math.isnan(level_dbfs) else 10 ** ((LEVEL_DBFS - level_dbfs) / 20)
        gain = min(gain, 0.99 / max(float(np.abs(audio_N).max(initial=0.0)), 1e-9))
        file = f"clips/{self.names.getrandbits(48):012x}.flac"
        with atomic_path(self.out / file) as path:
            soundfile.write(path, gain * audio_N, sample_rate_hz, format="FLAC", subtype="PCM_16")
        return {"condition": condition, "file": file}


def _quality_item(excerpt: Excerpt, runs: dict[str, Path], clips: ClipWriter) -> dict[str, Any]:
    first = next(iter(runs.values()))
    sources = {name: (run, "generated") for name, run in runs.items()}
    sources |= {TRUTH: (first, "target"), ANCHOR: (first, "noise")}
    sounds = {condition: _read(run, excerpt, part) for condition, (run, part) in sources.items()}
    return {"name": excerpt.name, "clips": [clips.write(name, *sound) for name, sound in sounds.items()]}


def _adherence_item(excerpt: Excerpt, partner: Excerpt, runs: dict[str, Path], clips: ClipWriter) -> dict[str, Any]:
    first = next(iter(runs.values()))
    mix_N, rate = _read(first, excerpt, "mix")
    stems = {name: _read(run, excerpt, "generated")[0] for name, run in runs.items()}
    stems |= {TRUTH: _read(first, excerpt, "target")[0], ANCHOR: _read(first, partner, "target")[0]}
    written = [clips.write(name, _together(mix_N, stem_N), rate) for name, stem_N in stems.items()]
    return {"name": excerpt.name, "clips": written}


def _together(mix_N: Floats, stem_N: Floats) -> Floats:
    """Mix and stem at their own levels, as long as the mix."""
    import numpy as np

    stem_N = stem_N[: len(mix_N)]
    return mix_N + np.pad(stem_N, (0, len(mix_N) - len(stem_N)))


def _read(run: Path, excerpt: Excerpt, part: str) -> tuple[Floats, int]:
    import soundfile

    path = run / "audio" / f"{excerpt.name}_{part}.wav"
    try:
        audio_N, rate = soundfile.read(path)
    except soundfile.LibsndfileError as error:
        raise UserError(f"{path} is missing or damaged; run `lightning test` again, which writes it") from error
    return audio_N, rate


def _analyse(paths: Sequence[Path], markdown: Path | None) -> int:
    from livejam.files import atomic_path
    from metrics.listening import complete_sessions, judge, read_ratings

    if not paths:
        raise UserError("name the files of answers: livejam listening-test analyse ANSWERS …")
    ratings, incomplete = complete_sessions(read_ratings(paths))
    verdicts = judge(ratings)
    print(_report(verdicts, incomplete, _lines, ""))
    if markdown is not None:
        with atomic_path(markdown) as path:
            path.write_text(_report(verdicts, incomplete, _markdown_lines, "**") + "\n", encoding="utf-8")
    return 0


Table = Callable[[list[list[str]]], list[str]]


def _report(verdicts: list[Verdict], incomplete: int, table: Table, bold: str) -> str:
    listeners = verdicts[0].listeners if verdicts else 0
    text = [f"{listeners} complete sessions, {incomplete} incomplete ones left out."]
    for verdict in verdicts:
        means = [["condition", "mean rating"], *([name, f"{mean:.2f}"] for name, mean in verdict.means.items())]
        pairs = [["pair", "difference", "p (Holm)"]]
        pairs += [[f"{p.one} – {p.other}", f"{p.difference:+.2f}", _probability(p.p)] for p in verdict.pairs]
        friedman = f"Friedman: χ² = {_number(verdict.statistic)}, p {_relation(verdict.p)}"
        text += ["", f"{bold}{verdict.question}{bold}", "", *table(means), "", friedman, "", *table(pairs)]
    return "\n".join(text)


def _lines(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _markdown_lines(rows: list[list[str]]) -> list[str]:
    head, *body = rows
    ruled = [head, ["---", *("---:" for _ in head[1:])], *body]
    return [f"| {' | '.join(row)} |" for row in ruled]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _probability(p: float) -> str:
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _relation(p: float) -> str:
    return _probability(p) if p < 0.001 else f"= {_probability(p)}"
