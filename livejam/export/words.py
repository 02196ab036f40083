"""The words of an exported model: prompts that players can ask for without its text encoder.

Shapes: S stored prompts, W words, P prompt tokens, D channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.export.signature import InstrumentFacts, PromptFacts
from livejam.networks.conditioned_transformer import TAKES_NO_PROMPTS
from livejam.networks.conditioning import Prompt, TagEncoder, read_words
from livejam.systems.lmdm import LMDMAccompanist

MOST_TEXTS = 1000


@dataclass(frozen=True)
class StoredPrompts:
    """What players make prompts of.

    Args:
        facts: for the signature.
        texts_SPD: prompts that are stored whole.
        texts_mask_SP: their tokens (bool).
        words_WD: the tokens of single words.
    """

    facts: PromptFacts
    texts_SPD: Tensor
    texts_mask_SP: Tensor
    words_WD: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """What is written to a file."""
        texts = {"texts": self.texts_SPD, "texts_mask": self.texts_mask_SP.float()}
        return texts | ({"words": self.words_WD} if len(self.words_WD) else {})

    def text(self, number: int) -> Prompt:
        """One of the prompts that are stored whole."""
        return Prompt(self.texts_SPD[number : number + 1], self.texts_mask_SP[number : number + 1])


def stored_prompts(
    accompanist: object,
    own: Prompt | None,
    instruments: Sequence[InstrumentFacts],
    texts: Sequence[str],
    reencodes: bool,
    negative: bool,
) -> StoredPrompts | None:
    """The prompts of a model's instruments, further ones, and the words of a tag encoder; None if it takes none.

    Args:
        accompanist: the model.
        own: the prompt of every class index of instruments; None = it takes none.
        instruments: those that it learnt.
        texts: further prompts.
        reencodes: as in `PromptFacts`.
        negative: as in `PromptFacts`.

    Raises:
        UserError: the model takes no prompts or does not understand one of these, one is there twice, or they are too
            many.
    """
    if own is None or not isinstance(accompanist, LMDMAccompanist):
        if texts:
            raise UserError(TAKES_NO_PROMPTS)
        return None
    names = [*(one.name for one in instruments), *texts]
    if len(names) > MOST_TEXTS:
        raise UserError(f"{len(names)} prompts are too many for an exported model; use at most {MOST_TEXTS}")
    if twice := [name for name in texts if [one.lower() for one in names].count(name.lower()) > 1]:
        raise UserError(f"the prompt '{twice[0][:40]}' is there twice, or the name of an instrument; give it once")
    index_I = torch.tensor([one.index for one in instruments])
    embeddings, masks = [own.embedding_BPD[index_I]], [own.mask_BP[index_I]]
    generator = accompanist.generator
    if texts:
        given = generator.mixed_prompt([read_words(text) for text in texts])
        embeddings, masks = [*embeddings, given.embedding_BPD], [*masks, given.mask_BP]
    encoder = generator.prompt_encoder
    tags = encoder if isinstance(encoder, TagEncoder) else None
    words_WD = own.embedding_BPD.new_zeros(0, own.embedding_BPD.shape[2]) if tags is None else tags.embedding.weight
    texts_SPD, mask_SP = torch.cat(embeddings).detach(), torch.cat(masks)
    facts = PromptFacts(
        tokens=texts_SPD.shape[1],
        channels=texts_SPD.shape[2],
        words=() if tags is None else tuple(tags.number),
        texts=tuple(names),
        reencodes=reencodes,
        negative=negative,
    )
    return StoredPrompts(facts, texts_SPD, mask_SP, words_WD.detach())
