"""The published layouts of multi-track sets, and any folder of stems.

Sources: MUSDB18-HQ as in its documentation (train/ and test/, a folder per song with mixture, drums, bass, other and
vocals); MoisesDB as its package `moisesdb` reads it (a folder per song with data.json and a folder per stem); MedleyDB
as its package `medleydb` reads it (NAME/NAME_STEMS, NAME_METADATA.yaml in the song's folder or in a folder Metadata);
BabySlakh as `mirdata` indexes it. None of the four sets was at hand: the words of MoisesDB's `trackType` are those of
its package's taxonomy, and how an archive nests its folders is not relied on: songs are looked for three folders deep.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from datamodules.annotations import MIDI
from datamodules.foreign_files import ForeignFileError, is_file_name, read_mapping
from datamodules.importing.found import FoundSong, FoundStem, Source
from datamodules.importing.instruments import CLICKS, MIXES, category_named, normal
from datamodules.slakh_index import SPLIT_FOLDERS
from datamodules.slakh_scan import Refusal, RefusedError, read_metadata, scan_track

AUDIO = {".wav", ".flac", ".aiff", ".aif", ".aifc", ".ogg", ".oga", ".opus", ".mp3", ".caf", ".w64", ".rf64", ".au"}
NOT_READ = {".m4a", ".mp4", ".aac", ".wma", ".wv", ".ape", ".mpc"}
"""Formats that libsndfile reads, and formats of music that it does not."""

DEEPEST_SONG = 3
MIX = "mix"
FACTS = {"annotations.json": "annotations.json", MIDI: MIDI, "notes.mid": MIDI}
"""Files that tell of beats, and their names in Slakh2100; songs of Frets on Fire have notes.mid."""
MUSDB_STEMS = ("drums", "bass", "other", "vocals")
STEM_MP4 = ".stem.mp4"

Layout = Callable[[Source], Iterator[FoundSong]]


def musdb18(source: Source) -> Iterator[FoundSong]:
    """MUSDB18-HQ: `train/SONG/{mixture,drums,bass,other,vocals}.wav`, and `test/`."""
    for place in (source.root, *source.folders(source.root)):
        packed = [file for file in source.files(place) if file.name.lower().endswith(STEM_MP4)]
        reason = (
            "it is MUSDB18's compressed form; use MUSDB18-HQ, or convert it with `musdbconvert` of the package musdb"
        )
        yield from (FoundSong(f.name, None, f.name, (), refusals=(Refusal(f.name, None, reason),)) for f in packed)
    for folder, split in _song_folders(source):
        song = _folder_of_stems(source, folder, split)
        known = tuple(stem for stem in song.stems if normal(stem.instrument) in MUSDB_STEMS)
        strange = [stem.instrument for stem in song.stems if stem not in known]
        refusals = (Refusal(song.name, name, "it is none of MUSDB18's four stems") for name in strange)
        yield FoundSong(song.name, split, song.title, known, song.extras, "", (*song.refusals, *refusals))


def folders(source: Source) -> Iterator[FoundSong]:
    """A folder per song, in split folders or not: every sound file is a stem, named after its instrument.

    The files of a folder inside a song's are one stem, named after that folder; those of a folder `stems` are stems. A
    file named mix, mixture or master is the mix.
    """
    for folder, split in _song_folders(source):
        shared = _shared_instruments(source, folder)
        if shared:
            reason = f"its folders look like songs, each with {shared[0]}: name {folder} as the source"
            yield FoundSong(folder.name, split, folder.name, (), refusals=(Refusal(folder.name, None, reason),))
        else:
            yield _folder_of_stems(source, folder, split)


def moisesdb(source: Source) -> Iterator[FoundSong]:
    """MoisesDB: `UUID/data.json` and `UUID/STEM/UUID.wav`; tracks of one stem and one category are summed."""
    for folder in _deep(source, lambda folder: (folder / "data.json").exists()):
        try:
            source.require(folder / "data.json")
            values = read_mapping(folder / "data.json")
        except (ForeignFileError, RefusedError) as reason:
            yield FoundSong(folder.name, None, folder.name, (), refusals=(Refusal(folder.name, None, str(reason)),))
            continue
        tracks: defaultdict[tuple[str, int | None, bool], list[tuple[str, Path]]] = defaultdict(list)
        refusals = []
        for stem, track in _moises_tracks(values.get("stems")):
            path = _moises_file(folder, stem, track)
            if path is None:
                refusals.append(Refusal(folder.name, None, "a stem's entry in data.json is damaged"))
                continue
            kind = track.get("trackType")
            is_click = isinstance(kind, str) and normal(kind) in CLICKS
            instrument = kind if isinstance(kind, str) and (is_click or category_named(kind) is not None) else stem
            tracks[stem, category_named(instrument), is_click].append((instrument, path))
        stems = tuple(_moises_stem(stem, category, found) for (stem, category, _), found in tracks.items())
        title = " - ".join(word for key in ("artist", "song") if isinstance(word := values.get(key), str))
        yield FoundSong(folder.name, None, title or folder.name, stems, refusals=tuple(refusals))


def _moises_tracks(stems: object) -> Iterator[tuple[str, dict[str, Any]]]:
    for stem in stems if isinstance(stems, list) else []:
        tracks = stem.get("tracks") if isinstance(stem, dict) else None
        for track in tracks if isinstance(tracks, list) else [None]:
            name = stem.get("stemName") if isinstance(stem, dict) else None
            yield name if isinstance(name, str) else "", track if isinstance(track, dict) else {}


def _moises_file(folder: Path, stem: str, track: dict[str, Any]) -> Path | None:
    identity, extension = track.get("id"), track.get("extension")
    if not is_file_name(stem) or not is_file_name(identity) or not is_file_name(extension):
        return None
    return folder / stem / f"{identity}.{extension}"


def _moises_stem(stem: str, category: int | None, found: list[tuple[str, Path]]) -> FoundStem:
    names = sorted({instrument for instrument, _ in found})
    return FoundStem(names[0] if len(names) == 1 else stem, tuple(path for _, path in found), category)


def medleydb(source: Source) -> Iterator[FoundSong]:
    """MedleyDB: `NAME/NAME_STEMS/NAME_STEM_01.wav`, with instruments in `NAME_METADATA.yaml`."""
    for folder in _deep(source, lambda folder: (folder / f"{folder.name}_STEMS").is_dir()):
        name = f"{folder.name}_METADATA.yaml"
        above = [place / "Metadata" for place in folder.parents if place.is_relative_to(source.root)]
        places = [place / name for place in (folder, *above)]
        path = next((place for place in places if place.is_file()), folder / name)
        try:
            source.require(path)
            values = read_mapping(path)
        except (ForeignFileError, RefusedError) as reason:
            place = "" if path.exists() else f"; it belongs into the song's folder, or into {source.root / 'Metadata'}"
            refusal = Refusal(folder.name, None, f"{reason}{place}")
            yield FoundSong(folder.name, None, folder.name, (), refusals=(refusal,))
            continue
        yield _medley_song(folder, values)


def _medley_song(folder: Path, values: dict[str, Any]) -> FoundSong:
    stems, refusals = [], []
    listed = values.get("stems")
    for key, entry in sorted(listed.items() if isinstance(listed, dict) else [], key=lambda item: str(item[0])):
        file = entry.get("filename") if isinstance(entry, dict) else None
        instrument = _first_word(entry.get("instrument")) if isinstance(entry, dict) else ""
        if not isinstance(file, str) or not is_file_name(file):
            refusals.append(Refusal(folder.name, str(key), "its entry in the metadata is damaged"))
        elif normal(instrument) not in MIXES:
            stems.append(FoundStem(instrument or "unlabeled", (folder / f"{folder.name}_STEMS" / file,)))
    title = " - ".join(word for name in ("artist", "title") if isinstance(word := values.get(name), str))
    mix = folder / f"{folder.name}_MIX.wav"
    extras = {MIX: mix} if mix.exists() else {}
    return FoundSong(folder.name, None, title or folder.name, tuple(stems), extras, "", tuple(refusals))


def _first_word(instrument: object) -> str:
    """The first instrument of a stem that several play."""
    first = instrument[0] if isinstance(instrument, list) and instrument else instrument
    return first if isinstance(first, str) else ""


def babyslakh(source: Source) -> Iterator[FoundSong]:
    """BabySlakh and all in Slakh2100's layout: `TrackXXXXX/{metadata.yaml, mix.wav, all_src.mid, stems/S00.wav}`."""
    for folder, split in _song_folders(source):
        if not (folder / "metadata.yaml").exists():
            continue
        song, refusals = scan_track(folder, source.root, split, deep=False)
        if song is None:
            yield FoundSong(folder.name, split, folder.name, (), refusals=tuple(refusals))
            continue
        entries = read_metadata(folder / "metadata.yaml")["stems"]
        stems = tuple(
            FoundStem(_slakh_name(entries[stem.name], stem.description), (folder / stem.file,), stem.category)
            for stem in song.stems
        )
        extras = _extras(source, folder)
        yield FoundSong(folder.name, split, folder.name, stems, extras, song.uuid, tuple(refusals))


