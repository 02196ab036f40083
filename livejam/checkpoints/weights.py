"""Published weights that a codec or a metric may need: their source, their licence, and their place on disk.

Nothing here uses the network; only `livejam.checkpoints.download` does, for `livejam weights fetch`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from livejam.errors import UserError

HUB = "https://huggingface.co"
METRICS = "metrics"
"""Stands for all weights that metrics need, where a set is named."""

SUMS = "SHA256SUMS"
"""In every folder: the digests of what was fetched, in the format of `sha256sum`."""


@dataclass(frozen=True)
class WeightFile:
    """One file of a set of weights.

    Args:
        path: its path relative to the folder of its set.
        url: its source.
        size_bytes: its size; None if it is not published.
        sha256: hexadecimal digest, or the published beginning of it; None if it is not published.
    """

    path: str
    url: str
    size_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Weights:
    """A set of weights that is fetched together.

    Args:
        name: its name on the command line, and of its folder.
        purpose: what it is and what it is for.
        licence: licence of the weights as their publisher states it.
        files: the files of the set.
        codec: class path of the codec that uses it; empty for others.
        metric: whether a metric uses it.
        reads: path that the codec reads, relative to the folder; empty for the folder itself.
        gate: one sentence about what a user must accept before the server hands it out.
    """

    name: str
    purpose: str
    licence: str
    files: tuple[WeightFile, ...]
    codec: str = ""
    metric: bool = False
    reads: str = ""
    gate: str = ""

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        return weights_root() / self.name

    @property
    def size_bytes(self) -> int | None:
        """Size of all files, None if one is unknown."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def missing(self) -> list[WeightFile]:
        """Missing files."""
        return [file for file in self.files if not (self.folder / file.path).is_file()]

    def require(self) -> Path:
        """The path that the codec or metric reads.

        Raises:
            UserError: a file is missing; the sentence names the command that fetches it.
        """
        if self.missing:
            raise UserError(
                f"the weights {self.name} are not in {self.folder}: run `livejam weights fetch {self.name}` on a "
                "machine with network access, or copy them there"
            )
        return self.folder / self.reads


def weights_root() -> Path:
    """The folder of all weights: `LIVEJAM_WEIGHTS`, or ~/.cache/livejam."""
    return Path(os.environ.get("LIVEJAM_WEIGHTS") or Path.home() / ".cache" / "livejam").expanduser()


def find_weights(name: str) -> Weights:
    """The set with this name.

    Raises:
        UserError: there is none.
    """
    names = {weights.name: weights for weights in WEIGHTS}
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else "`livejam weights list` lists them"
        raise UserError(f"there are no weights called '{name}'; {hint}")
    return names[name]


