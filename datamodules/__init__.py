"""Data: the index of Slakh-like data sets, mixing, the latent bank, and the pocket-Slakh renderer.

Names are imported when they are first used: the index of a data set needs no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.bank_store import BankStore
    from datamodules.local_bank import LatentBank
    from datamodules.rendering import RenderIfMissing
    from datamodules.slakh2100 import Slakh2100DataModule
    from datamodules.slakh_index import SlakhIndex
    from datamodules.songs_to_encode import SongsToEncode
    from datamodules.splits import SplitByFile, SplitByFolder, SplitByHash, SplitByTrackNumber, SplitPolicy
    from datamodules.stem_audio import StemAudioDataModule

PLACES = {
    "BankStore": "bank_store",
    "LatentBank": "local_bank",
    "RenderIfMissing": "rendering",
    "Slakh2100DataModule": "slakh2100",
    "SlakhIndex": "slakh_index",
    "SongsToEncode": "songs_to_encode",
    "SplitByFile": "splits",
    "SplitByFolder": "splits",
    "SplitByHash": "splits",
    "SplitByTrackNumber": "splits",
    "SplitPolicy": "splits",
    "StemAudioDataModule": "stem_audio",
}

__all__ = [
    "BankStore",
    "LatentBank",
    "RenderIfMissing",
    "Slakh2100DataModule",
    "SlakhIndex",
    "SongsToEncode",
    "SplitByFile",
    "SplitByFolder",
    "SplitByHash",
    "SplitByTrackNumber",
    "SplitPolicy",
    "StemAudioDataModule",
]


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
