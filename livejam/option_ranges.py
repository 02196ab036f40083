"""The allowed range of every number in a configuration, by the name of its option: one name means one thing everywhere.

The objects themselves check what depends on several options. This check comes first, before anything is built, so that
a typing error gives one sentence that says where it is, instead of ending a long computation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from livejam.errors import UserError

PACKAGES = ("livejam.", "lightning_modules.", "datamodules.", "callbacks.", "metrics.")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; `open_low` and `open_high` leave the ends out, which an infinite end always is."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, number: float) -> bool:
        low = self.low < number if self.open_low else self.low <= number
        high = number < self.high if self.open_high else number <= self.high
        return low and high and math.isfinite(number)

    def __str__(self) -> str:
        if math.isinf(self.low):
            return "a finite number"
        low = f"more than {self.low:g}" if self.open_low else f"{self.low:g} or more"
        if math.isinf(self.high):
            return low
        return f"{low} and less than {self.high:g}" if self.open_high else f"from {self.low:g} to {self.high:g}"


FINITE = Range()

LONGEST_SPAN = 1 << 16
"""Frames or blocks that a model remembers or plays ahead: most of an hour at LiveBand's rate. It would hold more in its
memory at all times, and a file from a stranger may ask for any number."""

_COUNTS = """
    accumulated_pieces audio_channels bands batch_size batches_per_epoch blocks blocks_per_level channels classes
    code_frames crop_samples curves denoising_steps depth dimension eval_batch_size eval_items every_n_iterations
    every_n_validations excerpts expansion fewest_steps frequencies full_steps groups harmonics heads hidden hop_samples
    inputs keep kept_notes latent_channels levels longest most_steps multipliers parity_steps penalty_every
    prompt_hidden
    sample_rate_hz schedule_steps sketch_channels sketch_levels songs steps strides subframe_blocks subframe_width
    submixes_per_song test_items trained_blocks validation_crops views widest_median width windows
"""
_WHOLES = """
    bank_workers class_channels cutoff_frames decay_from decay_iterations discriminator_lead easy_iterations
    fade_samples frames generator_warmup_iterations
    global_width mix_channels reference_channels layer lead magnitude_steps max_items max_test_items noise_channels
    num_workers prompt_width rank seed start_iteration warmup_iterations warmup_steps workers
"""
_SPANS = """
    block_frames context_blocks crop_frames window_blocks window_frames
"""
_SPANS_OR_NONE = """
    anticipations context_frames lookahead_frames
"""
_POSITIVES = """
    alpha bound eval_seconds excerpt_seconds floor gradient_clip highest_sigma hop_seconds late_stems line_seconds
    longest_seconds lowest_sigma regression_half_life rho rotary_base seconds segment_seconds window_seconds
"""
_WEIGHTS = """
    cache_gb
    base_lr_share consistency_weight contrastive_weight denoising_weight encoder_lr_share feature_weight gain_db
    guidance latent_noise latent_weight level_weight low_band_weight mel_weight mismatch_weight mix past penalty_noise
    penalty_step penalty_weight pooled_weight prompt regression_weight sketch spectral_gap_weight spectral_weight
    teacher_guidance
    temporal_weight weight
"""
_SHARES = """
    control_dropout description_dropout discriminator_class_dropout dropout generator_class_dropout largest_pan
    late_starts min_active_ratio mix_dropout mix_partial_dropout mix_share partial_dropout prompt_dropout prompt_time
    past_dropout rescale sketch_dropout student_context test test_fraction unconditional_dropout unconditional_share
    validation validation_fraction whole_dropout
"""
_FINITES = """
    cutoff_blocks high highest_gain_db low lowest_gain_db play_cutoff_blocks residual_gain target_advantage
"""

RANGES: dict[str, Range] = {
    **dict.fromkeys(_COUNTS.split(), Range(1)),
    **dict.fromkeys(_WHOLES.split(), Range(0)),
    **dict.fromkeys(_SPANS.split(), Range(1, LONGEST_SPAN)),
    **dict.fromkeys(_SPANS_OR_NONE.split(), Range(0, LONGEST_SPAN)),
    **dict.fromkeys(_POSITIVES.split(), Range(0, open_low=True)),
    **dict.fromkeys(_WEIGHTS.split(), Range(0)),
    **dict.fromkeys(_SHARES.split(), Range(0, 1)),
    **dict.fromkeys(_FINITES.split(), FINITE),
    "anticipation_frames": Range(-1, LONGEST_SPAN),  # of a bidirectional generator
    "ema_decay": Range(0, 1, open_high=True),
    "lowest_note": Range(0, 127),
    "threshold_dbfs": Range(-120, 0),
    "windows_samples": Range(16),
}
"""Option → its range. The range of a list is that of its numbers."""


def require_ranges(config: Mapping[str, Any]) -> None:
    """Refuse a number that is out of range for its option, in any of our classes.

    Args:
        config: nested options, with objects as `class_path` and `init_args`.

    Raises:
        UserError: names the place and the range.
    """
    for place, name, number in _numbers(config, "", own=False):
        require_number(place, number, RANGES.get(name, FINITE))


def require_number(name: str, number: float | None, allowed: Range) -> None:
    """Refuse a number that is out of range for its option; None always passes.

    Raises:
        UserError: names the option and its range.
    """
    if number is not None and number not in allowed:
        raise UserError(f"{name} is {number}; it must be {allowed}")


def _numbers(node: Any, place: str, own: bool) -> Iterator[tuple[str, str, float]]:
    """Place, option and number of every number below a node that is an option of a class of ours."""
    if isinstance(node, Mapping):
        class_path = node.get("class_path")
        own = str(class_path).startswith(PACKAGES) if class_path else own
        for name, value in node.items():
            inside = place if name == "init_args" else f"{place}.{name}".lstrip(".")
            yield from _numbers(value, inside, own)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _numbers(value, place, own)
    elif own and isinstance(node, int | float) and not isinstance(node, bool):
        yield place, place.rpartition(".")[2], node
