"""The tables of docs/codecs.md from the numbers in docs/codecs/results.json.

    python -m benchmarks.codec_tables

Every set is an object of codecs as `benchmarks.codec_reconstruction` or `benchmarks.codec_choices` prints it. The
document holds each table between two comments that name its set; they are replaced in place.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from livejam.files import atomic_path

KINDS = {"mix": "mix", "drums": "drums", "bass": "bass", "pitched": "other pitched"}
ROWS = {
    "log_mel_error": "log-mel L1 ↓",
    "stft_distance": "multi-resolution STFT ↓",
    "fad_log_mel": "Fréchet distance, log-mel ↓",
    "spectral_gap_excess_db": "energy in spectral gaps, dB above the original ↓",
    "si_sdr_db": "SI-SDR in dB (at chance)",
    "chroma_correlation": "chroma kept ↑",
    "onset_f1": "onsets kept, F1 at ±30 ms ↑",
    "level_db": "level in dB → 0",
    "latent_smoothness": "smoothness of latents",
}
GENERATOR_ROWS = {
    "beat_f1_drums": "drums beat F1 ↑",
    "chord_tone_share": "chord tones ↑",
    "fad": "Fréchet distance, log-mel ↓",
    "loudness_db": "loudness in dB → 0",
}


def reconstruction_table(codecs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Scores by codec; several kinds of excerpts share a cell."""
    table = [["", *codecs]]
    for name, label in ROWS.items():
        kinds = [kind for kind in KINDS if all(name in codec["stems"].get(kind, {}) for codec in codecs.values())]
        cells = [" / ".join(shown(codec["stems"][kind][name]) for kind in kinds) for codec in codecs.values()]
        table.append([f"{label}: {' / '.join(KINDS[kind] for kind in kinds)}", *cells])
    if all(codec.get("beat_f1") for codec in codecs.values()):
        beats = [codec["beat_f1"] for codec in codecs.values()]
        cells = [f"{shown(beat['reconstructed'])} of {shown(beat['original'])}" for beat in beats]
        table.append(["beat F1 of mixes, and of their originals ↑", *cells])
    if all(codec.get("robustness_db") for codec in codecs.values()):
        for name in ("noise 0.3", "noise 0.6", "noise 1.0", "outliers"):
            cells = [" / ".join(shown(c["robustness_db"][kind][name]) for kind in KINDS) for c in codecs.values()]
            table.append([f"level in dB with {name} on the latents: {' / '.join(KINDS.values())}", *cells])
    return table


def generator_table(codecs: dict[str, dict[str, Any]]) -> list[list[str]]:
    """What the generator that was trained on a codec's latents scores, and the true stem through the same codec."""
    table = [["", *codecs]]
    for name, label in GENERATOR_ROWS.items():
        cells = []
        for codec in codecs.values():
            rows = codec["generator"]
            cells.append(f"**{shown(rows['trained'][name])}** ({shown(rows['codec'][name])})")
        table.append([label, *cells])
    return table


def shown(value: float) -> str:
    """Three digits that matter."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def as_markdown(table: list[list[str]]) -> str:
    """The first line is the head."""
    head, *rest = ["| " + " | ".join(line) + " |" for line in table]
    return "\n".join([head, "|" + "---|" * len(table[0]), *rest])


def tables(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Markdown by the name of the set."""
    found = {}
    for name, codecs in results.items():
        inner = {title: codec.get("reconstruction", codec) for title, codec in codecs.items()}
        found[name] = as_markdown(reconstruction_table(inner))
        generated = {title: codec for title, codec in codecs.items() if "generator" in codec}
        if generated:
            found[f"{name}-generator"] = as_markdown(generator_table(generated))
    return found


def with_tables(text: str, results: dict[str, dict[str, Any]]) -> str:
    """The document with its tables replaced."""
    for name, table in tables(results).items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, _, rest = text.partition(begin)
        if rest:
            text = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    """Read, replace, write."""
    parser = argparse.ArgumentParser(description="Put the numbers of a JSON file into a document.")
    parser.add_argument("--results", type=Path, default=Path("docs/codecs/results.json"), help="the numbers")
    parser.add_argument("--document", type=Path, default=Path("docs/codecs.md"), help="what holds the tables")
    given = parser.parse_args()
    text = with_tables(given.document.read_text(encoding="utf-8"), json.loads(given.results.read_text()))
    with atomic_path(given.document) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
