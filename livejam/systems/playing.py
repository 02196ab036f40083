"""A model and its codec, laid out for playing one stream on a CPU."""

from __future__ import annotations

from dataclasses import replace

from livejam.checkpoints.player import Player
from livejam.codecs.causal_codec import CausalCodec
from livejam.networks.packed_linear import with_linears
from livejam.networks.reduced_linear import laid_out
from livejam.systems.liveband import LiveBandAccompanist
from livejam.systems.precision import in_precision


def for_playing(player: Player) -> Player:
    """The same sound in less time; `player` does not change.

    LiveBand and the bundled codec read their weights in the layout, and where it loses nothing in the precision, that
    is fastest for one frame. Other models and codecs are as they were. Neither can be trained, moved or published.
    """
    accompanist, codec = player.accompanist, player.codec
    if isinstance(accompanist, LiveBandAccompanist):
        accompanist = in_precision(accompanist, "float32")
    if isinstance(codec, CausalCodec):
        decoder = laid_out(codec.decoder)
        codec = with_linears(codec, lambda linear: linear)
        codec.decoder = decoder
    return replace(player, accompanist=accompanist, codec=codec)
