"""`livejam evaluate`: recordings of anyone's model, judged like our own."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_folder, require_free

if TYPE_CHECKING:
    from metrics.evaluation.judges import Settings
    from metrics.evaluation.pair_parts import Part
    from metrics.evaluation.pair_table import Summary
    from metrics.evaluation.pairs import Pair
    from metrics.provenance import Facts

WITHOUT = ("beats", "chords", "cocola")
TRACKERS = ("madmom", "librosa", "beat_this")


def add_evaluate(commands: Any) -> None:
    """Add the command to the parser's commands."""
    evaluate = commands.add_parser(
        "evaluate",
        help="judge recordings of any model: mixes, what was played to them, and true stems if there are any",
        description="Judge recordings of any model. A folder holds NAME.mix.wav, NAME.stem.wav and perhaps\n"
        "NAME.reference.wav (the true stem), or NAME/mix.wav and so on, as WAV, FLAC or MP3. A CSV file has the\n"
        "columns mix and stem, and may have reference, song, instrument and name. Beats and chords are tracked on\n"
        "the mix. What needs a true stem (distances, adherence to the prompt, relative loudness) is left out where\n"
        "there is none. Files that cannot be read are skipped and named. Stopped, the command goes on where it was\n"
        "when it is typed again. It writes results.json, .md, .csv and .png; `livejam compare` reads them too.",
        epilog="examples:\n  livejam evaluate played --out judged\n"
        "  livejam evaluate pairs.csv --out judged --workers 8 --without cocola",
    )
    evaluate.add_argument("pairs", type=Path, metavar="DIR|CSV", help="a folder of recordings, or a CSV file")
    evaluate.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for results")
    evaluate.add_argument("--name", help="name of the row (default: that of the folder or CSV file)")
    evaluate.add_argument("--workers", type=int, default=1, metavar="N", help="processes that measure (default: 1)")
    evaluate.add_argument(
        "--segment-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="length of a segment; the value is that of the first, the drift that of the second minus it (default: 10)",
    )
    evaluate.add_argument(
        "--hop-samples", type=int, metavar="N", help="look for clicks every N samples at 44.1 kHz (default: do not)"
    )
    evaluate.add_argument(
        "--without", nargs="+", choices=WITHOUT, default=[], help="leave these out; they take most of the time"
    )
    evaluate.add_argument(
        "--tracker",
        choices=TRACKERS,
        default=TRACKERS[0],
        help="who tracks beats: madmom is best of those that need no download, but not for commercial use; librosa is "
        "for any use; beat_this is the papers' (default: madmom)",
    )
    evaluate.add_argument(
        "--cocola",
        default="pocket",
        metavar="WEIGHTS",
        help="COCOLA's weights: pocket, strict (which knows echoes and noise), cocola (the published ones) or a file "
        "(default: pocket)",
    )
    evaluate.add_argument("--vggish", action="store_true", help="distances in VGGish's embeddings too")
    evaluate.add_argument("--clap", action="store_true", help="distances in CLAP's embeddings too")
    add_overwrite(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from metrics.evaluation.pairs import find_pairs

    name = _name(options)
    require_folder(options.out)
    outputs = {f"--out {ending[1:]}": options.out / f"results{ending}" for ending in (".json", ".md", ".csv", ".png")}
    require_free(outputs, [options.pairs], options.overwrite)
    settings, pairs = _settings(options), find_pairs(options.pairs)
    summary, facts = _judged(pairs, settings, options, name)
    if not summary.measured:
        pair, reason = next(iter(summary.skipped.items()))
        raise UserError(f"none of {len(pairs)} pairs can be read; the first is {pair}: {reason}")
    _write(summary, facts, name, options.out)
    return 0


def _name(options: argparse.Namespace) -> str:
    """The name of the row."""
    from metrics.anchor_rows import ANCHORS
    from metrics.provenance import MEASURED_ON

    name = str(options.name or options.pairs.absolute().stem)
    if name in (*ANCHORS, MEASURED_ON):
        raise UserError(f"the row {name} is no model's; give another --name")
    return name


def _settings(options: argparse.Namespace) -> Settings:
    """What is measured.

    Raises:
        UserError: a number is out of its range.
    """
    from metrics.beat_tracking import BeatTracker
    from metrics.beats import BeatThis, LibrosaBeats, MadmomRNN
    from metrics.embeddings import Embedding, LaionClap, LogMel, VGGish
    from metrics.evaluation.judges import Settings

    if not 1 <= options.segment_seconds <= 600:
        raise UserError(f"--segment-seconds {options.segment_seconds:g} is not from 1 to 600")
    if options.hop_samples is not None and not 64 <= options.hop_samples <= 65_536:
        raise UserError(f"--hop-samples {options.hop_samples} is not from 64 to 65536")
    if not 1 <= options.workers <= 256:
        raise UserError(f"--workers {options.workers} is not from 1 to 256")
    embeddings: list[type[Embedding]] = [LogMel]
    embeddings += [kind for kind, asked in ((VGGish, options.vggish), (LaionClap, options.clap)) if asked]
    beats, chords, scores = (part not in options.without for part in WITHOUT)
    trackers: dict[str, type[BeatTracker]] = dict(zip(TRACKERS, (MadmomRNN, LibrosaBeats, BeatThis), strict=True))
    tracker = trackers[options.tracker] if beats else None
    cocola = options.cocola if scores else None
    return Settings(options.segment_seconds, tracker, chords, cocola, options.hop_samples, tuple(embeddings))


def _judged(pairs: list[Pair], settings: Settings, options: argparse.Namespace, name: str) -> tuple[Summary, Facts]:
    """Measure what is not measured yet, and sum up."""
    from metrics.evaluation.judges import Judges, return_large_arrays
    from metrics.evaluation.pair_parts import measure_all, parts_of
    from metrics.evaluation.pair_table import summarised
    from metrics.evaluation.pairs import partners_of
    from metrics.provenance import short_hash

    return_large_arrays()
    judges = Judges(settings)
    methods = judges.methods
    key = short_hash([methods, settings.segment_seconds, settings.hop_samples])
    parts = parts_of(pairs, partners_of(pairs), options.out / "parts", key)
    measure_all(parts, judges, settings, options.workers)
    widths = {kind: embedding.dimension for kind, embedding in judges.embeddings.items()}
    summary = summarised(parts, methods, widths, settings.segment_seconds)
    return summary, _facts(summary, parts, options, name)


def _facts(summary: Summary, parts: list[Part], options: argparse.Namespace, name: str) -> Facts:
    """What the table was measured on."""
    from metrics.provenance import short_hash

    songs = len({pair.song for part in parts for pair in part.pairs})
    data = {"root": str(options.pairs), "songs": songs, "sha256": short_hash([part.key for part in parts])}
    measures = {
        outcome.charts[0]: {
            "method": outcome.method,
            "segment_seconds": outcome.segment_seconds,
            "items": len(outcome.places),
            "sha256": short_hash(outcome.places),
            "protocol": outcome.protocol,
        }
        for outcome in summary.outcomes
    }
    model = {"recipe": "recordings", "iteration": None, "checkpoint": None, "sha256": None, "config": None}
    return {
        "data": {**data, "skipped": summary.skipped},
        "codec": {"name": None, "sha256": None},
        "measures": measures,
        "models": {name: model},
    }


def _write(summary: Summary, facts: Facts, name: str, out: Path) -> None:
    """Write the table and its picture, and print it."""
    from livejam.cli.evaluation_picture import draw
    from metrics.evaluation.table import rows_of
    from metrics.results import as_text, sorted_rows, write_table

    rows = sorted_rows(rows_of(summary.outcomes, name))
    write_table(rows, out / "results.json", facts)
    draw(rows, out / "results.png", facts)
    print(as_text(rows, width=shutil.get_terminal_size((120, 24)).columns, measured_on=[facts]))
    print(f"\n{len(summary.measured)} pairs; all numbers: {out / 'results.json'}, .md, .csv, .png")
    for pair, reason in summary.skipped.items():
        print(f"skipped {pair}: {reason}")