def _slakh_name(entry: dict[str, Any], description: str) -> str:
    return "Drums" if entry.get("is_drum") is True else description


LAYOUTS: dict[str, Layout] = {
    "musdb18": musdb18,
    "moisesdb": moisesdb,
    "medleydb": medleydb,
    "babyslakh": babyslakh,
    "folders": folders,
}
"""The layouts by the names under which a user asks for them."""


def _song_folders(source: Source) -> Iterator[tuple[Path, str | None]]:
    """Folders of songs with the split in which they lie."""
    for folder in source.folders(source.root):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split is None:
            yield folder, None
        else:
            yield from ((song, split) for song in source.folders(folder))


def _deep(source: Source, is_song: Callable[[Path], bool]) -> Iterator[Path]:
    level = [source.root]
    for _ in range(DEEPEST_SONG):
        level = [folder for above in level for folder in source.folders(above)]
        songs = [folder for folder in level if is_song(folder)]
        yield from songs
        level = [folder for folder in level if folder not in songs]


def _folder_of_stems(source: Source, folder: Path, split: str | None) -> FoundSong:
    stems: list[FoundStem] = []
    refusals = [Refusal(folder.name, link.name, "it is a link to a folder") for link in source.unfollowed(folder)]
    inner = source.folders(folder)
    loose = [file for place in (folder, *filter(_is_stems, inner)) for file in source.files(place)]
    refusals += [Refusal(folder.name, file.name, _unread(file)) for file in loose if file.suffix.lower() in NOT_READ]
    audio = [file for file in loose if file.suffix.lower() in AUDIO]
    stems += [FoundStem(file.stem, (file,)) for file in audio if normal(file.stem) not in MIXES]
    groups = [(place.name, _sounds(source, place)) for place in inner if not _is_stems(place)]
    stems += [FoundStem(name, files) for name, files in groups if files]
    extras = _extras(source, folder)
    return FoundSong(folder.name, split, folder.name, tuple(stems), extras, "", tuple(refusals))


