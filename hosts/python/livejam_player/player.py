"""Sound in, accompaniment out, in pieces of any size.

Shapes: A audio channels, N samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from livejam_player.model import Array, ModelError, StepModel, read_tensors, require_seed
from livejam_player.sketching import Sketch, require_sketch
from livejam_player.words import Prompt, Timeline, Vocabulary, read_timeline

LOUDEST = 10.0
"""Samples beyond ± this are clipped, before they overflow in a graph."""


class Player:
    """A model that accompanies: sample k of the output should sound while sample k of the input sounds.

    Args:
        folder: an exported directory.
        instrument: by name; None = the model's default.
        seed: equal seeds and equal mixes give equal notes.
        threads: that a graph may use.

    Raises:
        ModelError: the directory cannot be played, or the model does not know the instrument.
    """

    def __init__(self, folder: str | Path, instrument: str | None = None, seed: int = 0, threads: int = 1) -> None:
        require_seed(seed)
        self.model, self._folder = StepModel(folder, threads), Path(folder)
        self.instrument, self.seed = self.model.instrument_index(instrument), seed
        self._vocabulary: Vocabulary | None = None
        self._prompt: Prompt | None = None
        self._negative: Prompt | None = None
        self._timeline = Timeline()
        self._sketch: Sketch | None = None
        self.reset()

    @property
    def sample_rate_hz(self) -> int:
        """Of input and output."""
        return int(self.model.signature["sample_rate_hz"])

    @property
    def channels(self) -> int:
        """Of input and output."""
        return self.model.channels

    @property
    def lead_samples(self) -> int:
        """After n samples heard, at least n + lead samples of the output are known."""
        return int(self.model.signature["lead_samples"])

    @property
    def late_samples(self) -> int:
        """How late `process` plays; 0 for a model that plays ahead."""
        return max(0, -self.lead_samples)

    @property
    def vocabulary(self) -> Vocabulary:
        """What the model can be asked for in words.

        Raises:
            ModelError: it takes none, or the file of prompts is missing or damaged.
        """
        if self.model.signature.get("prompts") is None:
            raise ModelError("this model takes no words; leave the prompt out, or export a model that learnt them")
        if self._vocabulary is None:
            tensors = read_tensors(self._folder / "prompts.safetensors")
            self._vocabulary = Vocabulary(self.model.signature, tensors)
        return self._vocabulary

    def set_prompt(self, words: str | None) -> None:
        """Describe what to play from the next block on: one prompt, or several as `jazz piano:0.7, strings:0.3`.

        What the model has encoded of its past is encoded again with it in every block, or keeps its old prompt, as
        `reencodes` in the signature says.

        Args:
            words: the description; None = the instrument's own.

        Raises:
            ModelError: the model takes no words or does not know these.
        """
        self._prompt = None if words is None else self.vocabulary.prompt(words)

    def set_negative_prompt(self, words: str | None) -> None:
        """Lead away from these words from the next block on, instead of from no prompt.

        Args:
            words: as in `set_prompt`; None = away from no prompt.

        Raises:
            ModelError: the model takes no words or does not guide them, or does not know these.
        """
        vocabulary = self.vocabulary
        self._require_guided()
        self._negative = None if words is None else vocabulary.prompt(words)

    def _require_guided(self) -> None:
        if not self.model.signature["prompts"].get("negative", False):
            raise ModelError(
                "this model was exported without guidance of the prompt, so it cannot lead away from words; export it "
                "with `livejam export --guidance prompt=3`"
            )

    def set_prompts(self, path: str | Path) -> None:
        """Let the prompt change by a timeline in a file, from the beginning of the mix (`read_timeline`).

        Raises:
            ModelError: as `read_timeline`, or the model takes no words, or does not guide them.
        """
        timeline = read_timeline(Path(path), self.vocabulary, self._frame_rate_hz, self._block_frames)
        if timeline.leads_away:
            self._require_guided()
        self._timeline = timeline

    def set_sketch(self, curves_TP: Array | None) -> None:
        """Follow curves of loudness, brightness and pitch from the next block on (`sketch_of`); None = none.

        Raises:
            ModelError: the model follows no sketch, or the curves have another form.
        """
        self._sketch = None if curves_TP is None else Sketch(require_sketch(self.model.signature), curves_TP)

    @property
    def _block_frames(self) -> int:
        return int(self.model.signature["block_frames"])

    @property
    def _frame_rate_hz(self) -> float:
        return self.sample_rate_hz * self._block_frames / self.model.block_samples

    def _controls(self) -> dict[str, Array]:
        """What is asked of the next block."""
        asked = {} if self._sketch is None else self._sketch.controls(self._blocks)
        first = self._blocks * self._block_frames + 1 + int(self.model.signature["anticipation_frames"])
        if self._negative is not None or self._timeline.leads_away:
            before = self._negative or self.vocabulary.nothing
            asked |= self._timeline.avoided_at(first, self._block_frames, before).controls("negative_prompt")
        if self._prompt is None and not self._timeline.changes:
            return asked
        before = self._prompt or self.vocabulary.prompt(self._instrument_name)
        return asked | self._timeline.at(first, self._block_frames, before).controls()

    @property
    def _instrument_name(self) -> str:
        known = self.model.signature["instruments"]
        return str(next(one["name"] for one in known if one["index"] == self.instrument))

    def reset(self) -> None:
        """Begin anew; what was asked stays, and a timeline begins anew as well."""
        self.model.reset()
        self._blocks = 0
        nothing_AN: Array = np.zeros((self.channels, 0), np.float32)
        self._due_AN = self._unheard_AN = nothing_AN
        first = self.model.signature["first_output_sample"] + self.late_samples
        self._before_AN: Array = np.zeros((self.channels, first), np.float32)

    def process(self, audio_AN: Array) -> Array:
        """Hear the next samples, and play as many.

        Args:
            audio_AN: sound in [-1, 1], any number of samples.

        Raises:
            ModelError: wrong number of channels, or samples that are not finite; nothing of them was heard.
        """
        self._due_AN = np.concatenate((self._due_AN, self.advance(audio_AN)), axis=1)
        samples = audio_AN.shape[1]
        played_AN, self._due_AN = self._due_AN[:, :samples], self._due_AN[:, samples:]
        return played_AN

    def advance(self, audio_AN: Array) -> Array:
        """Hear the next samples; what became known of the output, which is often ahead of them.

        All that it gives, one after another, is what `process` gives.

        Args:
            audio_AN: sound in [-1, 1], any number of samples.

        Raises:
            ModelError: as `process`.
        """
        if audio_AN.ndim != 2 or len(audio_AN) != self.channels:
            raise ModelError(
                f"the audio has shape {audio_AN.shape}, but the model needs ({self.channels} channels, samples); "
                "mix it down first"
            )
        if not np.isfinite(audio_AN).all():
            raise ModelError("the audio contains NaN or infinite samples and was not heard; check where it comes from")
        clipped_AN = np.clip(audio_AN, -LOUDEST, LOUDEST).astype(np.float32)
        self._unheard_AN = np.concatenate((self._unheard_AN, clipped_AN), axis=1)
        pieces, block = [self._before_AN], self.model.block_samples
        self._before_AN = self._before_AN[:, :0]
        while self._unheard_AN.shape[1] >= block:
            heard_AN = self._unheard_AN[:, :block]
            pieces.append(self.model.step(heard_AN, self.instrument, self.seed, self._controls()))
            self._blocks += 1
            self._unheard_AN = self._unheard_AN[:, block:]
        return np.concatenate(pieces, axis=1)
