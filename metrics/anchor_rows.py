"""The rows that a model's numbers are read against, by name, and what their numbers are called in logs."""

from __future__ import annotations

CHEATS = ("echo", "noise")
"""What no listener takes for accompaniment: the mix itself, and white noise as loud as the true stem."""

ANCHORS = ("ground_truth", "codec", "random_pairing", "silence", "latent_noise", *CHEATS)
"""The true stem; the true stem through the codec; the true stem of another song; nothing; the true stem through the
codec with noise added to its latents; and the cheats."""


LAG_COPY = "lag_copy"
"""The true stem as it was one repeat of the mix ago (`metrics.lag_copy`): for models that play in blocks."""

ONE_STEP = "one_step"
"""What the model itself expects: its estimate in one step, without noise. For models that denoise, in tests only."""

BESIDE = {LAG_COPY: "lag copy", ONE_STEP: "one step"}
"""The rows that depend on the model, and what they are called in tables behind the name of its own row."""

PLAYERS = ("perfect", "late", "ignores")
"""Who else plays when the music changes: the true stem, the same a bar late, and as if nothing had happened."""


def anchor_tag(row: str, name: str) -> str:
    """What an anchor's number is called in logs."""
    return f"anchor/{row}/{name}"


def anchor_of(tag: str) -> tuple[str, str] | None:
    """Row and name of an anchor's number; None if it is none."""
    first, _, rest = tag.partition("/")
    row, _, name = rest.partition("/")
    return (row, name) if first == "anchor" and row in (*ANCHORS, *BESIDE, *PLAYERS) else None
