"""Data: the index of Slakh-like data sets, mixing, the latent bank, and the pocket-Slakh renderer."""

from datamodules.bank_store import BankStore
from datamodules.local_bank import LatentBank
from datamodules.rendering import RenderIfMissing
from datamodules.slakh2100 import Slakh2100DataModule
from datamodules.slakh_index import SlakhIndex
from datamodules.songs_to_encode import SongsToEncode
from datamodules.splits import SplitByFile, SplitByFolder, SplitByHash, SplitByTrackNumber, SplitPolicy
from datamodules.stem_audio import StemAudioDataModule

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
