"""What a generator learns beside playing: to hear where the beat is.

Shapes: B batch, T latent frames, D channels of a hidden state.
"""

from __future__ import annotations

from torch import Tensor, nn

from livejam.errors import UserError
from livejam.networks import CausalTransformer
from livejam.objectives.beat import beat_loss

NO_BEATS = "this recipe learns to hear the beat, but the data say none; set data.init_args.beats to true"


class BeatListening(nn.Module):
    """Tells the phase of the beat in the frame that is played from the generator's last hidden state.

    One score per sequence says little about where the beat is, and the further ahead a generator plays, the less: its
    gradient reaches the generator through a discriminator that has to hear the beat first. The true beats of the
    training songs say it in every frame. The gradient of this loss flows into the whole generator but its last map.
    What is played has no part of this: the estimate is for training alone. Ours; in no paper.

    Args:
        width: channels of the generator's hidden state (D).
        weight: weight ≥ 0 of the loss in that of the generator.
        lead: iterations at the start in which the generator learns nothing else, and the discriminator nothing at all.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(self, width: int, weight: float = 3.0, lead: int = 0) -> None:
        super().__init__()
        if weight < 0 or lead < 0:
            raise UserError(f"beat.weight and beat.lead are 0 or more; these are {weight} and {lead}")
        self.width, self.weight, self.lead = width, weight, lead
        self.project = nn.Linear(width, 2)

    def forward(self, hidden_BTD: Tensor, beat_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and how well the phase was found; see `beat_loss`.

        Args:
            hidden_BTD: the generator's.
            beat_BT: beats until the frames that it plays.
        """
        return beat_loss(self.project(hidden_BTD).float(), beat_BT)


def require_one_beginning(generator: CausalTransformer, beat: BeatListening | None, discriminator_lead: int) -> None:
    """Refuse a listener of another width, and two leads.

    Raises:
        UserError: names the option, and what it must be.
    """
    if beat is None:
        return
    if beat.width != generator.norm.width:
        raise UserError(
            f"beat.width is {beat.width}, but the generator's width is {generator.norm.width}; make them equal"
        )
    if beat.lead and discriminator_lead:
        raise UserError(
            "a generator that first learns to hear the beat alone (beat.lead) knows nothing yet that a lead of the "
            "discriminator (discriminator_lead) could spare; set one of them to 0"
        )
