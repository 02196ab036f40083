"""Contrastive training of COCOLA: a mix should recognise its own stem among others.

Shapes: B batch, T frames, C = 2 · F levels of a frame, F mel bands, D embedding width, W windows.
"""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.spectrogram_latents import SpectrogramLatents, as_spectrogram
from lightning_modules.training import Recipe, draw_seed, is_dry_run, linear_warmup, seed_layers, warm_cosine
from livejam.batch import AccompanimentBatch, Annotations
from livejam.errors import UserError
from livejam.processes import gathered
from metrics.cocola import PARTS, Cocola, masked
from metrics.cocola_score import area_under_curve
from metrics.cocola_spectrogram import FRAMES, HOP_SAMPLES, SAMPLE_RATE_HZ, harmonic_percussive_db, relative_db
from metrics.cocola_weights import pretrained_cocola, save_cocola

FRAMES_PER_SECOND = SAMPLE_RATE_HZ // HOP_SAMPLES
NOISES = 4
"""Windows of noise in a step: one draw, which is like any other, with the masks of so many items."""


class CocolaTraining(Recipe):
    """InfoNCE with a bilinear similarity, over a batch of five-second windows of mixes and stems.

    Batches come from `Slakh2100DataModule`: as audio, or as spectrograms from its bank. Four things are not in the
    paper and can be turned off. `late_stems` adds silence to the negatives, and every mix's own stem, too early or too
    late. `cheats` adds what can win without listening: the mixes themselves and white noise. `pooled_weight` makes
    scores of different mixes comparable. `parts_per_item: false` masks all items of a batch alike, so that the mask
    does not reveal a pair.

    Validation scores pairs that belong together, the same pairs with the stem half a beat late, stems of other songs,
    and with `cheats` the mix with itself and with noise; `val/auc` is the mean over the kinds of how often the first
    scores above one of the others, and the best network is kept.

    Args:
        cocola: the network to train.
        optimizer: optimiser of its parameters.
        export_path: the file for the best weights.
        initial_weights: what training begins with, as in `metrics.cocola_weights.pretrained_cocola`; None = the weights
            of `cocola`.
        late_stems: smallest and largest shift of early or late stems as negatives, in seconds; None = only the other
            stems of the batch, as published.
        cheats: whether every mix (also shifted in time, if late stems are) and white noise are negatives; False = as
            published.
        pooled_weight: weight ≥ 0 of `pooled_contrast`; 0 = off, as published.
        parts_per_item: whether each item is masked on its own (as published) or the batch as a whole.
        warmup_steps: steps of linear warm-up; 0 = none.
        decay: whether the learning rate falls to zero along a cosine.
        seed: seed of windows, masks and delays; the draws of a step depend only on seed, rank and step.
    """

    best_auc: Tensor

    shown = ("train/accuracy",)

    def __init__(
        self,
        cocola: Cocola,
        optimizer: OptimizerCallable,
        export_path: str,
        initial_weights: str | None = None,
        late_stems: tuple[float, float] | None = (0.1, 0.6),
        cheats: bool = False,
        pooled_weight: float = 1.0,
        parts_per_item: bool = False,
        warmup_steps: int = 0,
        decay: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(seed, gradient_clip=None)
        if late_stems is not None and not 0 < late_stems[0] <= late_stems[1]:
            raise UserError(f"late_stems {late_stems} must be two times in seconds, the shorter one first and above 0")
        self.cocola, self.optimizer, self.codec = cocola, optimizer, SpectrogramLatents()
        if initial_weights is not None:
            _start_with(cocola, initial_weights)
        self.late_stems, self.cheats = late_stems, cheats
        self.pooled_weight, self.parts_per_item = pooled_weight, parts_per_item
        self.warmup_steps, self.decay, self.export_path = warmup_steps, decay, export_path
        self.register_buffer("best_auc", torch.tensor(0.0))
        self._held_out: dict[int, tuple[Tensor, Tensor]] = {}
        self._scores: dict[str, list[Tensor]] = {}

    def training_step(self, batch: AccompanimentBatch, batch_index: int) -> Tensor:
        """Windows, masks, embeddings, and the cross-entropy over all stems that a mix might go with."""
        self._iteration = self.global_step
        seed = draw_seed(self.seed, self.global_step) * 4096 + self.global_rank
        rng = torch.Generator().manual_seed(seed)
        seed_layers(seed)
        mix_BTC, stem_BTC = self._levels(batch)
        size, begin, late = len(mix_BTC), *self._moments(mix_BTC.shape[1], rng)
        windows = [_window(mix_BTC, begin), _window(stem_BTC, begin), *self._negatives(mix_BTC, stem_BTC, late, rng)]
        mix_BD, *stems = self.cocola.embed(torch.cat(self._masked(windows, size, rng))).split(size)
        stems += [mix_BD] if self.cheats else []
        logits_BS = self.cocola.similarity(mix_BD, torch.cat(stems))
        truth_B = torch.arange(size, device=logits_BS.device)
        losses = {"contrast": F.cross_entropy(logits_BS, truth_B)}
        if self.pooled_weight:
            losses["pooled"] = self.pooled_weight * pooled_contrast(logits_BS)
        self.log_dict({f"train/{name}": loss.detach() for name, loss in losses.items()})
        self.log("train/accuracy", (logits_BS.detach().argmax(1) == truth_B).float().mean())
        return self.about_to_step("cocola", torch.stack(list(losses.values())).sum())

    def _levels(self, batch: AccompanimentBatch) -> tuple[Tensor, Tensor]:
        """Levels_BTC of mixes and stems."""
        if not batch.is_audio:
            return batch.mix, batch.target
        with torch.autocast(self.device.type, enabled=False):
            return self.codec.encode(batch.mix), self.codec.encode(batch.target)

    def _moments(self, frames: int, rng: torch.Generator) -> tuple[int, int | None]:
        """First frame of the windows, and of those of the late (or early) stems."""
        free = frames - FRAMES
        if self.late_stems is None:
            return _draw(0, max(free, 0), rng), None
        least, most = (round(seconds * FRAMES_PER_SECOND) for seconds in self.late_stems)
        if free < least:
            raise UserError(
                f"training items of {frames} frames leave no room for stems that come late; make data.crop_frames "
                f"at least {FRAMES + most}, or set late_stems to null"
            )
        by = _draw(least, min(most, free), rng)
        begin = _draw(0, free - by, rng)
        return (begin, begin + by) if _draw(0, 1, rng) else (begin + by, begin)

    def _negatives(self, mix_BTC: Tensor, stem_BTC: Tensor, late: int | None, rng: torch.Generator) -> list[Tensor]:
        """Windows that belong to no mix: late stems, silence, late mixes, noise."""
        windows = []
        if late is not None:
            late_B2FT = _window(stem_BTC, late)
            windows += [late_B2FT, torch.zeros_like(late_B2FT[:1])]
        if late is not None and self.cheats:
            windows.append(_window(mix_BTC, late))
        if self.cheats:
            windows.append(self._noise(rng).expand(min(NOISES, len(mix_BTC)), -1, -1, -1))
        return windows

    def _noise(self, rng: torch.Generator) -> Tensor:
        """Levels_12FT of white noise; how loud it is does not matter."""
        audio_1N = torch.randn(1, (FRAMES - 1) * HOP_SAMPLES, generator=rng).to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            return relative_db(harmonic_percussive_db(audio_1N))

    def _masked(self, windows: list[Tensor], size: int, rng: torch.Generator) -> list[Tensor]:
        """Windows with both parts or only one of them; a mix and its stems have the same parts."""
        keep = torch.tensor(list(PARTS.values()))
        choices = torch.randint(len(keep), (size if self.parts_per_item else 1,), generator=rng)
        keep_B211 = keep[choices].to(self.device).expand(size, 2)[:, :, None, None]
        return [levels_B2FT * keep_B211[: len(levels_B2FT)] for levels_B2FT in windows]

    def validation_step(self, batch: AccompanimentBatch, batch_index: int) -> None:
        """Full scores of true, late and foreign stems, in every window of five seconds."""
        if batch.planned is not None and batch.planned[0].repeated:
            return
        if batch_index not in self._held_out:
            # the items are always the same, and their spectrograms cost more than all the rest
            mix_BTC, stem_BTC = self._levels(batch)
            self._held_out[batch_index] = mix_BTC.half().cpu(), stem_BTC.half().cpu()
        mix_BTC, stem_BTC = (levels.to(self.device).float() for levels in self._held_out[batch_index])
        half_beats = [_half_beat_frames(annotations) for annotations in batch.annotations]
        for begin in range(0, mix_BTC.shape[1] - FRAMES - max(half_beats), FRAMES):
            mix_BD = self._embedded([_window(mix_BTC, begin)])
            stem_BD = self._embedded([_window(stem_BTC, begin)])
            late = [_window(item_TC[None], begin + by) for item_TC, by in zip(stem_BTC, half_beats, strict=True)]
            pairwise = self.cocola.similarity.pairwise
            self._keep("true", pairwise(mix_BD, stem_BD))
            self._keep("late", pairwise(mix_BD, self._embedded(late)))
            if len(mix_BD) > 1:
                self._keep("foreign", pairwise(mix_BD, stem_BD.roll(1, 0)))
            if self.cheats:
                noise_1D = self._embedded([self._noise(torch.Generator().manual_seed(begin))])
                self._keep("echo", pairwise(mix_BD, mix_BD))
                self._keep("noise", pairwise(mix_BD, noise_1D.expand_as(mix_BD)))

    def _embedded(self, windows: list[Tensor]) -> Tensor:
        return self.cocola.embed(masked(torch.cat(windows), "full"))

    def _keep(self, kind: str, scores_W: Tensor) -> None:
        self._scores.setdefault(kind, []).append(scores_W.float().cpu())

    def on_validation_epoch_end(self) -> None:
        """Areas under the curve; the better network is written."""
        shards, self._scores = gathered(self._scores), {}
        kinds = dict.fromkeys(kind for shard in shards for kind in shard)
        scores = {kind: torch.cat([part for shard in shards for part in shard.get(kind, [])]) for kind in kinds}
        areas = {kind: area_under_curve(scores["true"], wrong_W) for kind, wrong_W in scores.items() if kind != "true"}
        auc = sum(areas.values()) / len(areas)
        self.log_dict({f"val/{kind}": scores_W.mean() for kind, scores_W in scores.items()}, rank_zero_only=True)
        self.log_dict({f"val/auc_{kind}": area for kind, area in areas.items()}, rank_zero_only=True)
        # the number is over all processes, and the same in all of them
        self.log("val/auc", auc, prog_bar=True, sync_dist=True)
        in_fit = self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking
        if in_fit and auc > self.best_auc:
            self.best_auc.fill_(auc)
            self._export()

    def _export(self) -> None:
        if self.trainer.is_global_zero and not is_dry_run(self.trainer):
            save_cocola(self.cocola, Path(self.export_path), {"steps": self.global_step, "auc": float(self.best_auc)})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, with warm-up and cosine if they are set."""
        optimizer = self.optimizer(self.cocola.parameters())
        if not self.warmup_steps and not self.decay:
            return optimizer
        if self.decay:
            share = warm_cosine(self.warmup_steps, lambda: self.trainer.estimated_stepping_batches)
            scheduler = LambdaLR(optimizer, share)
        else:
            scheduler = linear_warmup(optimizer, self.warmup_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def pooled_contrast(logits_BS: Tensor) -> Tensor:
    """Cross-entropy of every true pair against all wrong pairs of the batch at once.

    A softmax over the stems of one mix does not determine the level of that mix's scores, but a metric that is averaged
    over mixes needs a common level.

    Args:
        logits_BS: every mix with every stem; stem i belongs to mix i.
    """
    wrong_BS = logits_BS.masked_fill(torch.eye(*logits_BS.shape, dtype=torch.bool, device=logits_BS.device), -torch.inf)
    return F.softplus(wrong_BS.logsumexp((0, 1)) - logits_BS.diagonal()).mean()


def _start_with(cocola: Cocola, weights: str) -> None:
    """Copy trained weights.

    Raises:
        UserError: there are none, or they are another network's.
    """
    trained = pretrained_cocola(weights)
    try:
        cocola.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        raise UserError(f"the weights {weights} are of another network; give model.cocola their sizes") from error


def _draw(least: int, most: int, rng: torch.Generator) -> int:
    """A whole number, both ends included."""
    return int(torch.randint(least, most + 1, (), generator=rng))


def _window(levels_BTC: Tensor, begin: int) -> Tensor:
    """Relative levels_B2FT of five seconds."""
    return relative_db(as_spectrogram(levels_BTC[:, begin : begin + FRAMES]))


def _half_beat_frames(annotations: Annotations | None) -> int:
    """Half the usual distance between two beats; a quarter of a second if it is not known."""
    beats_seconds = torch.tensor(annotations.beats_seconds if annotations is not None else [])
    period_seconds = float(beats_seconds.diff().median()) if len(beats_seconds) > 1 else 0.5
    return round(period_seconds / 2 * FRAMES_PER_SECOND)
