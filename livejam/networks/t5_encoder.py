"""Stable Audio Open's encoder of prompts.

Shapes: B batch, P prompt tokens, D channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from livejam.checkpoints.weights import find_weights
from livejam.errors import UserError
from livejam.networks.conditioning import Prompt, PromptEncoder, require_words


class T5Encoder(PromptEncoder):
    """The frozen text encoder of Stable Audio Open: T5-base, from local weights.

    It is deliberately not a module: its weights are never trained and do not belong in a checkpoint.

    Args:
        weights: name of a set of weights, as in `livejam weights list`.
        longest: most tokens, ≥ 1; prompts are padded to it (P).

    Raises:
        UserError: the weights, or the package that reads them, are missing.
    """

    def __init__(self, weights: str = "t5_base", longest: int = 64) -> None:
        folder = find_weights(weights).require()
        try:
            from transformers import AutoTokenizer, T5EncoderModel
        except ImportError as error:
            raise UserError(
                "T5Encoder needs transformers; install livejam with its extra: pip install 'livejam[codecs]'"
            ) from error
        self.longest = longest
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = T5EncoderModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model: Any = model.eval().requires_grad_(False)
        self.width: int = self._model.config.d_model

    def __deepcopy__(self, memo: dict[int, Any]) -> T5Encoder:
        """Frozen weights are shared by all copies."""
        return self

    def follow(self, device: torch.device) -> None:
        """Move the weights to the network's device: training must not wait for a CPU to read the words."""
        self._model.to(device)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Prompt:
        """The last hidden states of every prompt.

        Raises:
            UserError: a prompt is empty or has too many tokens.
        """
        for prompt in prompts:
            require_words(prompt)
        tokens = self._tokenizer(list(prompts), padding=False, truncation=False)["input_ids"]
        for prompt, row in zip(prompts, tokens, strict=True):
            if len(row) > self.longest:
                raise UserError(
                    f"the prompt '{prompt[:40]}…' has {len(row)} tokens, {self.longest} are the most; shorten it"
                )
        index_BP = torch.tensor([row + [0] * (self.longest - len(row)) for row in tokens])
        mask_BP = torch.arange(self.longest) < torch.tensor([[len(row)] for row in tokens])
        device = self._model.device
        index_BP, mask_BP = index_BP.to(device), mask_BP.to(device)
        # T5's hidden states overflow in float16
        with torch.autocast(device.type, enabled=False):
            hidden_BPD = self._model(input_ids=index_BP, attention_mask=mask_BP).last_hidden_state
        return Prompt(hidden_BPD, mask_BP)
