"""A diffusion transformer together with the encoders of its conditions, which are trained and stored together.

Shapes: B batch, T latent frames, C latent channels, P prompt tokens, D channels of an embedding, K channels and G
controls of a sketch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.networks.conditioning import NumberConditioner, Prompt, PromptEncoder, Words
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_transformer import DiffusionTransformer

TAKES_NO_PROMPTS = "this model takes no prompts; train one with a prompt_encoder, or leave the prompt out"


class ConditionedTransformer(nn.Module):
    """A transformer that takes prompts in words, and the duration of the piece.

    As in Stable Audio Open, the duration is both the global embedding and one more token of the prompt.

    Args:
        transformer: the network.
        prompt_encoder: the map from words to tokens; None = no prompts.
        duration: the map from seconds to an embedding; None = no durations. Needs a prompt encoder.

    Raises:
        UserError: their widths do not fit together.
    """

    def __init__(
        self,
        transformer: DiffusionTransformer,
        prompt_encoder: PromptEncoder | None = None,
        duration: NumberConditioner | None = None,
    ) -> None:
        super().__init__()
        widths = {"prompt_width": prompt_encoder, "global_width": duration}
        for name, encoder in widths.items():
            wanted, given = getattr(transformer, name), 0 if encoder is None else encoder.width
            if wanted != given:
                raise UserError(
                    f"the transformer's {name} is {wanted}, but its encoder has width {given}; make them equal"
                )
        if duration is not None and prompt_encoder is not None and duration.width != prompt_encoder.width:
            raise UserError(
                f"the duration has width {duration.width} and the prompt {prompt_encoder.width}: they are tokens of "
                "one sequence, so make them equal"
            )
        self.transformer = transformer
        self.prompt_encoder = prompt_encoder
        self.duration = duration

    def prompt(self, words: Sequence[str]) -> Prompt | None:
        """Encoded prompts, on the network's device; None if it has no prompts.

        Raises:
            UserError: a prompt is empty, too long, or not understood.
        """
        if self.prompt_encoder is None:
            return None
        device = self.transformer.project_noisy.weight.device
        self.prompt_encoder.follow(device)
        return self.prompt_encoder.encode(words).to(device)

    def mixed_prompt(self, words: Sequence[Words]) -> Prompt:
        """Encoded prompts and mixes of prompts, one row each.

        Raises:
            UserError: there are no prompts, or these are not understood.
        """
        parts = [(row, text, share) for row, each in enumerate(words) for text, share in each.parts]
        prompt = self.prompt([text for _, text, _ in parts])
        if prompt is None:
            raise UserError(TAKES_NO_PROMPTS)
        if len(parts) == len(words):
            return prompt
        weight_KB = prompt.embedding_BPD.new_zeros(len(words), len(parts))
        for place, (row, _, share) in enumerate(parts):
            weight_KB[row, place] = share
        return prompt.mixed(weight_KB)

    def conditions(
        self,
        prompt: Prompt | None,
        seconds: float,
        *,
        context: tuple[Tensor, Tensor] | None = None,
        mix: tuple[Tensor, Tensor] | None = None,
        sketch: tuple[Tensor, Tensor] | None = None,
    ) -> DiffusionConditions:
        """The conditions, in the network's form.

        Args:
            prompt: the prompts, encoded by `prompt`.
            seconds: duration of the piece.
            context: clean latents (BTC) and mask (BT).
            mix: latents of the mix (BTC) and mask (BT).
            sketch: curves (BTK) and masks (BTG).
        """
        global_BD = None
        if self.duration is not None and prompt is not None:
            device = prompt.mask_BP.device
            global_BD = self.duration(torch.full((len(prompt.mask_BP),), seconds, device=device))
            # A dropped prompt takes the token of the duration with it, as in Stable Audio's classifier-free guidance.
            prompt = prompt.followed_by(global_BD)
        return DiffusionConditions(
            context_BTC=None if context is None else context[0],
            context_mask_BT=None if context is None else context[1],
            mix_BTC=None if mix is None else mix[0],
            mix_mask_BT=None if mix is None else mix[1],
            prompt_BPD=None if prompt is None else prompt.embedding_BPD,
            prompt_mask_BP=None if prompt is None else prompt.mask_BP,
            global_BD=global_BD,
            sketch_BTK=None if sketch is None else sketch[0],
            sketch_mask_BTG=None if sketch is None else sketch[1],
        )
