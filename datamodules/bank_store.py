"""A latent bank in an object store (S3, Google Cloud, Azure, HTTP), with a part of it on this machine's disk.

Shapes: B items, T latent frames, C latent channels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from datamodules.bank_index import INDEX, BankIndex, content_hash, read_index
from datamodules.latent_bank import MANIFEST, read_manifest, song_path
from datamodules.local_bank import read_crops
from livejam.errors import UserError
from livejam.files import atomic_path, one_after_the_other

REQUESTS = 32
"""Requests on their way at the same time, per process: each waits tens of milliseconds for its answer."""

NEAR_BYTES = 1 << 16
"""Crops of a song that lie closer together than this are one request."""

T = TypeVar("T")


@dataclass(frozen=True)
class BankStore:
    """Where a latent bank lies that was copied to an object store, and how much of it this machine keeps.

    The store's keys and its address come from its own environment variables (AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL; with http instead of https AWS_ALLOW_HTTP=true).

    Args:
        url: address of the bank's folder: s3://bucket/folder, gs://…, az://…, https://… or file:///….
        cache: folder on this machine's disk; all processes of a machine may share it.
        cache_gb: as many GB of songs are kept there at most, for each bank; crops of other songs are read from the
            store whenever they are drawn. At least 0.
    """

    url: str
    cache: str
    cache_gb: float = 100.0

    def open(self) -> RemoteBank:
        """The bank.

        Raises:
            UserError: there is no bank, or the store does not answer.
        """
        if self.cache_gb < 0:
            raise UserError(f"bank_store.cache_gb must be at least 0, not {self.cache_gb}")
        return RemoteBank(self.url, Path(self.cache), int(self.cache_gb * 1e9))


class RemoteBank:
    """A complete bank in an object store.

    Its first songs, as many as the cache may hold, are kept on disk from their first use on. Which ones follows from
    the manifest alone, so processes need not agree on anything, and no song is fetched twice; as items are drawn from
    all songs alike, no other choice would need fewer requests. Of the other songs, only the crops are read.

    Args:
        url: address of the bank's folder.
        cache: folder on this machine's disk. A bank has a folder of its own in it, and another one when it changes.
        cache_bytes: as many bytes of songs are kept at most.

    Raises:
        UserError: there is no bank, it is of another version, or the store does not answer.
    """

    def __init__(self, url: str, cache: Path, cache_bytes: int) -> None:
        self.place = url
        self._store: Any = None
        manifest = self._ask(lambda store: _get(store, MANIFEST), MANIFEST)
        self.folder = cache / hashlib.sha256(url.encode() + manifest).hexdigest()[:16]
        _keep(self.folder / MANIFEST, manifest)
        self.manifest = read_manifest(self.folder)
        self._kept = np.cumsum(self.manifest.sizes) <= cache_bytes

    def __getstate__(self) -> dict[str, Any]:
        """Another process connects to the store itself."""
        return {**self.__dict__, "_store": None}

    def index(self, threshold_dbfs: float) -> BankIndex:
        """What sounds where, and where the latents lie.

        Args:
            threshold_dbfs: frames above this level in dB below full scale sound.

        Raises:
            UserError: the store has no index of these songs.
        """
        path, content = self.folder / INDEX, content_hash(self.manifest, threshold_dbfs)
        index = read_index(path, content)
        if index is None:
            _keep(path, self._ask(lambda store: _get(store, INDEX), INDEX))
            index = read_index(path, content)
        if index is None:
            raise UserError(
                f"{self.place}/{INDEX} does not belong to the bank's songs; run `lightning predict` once more where "
                "the bank was built, and copy that file again"
            )
        return index

    def read_crops(self, songs: Sequence[int], offsets: Sequence[Sequence[int]], into: NDArray[np.float16]) -> None:
        """Read latents of several songs at once; see `LatentBank.read_crops`.

        Raises:
            UserError: the store does not answer, or a song is not the one of the manifest.
        """
        kept = [item for item, song in enumerate(songs) if self._kept[song]]
        far = [item for item, song in enumerate(songs) if not self._kept[song]]
        with ThreadPoolExecutor(REQUESTS) as pool:
            paths = dict(zip(kept, pool.map(lambda item: self._on_disk(songs[item]), kept), strict=True))
            read = list(pool.map(lambda item: self._crops(songs[item], offsets[item], into[0, 0].nbytes), far))
        if kept:
            near = np.empty((len(into), len(kept), *into.shape[2:]), np.float16)
            read_crops([str(paths[item]) for item in kept], [offsets[item] for item in kept], near)
            into[:, kept] = near
        for item, crops in zip(far, read, strict=True):
            for crop, content in enumerate(crops):
                into[crop, item] = np.frombuffer(content, np.float16).reshape(into.shape[2:])

    def _crops(self, song: int, offsets: Sequence[int], length: int) -> list[bytes]:
        name = self._name(song)

        def read(store: Any) -> list[bytes]:
            import obstore

            lengths = [length] * len(offsets)
            found = obstore.get_ranges(store, name, starts=list(offsets), lengths=lengths, coalesce=NEAR_BYTES)
            return [bytes(part) for part in found]

        return self._ask(read, name)

    def _on_disk(self, song: int) -> Path:
        """The song's file, fetched whole if it is not there yet."""
        path = song_path(self.folder, self.manifest.names[song])
        if not path.is_file():
            with one_after_the_other(path):
                if not path.is_file():
                    _keep(path, self._whole(song))
        return path

    def _whole(self, song: int) -> bytes:
        name = self._name(song)
        content = self._ask(lambda store: _get(store, name), name)
        if hashlib.sha256(content).hexdigest() != self.manifest.hashes[song]:
            raise UserError(f"{self.place}/{name} is not the song of the bank's manifest; copy the bank again")
        return content

    def _name(self, song: int) -> str:
        return song_path(Path(), self.manifest.names[song]).as_posix()

    def _ask(self, work: Callable[[Any], T], name: str) -> T:
        """Something of the store; it repeats a request that fails for a while by itself."""
        obstore = _package()
        try:
            if self._store is None:
                self._store = obstore.store.from_url(self.place)
            return work(self._store)
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise UserError(
                f"{self.place}/{name} cannot be read ({' '.join(str(error).split())[:300]}); check the address, the "
                "keys and the network; a training that stopped goes on with --ckpt_path last"
            ) from error


def _get(store: Any, name: str) -> bytes:
    import obstore

    return bytes(obstore.get(store, name).bytes())


def _keep(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _package() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise UserError(
            "a bank in an object store needs obstore: pip install -e '.[store]' -c constraints.txt"
        ) from error
    return obstore