def _shared_instruments(source: Source, folder: Path) -> list[str]:
    """Instruments that every folder in a folder has, where these folders are songs and not stems, named otherwise."""
    inner = [(place, _sounds(source, place)) for place in source.folders(folder)]
    sounding = [(place, {file.stem for file in files}) for place, files in inner if files]
    if len(sounding) < 2 or any(_is_stems(place) or category_named(place.name) is not None for place, _ in sounding):
        return []
    shared = set.intersection(*(names for _, names in sounding))
    return sorted(name for name in shared if category_named(name) is not None)


def _sounds(source: Source, folder: Path) -> tuple[Path, ...]:
    return tuple(file for file in source.files(folder) if file.suffix.lower() in AUDIO)


def _is_stems(folder: Path) -> bool:
    return folder.name.lower() == "stems"


def _extras(source: Source, folder: Path) -> dict[str, Path]:
    """The mix, and what is known about the song in Slakh2100's words."""
    files = source.files(folder)
    # all_src.mid comes first by name, so that it is the one that stays
    facts = {FACTS[file.name]: file for file in reversed(files) if file.name in FACTS}
    mix = next((file for file in files if file.suffix.lower() in AUDIO and normal(file.stem) in MIXES), None)
    return facts if mix is None else {MIX: mix} | facts


def _unread(path: Path) -> str:
    return f"{path.suffix} cannot be read; convert it to FLAC or WAV"
