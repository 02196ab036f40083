"""What the columns of tables are called: the papers' words only over numbers of the papers' protocol."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from metrics.adherence import SUMMARY
from metrics.provenance import Facts

PUBLISHED = "published"

TABLE_1 = {
    "fad_vggish": "FAD vgg ↓",
    "fad_laion_clap": "FAD clap ↓",
    "beat_f1": "BA ↑",
    "cocola_full": "COC full ↑",
    "cocola_harmonic": "COC harm ↑",
    "cocola_percussive": "COC perc ↑",
}
"""LiveBand's headings."""

LABELS = {
    SUMMARY: "adherence ↑",
    "fad_vggish": "Fréchet VGGish ↓",
    "fad_laion_clap": "Fréchet CLAP ↓",
    "fad_clap": "Fréchet CLAP ↓",
    "fad": "Fréchet log-mel ↓",
    "fad_cocola": "Fréchet COCOLA ↓",
    "kad_vggish": "KAD VGGish ↓",
    "kad_laion_clap": "KAD CLAP ↓",
    "kad_log_mel": "KAD log-mel ↓",
    "kad_cocola": "KAD COCOLA ↓",
    "apa_vggish": "APA VGGish ↑",
    "apa_laion_clap": "APA CLAP ↑",
    "apa_log_mel": "APA log-mel ↑",
    "apa_cocola": "APA COCOLA ↑",
    "beat_f1": "beat F1, mix ↑",
    "cocola_full": "COCOLA full ↑",
    "cocola_harmonic": "COCOLA harm ↑",
    "cocola_percussive": "COCOLA perc ↑",
    "beat_f1_mix": "beat F1 drums, mix ↑",
    "beat_f1_truth": "beat F1 ↑",
    "beat_f1_drums": "beat F1 drums ↑",
    "beat_f1_together": "beat F1 with mix, mix ↑",
    "beat_f1_together_truth": "beat F1 with mix ↑",
    "chord_tone_share": "chord tones ↑",
    "chroma_agreement": "chroma ↑",
    "key_agreement": "key ↑",
    "phase_lock": "phase lock ↑",
    "onset_ratio": "onset ratio → 1",
    "loudness_db": "loudness dB → 0",
    "loudness_error_db": "loudness error dB ↓",
    "loudness_lufs": "loudness LUFS",
    "silence_rate": "silence",
    "click_db": "clicks dB → 0",
    "copied": "copied ↓",
    "copied_spectrum": "copied, spectrum ↓",
    "broken_rate": "broken ↓",
}
"""Column → heading, in the order of tables: LiveBand's Table 1 first. Other columns are headed by their names."""

DISTANCES = ("fad", "kad", "apa")
"""How columns of clouds of embeddings begin; they come first."""

TRACKED = "beat_f1"
"""How columns begin whose numbers a beat tracker made."""


def heading(column: str, measured_on: Sequence[Facts] = ()) -> str:
    """The heading of a column.

    LiveBand's own stands only over numbers that were all measured by its protocol, on items that were drawn by it.
    Otherwise a column of beats names its tracker.

    Args:
        column: its name.
        measured_on: what the rows were measured on, as far as it is known.
    """
    facts = [_measure(column, one) for one in measured_on]
    if column in TABLE_1 and facts and all(map(_is_published, facts, measured_on)):
        return TABLE_1[column]
    name = column[:3].upper() + column[3:] if column.startswith(DISTANCES) else column
    label = LABELS.get(column, name.replace("_", " "))
    trackers = dict.fromkeys(re.split(r"[\s-]", str(one["method"]))[0] for one in facts if one and one.get("method"))
    return f"{label} ({', '.join(trackers)})" if column.startswith(TRACKED) and trackers else label


def _measure(column: str, facts: Facts) -> dict[str, Any] | None:
    """What is said of a column's measure, which is named after the first of its numbers."""
    measures: dict[str, dict[str, Any]] = facts["measures"]
    group = next((start for start in (TRACKED, "cocola") if column.startswith(start)), None)
    named = (own for chart, own in measures.items() if _column(chart) == column)
    alike = (own for chart, own in measures.items() if group and chart.startswith(group))
    return next(named, None) or next(alike, None)


def _column(chart: str) -> str:
    return chart.replace("/", "_")


def _is_published(measure: dict[str, Any] | None, facts: Facts) -> bool:
    return measure is not None and measure.get("protocol") == PUBLISHED == facts["data"].get("protocol")