def find_sets(name: str) -> list[Weights]:
    """The set with this name; for `metrics`, those that metrics need.

    Raises:
        UserError: there is none.
    """
    return [weights for weights in WEIGHTS if weights.metric] if name == METRICS else [find_weights(name)]


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def recorded_sums(folder: Path) -> dict[str, str]:
    """Digests per path that were recorded when files were fetched."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def faults(weights: Weights) -> list[str]:
    """Faults of the files on disk, one sentence each; nothing for correct files.

    A file is compared with its published size and digest, and with what was recorded when it was fetched.
    """
    found, noted = [], recorded_sums(weights.folder)
    for file in weights.files:
        path = weights.folder / file.path
        if not path.is_file():
            found.append(f"{path} is missing")
            continue
        size, digest = path.stat().st_size, sha256_of(path)
        if file.size_bytes not in (None, size):
            found.append(f"{path} has {size} bytes instead of {file.size_bytes}")
        elif file.sha256 is not None and not digest.startswith(file.sha256):
            found.append(f"{path} is not the published file: its SHA-256 is {digest}")
        elif noted.get(file.path, digest) != digest:
            found.append(f"{path} has changed since it was fetched")
    return found


def _hub(repository: str, revision: str, path: str, size_bytes: int | None, sha256: str | None) -> WeightFile:
    """A file of a model repository at one revision."""
    return WeightFile(path, f"{HUB}/{repository}/resolve/{revision}/{path}", size_bytes, sha256)


_ENCODEC_24, _ENCODEC_48 = "c1dbe2ae3f1de713481a3b3e7c47f357092ee040", "c3def8e7185ac8c8efdce6eb8c4a651e487a503e"
_MIMI, _DAC = "89091b3e466eb6a9d11e537bf26b144f194978f7", "c1bc521685adf9cfe247bc39a5ca58917eda1ac4"
_STABLE_AUDIO = "f21265c1e2710b3bd2386596943f0007f55f802e"
_CODICODEC = "f6aa343c06104f743563e86485e69e55dfd30d58"
_DIGEST_STABLE_CONFIG = "858b6cce27aa1b2d1e8d331734d2d9690d9ea1dad2fb1e6bd23ee67a61058ad9"
_DIGEST_STABLE = "2131cdb52020b2473707465449d8bdb4f6cca61c93150a947baca02bc58ffd7b"
_DIGEST_ENCODEC_24 = "37a7cb100f71a29e6c1d815aca8666a1d7ea8885ebe44c306c751a5103559d57"
_DIGEST_ENCODEC_48 = "47a15ffbaf7bb76176d0833e10590de0a8988a7848748608cefc36a1c88adfdc"
_DIGEST_ENCODEC_48_CONFIG = "4a914ed15ed5a69e19932d05b0c51f2d22c68ffac70e959a757594cb0cd6e2a7"
_DIGEST_MIMI = "bac7e85083dcded655d24eaadde7e6eea34c0da1b35fa2d284e641bd2b942a5e"
_DIGEST_MIMI_CONFIG = "aca6f44b04f7bc2e7466b71597d2d51e463ed1cf3cd7025d8848595580546c36"
_DIGEST_DAC = "6128ebff483a41422b0164d079a3773b0d8d82e64c4293d775994cbf8baf913a"
_DIGEST_DAC_CONFIG = "4eb55fb9af1990b8d608184ad29b70e358589719af7ea8d3c06998f7c2264a64"

WEIGHTS = (
    Weights(
        name="stable_audio_vae",
        purpose="Stable Audio Open's autoencoder: codec StableAudioVAE",
        licence="Stability AI Community License",
        files=(
            _hub("stabilityai/stable-audio-open-1.0", _STABLE_AUDIO, "vae/config.json", None, _DIGEST_STABLE_CONFIG),
            _hub(
                "stabilityai/stable-audio-open-1.0",
                _STABLE_AUDIO,
                "vae/diffusion_pytorch_model.safetensors",
                None,
                _DIGEST_STABLE,
            ),
        ),
        codec="livejam.codecs.StableAudioVAE",
        reads="vae",
        gate="accept the licence at https://huggingface.co/stabilityai/stable-audio-open-1.0 with an account of your "
        "own, then set HF_TOKEN to one of its access tokens",
    ),
    Weights(
        name="encodec_24khz",
        purpose="EnCodec, 24 kHz mono: codec EnCodec",
        licence="not stated for the weights (code: MIT)",
        files=(
            _hub("facebook/encodec_24khz", _ENCODEC_24, "config.json", None, None),
            _hub("facebook/encodec_24khz", _ENCODEC_24, "model.safetensors", None, _DIGEST_ENCODEC_24),
        ),
        codec="livejam.codecs.EnCodec",
    ),
    Weights(
        name="encodec_32khz",
        purpose="EnCodec, 32 kHz mono, MusicGen's: not causal, no adapter here",
        licence="CC BY-NC 4.0",
        files=(
            _hub("facebook/encodec_32khz", "main", "config.json", None, None),
            _hub("facebook/encodec_32khz", "main", "model.safetensors", None, None),
        ),
    ),
    Weights(
        name="encodec_48khz",
        purpose="EnCodec, 48 kHz stereo: not causal, no adapter here",
        licence="MIT (model card)",
        files=(
            _hub("facebook/encodec_48khz", _ENCODEC_48, "config.json", 803, _DIGEST_ENCODEC_48_CONFIG),
            _hub("facebook/encodec_48khz", _ENCODEC_48, "model.safetensors", 76_291_152, _DIGEST_ENCODEC_48),
        ),
    ),
    Weights(
        name="mimi",
        purpose="Mimi, 24 kHz mono: codec Mimi",
        licence="CC BY 4.0",
        files=(
            _hub("kyutai/mimi", _MIMI, "config.json", 1_117, _DIGEST_MIMI_CONFIG),
            _hub("kyutai/mimi", _MIMI, "model.safetensors", 384_649_828, _DIGEST_MIMI),
        ),
        codec="livejam.codecs.Mimi",
    ),
    Weights(
        name="dac_44khz",
        purpose="Descript audio codec, 44.1 kHz mono: codec DAC",
        licence="MIT",
        files=(
            _hub("descript/dac_44khz", _DAC, "config.json", 541, _DIGEST_DAC_CONFIG),
            _hub("descript/dac_44khz", _DAC, "model.safetensors", 306_507_276, _DIGEST_DAC),
        ),
        codec="livejam.codecs.DAC",
    ),
    Weights(
        name="music2latent",
        purpose="Music2Latent, 44.1 kHz mono: codec Music2Latent",
        licence="CC BY-NC 4.0",
        files=(_hub("SonyCSLParis/music2latent", "main", "music2latent.pt", None, None),),
        codec="livejam.codecs.Music2Latent",
        reads="music2latent.pt",
    ),
    Weights(
        name="codicodec",
        purpose="CoDiCodec, 44.1 kHz stereo: codec CoDiCodec",
        licence="CC BY-NC 4.0",
        files=(
            _hub(
                "SonyCSLParis/codicodec",
                _CODICODEC,
                "codicodec.pt",
                None,
                "27827ac41100386193fa4fd04d783c62d526a7b06ffa9e9252992eb3eb4bdb6c",
            ),
        ),
        codec="livejam.codecs.CoDiCodec",
        reads="codicodec.pt",
    ),
    Weights(
        name="t5_base",
        purpose="T5-base: text encoder of Stable Audio Open, T5Encoder",
        licence="Apache License 2.0",
        files=tuple(
            _hub("google-t5/t5-base", "main", path, None, None)
            for path in ("config.json", "model.safetensors", "spiece.model", "tokenizer.json", "tokenizer_config.json")
        ),
    ),
    Weights(
        name="clap_music",
        purpose="LAION-CLAP for music: an embedding of the Fréchet audio distance",
        licence="CC0 1.0",
        files=(
            _hub(
                "lukewys/laion_clap",
                "main",
                "music_audioset_epoch_15_esc_90.14.pt",
                2_352_471_003,
                "fae3e9c087f2909c28a09dc31c8dfcdacbc42ba44c70e972b58c1bd1caf6dedd",
            ),
        ),
        metric=True,
        reads="music_audioset_epoch_15_esc_90.14.pt",
    ),
    Weights(
        name="vggish",
        purpose="VGGish: an embedding of the Fréchet audio distance",
        licence="Apache License 2.0",
        files=(
            WeightFile(
                "vggish-10086976.pth",
                "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
                288_567_937,
                "10086976",
            ),
        ),
        metric=True,
        reads="vggish-10086976.pth",
    ),
    Weights(
        name="pann",
        purpose="PANN Cnn14: an embedding of the Fréchet audio distance",
        licence="CC BY 4.0",
        files=(
            WeightFile(
                "Cnn14_mAP=0.431.pth",
                "https://zenodo.org/records/3987831/files/Cnn14_mAP%3D0.431.pth?download=1",
                327_428_481,
                "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31",
            ),
        ),
        metric=True,
        reads="Cnn14_mAP=0.431.pth",
    ),
    Weights(
        name="encodec_fad",
        purpose="EnCodec, 24 kHz, in its first format: an embedding of the Fréchet audio distance",
        licence="not stated for the weights (code: MIT)",
        files=(
            WeightFile(
                "encodec_24khz-d7cc33bc.th",
                "https://dl.fbaipublicfiles.com/encodec/v0/encodec_24khz-d7cc33bc.th",
                None,
                "d7cc33bc",
            ),
        ),
        metric=True,
        reads="encodec_24khz-d7cc33bc.th",
    ),
    Weights(
        name="beat_this",
        purpose="Beat This! final0: the papers' beat tracker",
        licence="MIT",
        files=(
            WeightFile(
                "final0.ckpt",
                "https://cloud.cp.jku.at/public.php/dav/files/7ik4RrBKTS273gp/final0.ckpt",
                81_058_141,
                "8c328b45f59d8dd3dff219253ff6a8d6482be57d0133a29140e2febbf8eb8331",
            ),
        ),
        metric=True,
        reads="final0.ckpt",
    ),
    Weights(
        name="cocola",
        purpose="COCOLA_HP_v1: coherence of stem and mix, COCOLAMonitor {weights: cocola}",
        licence="not stated",
        files=(
            WeightFile(
                "checkpoint-epoch=87-val_loss=0.00.ckpt",
                "https://drive.usercontent.google.com/download?id=1S-_OvnDwNFLNZD5BmI1Ouck_prutRVWZ"
                "&export=download&confirm=t",
            ),
        ),
        metric=True,
        reads="checkpoint-epoch=87-val_loss=0.00.ckpt",
    ),
)
"""All sets."""
