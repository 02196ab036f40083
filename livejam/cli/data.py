"""`livejam data`: songs to train on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.option_ranges import Range, require_number

LAYOUTS = ("musdb18", "moisesdb", "medleydb", "babyslakh", "folders")
VERSIONS = ("baby", "2100-redux")
GROOVES = {"seen": False, "held-out": True, "all": None}

SLAKH = """\
Slakh2100 (about 105 GB; licence CC BY 4.0) is Zenodo record 4599666, the archive slakh2100_flac_redux.tar.gz.
BabySlakh (20 songs, about 0.9 GB) is Zenodo record 4603870, the archive babyslakh_16k.tar.gz.

Fetch either, check that it is complete, and name it in any config:

  livejam data download --version 2100-redux --out data
  livejam data index data/slakh2100_flac_redux
  lightning fit --config configs/liveband/slakh.yaml --data.init_args.root data/slakh2100_flac_redux

Without a download, `livejam data render` makes songs in the same format, and `livejam data import` gives it to other
collections of stems."""


def add_data(commands: Any) -> None:
    """Add the command and its actions to the parser's commands."""
    data = commands.add_parser("data", help="render, import, list or download songs", description="Songs to train on.")
    actions = data.add_subparsers(metavar="ACTION", required=True)
    _add_render(actions)
    _add_midi(actions)
    _add_mma(actions)
    _add_import(actions)
    _add_join(actions)
    _add_index(actions)
    _add_download(actions)


def _add_render(actions: Any) -> None:
    from datamodules.wide_songs.collection import EventName

    render = actions.add_parser(
        "render",
        help="compose and render songs in Slakh2100's format (pocket-Slakh)",
        description="Compose songs by rules and render every stem. Equal seeds give equal songs. An interrupted\n"
        "render continues where it stopped.",
        epilog="examples:\n  livejam data render --out data/pocket --songs 40 --seed 0\n"
        "  livejam data render --out data/wide --songs 40 --wide --no-effects",
    )
    render.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the songs")
    render.add_argument("--songs", type=int, required=True, metavar="N", help="number of songs, at least 1")
    render.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the songs, at least 0 (default: 0)")
    render.add_argument("--workers", type=int, metavar="W", help="parallel workers (default: one per core)")
    render.add_argument(
        "--soundfont", type=Path, action="append", metavar="SF2",
        help="General MIDI SoundFont (default: TimGM6mb.sf2); with --wide several, of which every stem draws one",
    )  # fmt: skip
    render.add_argument("--wide", action="store_true", help="songs of many more styles and metres, in living tempo")
    wide = render.add_argument_group("with --wide")
    wide.add_argument("--takes", type=int, default=1, metavar="K", help="renders of each piece, each sounds different")
    wide.add_argument("--no-effects", action="store_true", help="stems as the SoundFonts give them")
    wide.add_argument(
        "--grooves", choices=tuple(GROOVES), default="seen", help="held-out ones never occur in seen songs"
    )
    wide.add_argument(
        "--event", choices=get_args(EventName), metavar="NAME", help="what happens in the middle of every song"
    )
    wide.add_argument(
        "--seconds", type=float, nargs=2, metavar=("MIN", "MAX"),
        help="length of the shortest and longest songs (default: 42 58); more short ones teach more than few long ones",
    )  # fmt: skip
    render.set_defaults(run=_render)


def _add_midi(actions: Any) -> None:
    command = actions.add_parser(
        "midi",
        help="render your own MIDI files in Slakh2100's format",
        description="Render every General MIDI file in a folder, one stem per instrument, with a SoundFont. The beats\n"
        "are those of the tempo map. A file that cannot be used is left out, with the reason. What was\n"
        "interrupted continues; files that are added to the folder join the songs.",
        epilog="example:\n  livejam data midi my_midi_files --out data/my_songs --soundfont FluidR3_GM.sf2",
    )
    command.add_argument("source", type=Path, help="the folder of MIDI files; it is only read")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the songs")
    command.add_argument(
        "--soundfont", type=Path, action="append", metavar="SF2",
        help="General MIDI SoundFont (default: TimGM6mb.sf2); of several, each plays what those before it lack",
    )  # fmt: skip
    command.add_argument(
        "--equal-loudness", action="store_true",
        help="mix all instruments equally loud, as Slakh2100 does, instead of at the volumes of the file",
    )  # fmt: skip
    command.add_argument("--workers", type=int, metavar="W", help="parallel workers (default: one per core)")
    _add_shares(command, "share of the songs for {} (default: 0.1)")
    command.set_defaults(run=_midi)


def _add_mma(actions: Any) -> None:
    command = actions.add_parser(
        "mma",
        help="have MMA, a program with many people's grooves, play chord charts as MIDI files",
        description="Draw chord charts and have MMA (Musical MIDI Accompaniment) play them in the grooves of its\n"
        "library, as MIDI files for `livejam data midi`. MMA is a program that you install\n"
        "(Debian: apt install mma). Equal seeds give equal songs. What was interrupted continues.",
        epilog="examples:\n  livejam data mma --out charts --songs 1000\n  livejam data midi charts --out data/mma "
        "--equal-loudness",
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the MIDI files")
    command.add_argument("--songs", type=int, required=True, metavar="N", help="number of songs, at least 1")
    command.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the charts, at least 0 (default: 0)")
    command.add_argument(
        "--grooves", choices=tuple(GROOVES), default="seen",
        help="seen: most of the library; held-out: the rest, for tests (default: seen)",
    )  # fmt: skip
    command.add_argument("--library", type=Path, metavar="DIR", help="MMA's folder lib (default: /usr/share/mma/lib)")
    command.add_argument("--workers", type=int, metavar="W", help="songs at the same time (default: one per core)")
    command.set_defaults(run=_mma)


def _add_shares(command: argparse.ArgumentParser, help_text: str) -> None:
    for split in ("validation", "test"):
        command.add_argument(f"--{split}", type=float, default=0.1, metavar="SHARE", help=help_text.format(split))


def _add_import(actions: Any) -> None:
    command = actions.add_parser(
        "import",
        help="give other collections of stems Slakh2100's layout",
        description="Link the stems of a multi-track set, or of any folders of stems, into Slakh2100's layout. What a\n"
        "link cannot do is written as FLAC: stems that are summed, and recordings of another rate than\n"
        "most of their song. An import continues where it stopped; songs added to the source join it.",
        epilog="example:\n  livejam data import my_stems --layout folders --out data/my_songs",
    )
    command.add_argument("source", type=Path, help="the collection's folder; it is only read")
    command.add_argument("--layout", choices=LAYOUTS, required=True, help="how the collection is laid out")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the new data set")
    command.add_argument("--map", type=Path, metavar="YAML", help="instruments, groups of stems and splits")
    _add_shares(command, "share of the songs for {} where the collection has none (default: 0.1)")
    command.add_argument("--follow-links", action="store_true", help="trust links that lead out of the source")
    command.set_defaults(run=_import)


def _add_join(actions: Any) -> None:
    join = actions.add_parser(
        "join",
        help="make one data set of several",
        description="Link the songs of several data sets into one, every song in the split that it has in its own.\n"
        "Songs that are added to a set later join when the command is repeated.",
        epilog="example:\n  livejam data join data/pocket data/wide --out data/both",
    )
    join.add_argument("roots", type=Path, nargs="+", metavar="ROOT", help="the data sets' folders; they are only read")
    join.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the links")
    join.set_defaults(run=_join)


def _add_index(actions: Any) -> None:
    index = actions.add_parser(
        "index",
        help="list what a data set holds, and what cannot be used and why",
        description="Songs, stems and hours of a data set in Slakh2100's format, every refused stem with its\n"
        "reason, songs that training leaves out, and songs that are the same piece (UUID or MIDI file).\n"
        "The index is cached in the data set, or where --cache says.",
        epilog="example:\n  livejam data index data/pocket --deep",
    )
    index.add_argument("root", type=Path, help="the data set's folder")
    index.add_argument(
        "--deep", action="store_true", help="also decode all audio, to find damage and white noise in it (slow)"
    )
    index.add_argument("--cache", type=Path, metavar="DIR", help="the folder of the index: a config's data.cache_root")
    index.add_argument("--seconds", type=float, default=0.0, metavar="S", help="list songs shorter than this")
    index.add_argument(
        "--targets", nargs="+", metavar="NAME", help="list songs without any of these instruments (default: all)"
    )
    index.add_argument(
        "--splits", metavar="JSON", help="lists of songs, as for datamodules.SplitByFile (default: folders)"
    )
    index.add_argument("--bad-stems", type=Path, metavar="TXT", help="your list of stems to leave out: data.bad_stems")
    index.add_argument("--redux", type=Path, metavar="JSON", help="write lists with every piece once, for --splits")
    index.add_argument(
        "--no-overlap",
        type=Path,
        metavar="JSON",
        help="write lists with all songs, no piece in two splits, for --splits",
    )
    index.set_defaults(run=_index)


def _add_download(actions: Any) -> None:
    download = actions.add_parser(
        "download",
        help="download Slakh2100 or BabySlakh, or say where they are",
        description="Fetch an archive, check its MD5 and unpack it. A broken transfer goes on where it stopped.\n"
        "Without --version, nothing is fetched.",
        epilog="example:\n  livejam data download --version baby --out data",
    )
    download.add_argument("--version", choices=VERSIONS, help="baby: 20 songs at 16 kHz; 2100-redux: 1710 songs")
    download.add_argument("--out", type=Path, default=Path("data"), metavar="DIR", help="where to (default: data)")
    download.add_argument("--url", help="a mirror of the same archive")
    download.add_argument("--keep-archive", action="store_true", help="do not delete the archive after unpacking it")
    download.set_defaults(run=_download)


def _render(options: argparse.Namespace) -> int:
    from datamodules.pocket_slakh.render import render_songs

    require_number("--seed", options.seed, Range(0))
    require_number("--workers", options.workers, Range(1))
    require_number("--takes", options.takes, Range(1))
    fonts: list[Path] = options.soundfont or []
    if options.wide:
        return _render_wide(options, fonts)
    for_wide = len(fonts) > 1, options.takes > 1, options.no_effects, options.event, options.seconds
    if any(for_wide) or options.grooves != "seen":
        raise UserError("several SoundFonts, takes, effects, grooves, events, seconds are for wide songs: add --wide")
    render_songs(options.out, options.songs, options.seed, options.workers, soundfont=fonts[0] if fonts else None)
    return 0


def _render_wide(options: argparse.Namespace, fonts: list[Path]) -> int:
    from datamodules.wide_songs.collection import SECONDS, WideSongs
    from datamodules.wide_songs.render import render_wide_songs

    wide = WideSongs(
        soundfonts=tuple(str(font) for font in fonts),
        takes=options.takes,
        effects=not options.no_effects,
        held_out_grooves=GROOVES[options.grooves],
        event=options.event,
        seconds=tuple(options.seconds or SECONDS),
    )
    render_wide_songs(options.out, options.songs, options.seed, wide, options.workers)
    return 0


def _midi(options: argparse.Namespace) -> int:
    from datamodules.midi_songs import render_midi_songs

    require_number("--workers", options.workers, Range(1))
    how = options.soundfont or [], options.workers, options.validation, options.test, options.equal_loudness
    for reason in render_midi_songs(options.source, options.out, *how):
        print(f"left out: {reason}")
    return 0


def _mma(options: argparse.Namespace) -> int:
    from datamodules.mma_songs import LIBRARY, write_mma_songs

    for name, least in (("songs", 1), ("seed", 0), ("workers", 1)):
        require_number(f"--{name}", getattr(options, name), Range(least))
    library = options.library or LIBRARY
    held_out = GROOVES[options.grooves]
    for reason in write_mma_songs(options.out, options.songs, options.seed, held_out, library, options.workers):
        print(f"left out: {reason}")
    return 0


def _import(options: argparse.Namespace) -> int:
    from datamodules.importing import StemMap, import_songs, read_map
    from datamodules.importing.found import Source

    stem_map = StemMap() if options.map is None else read_map(options.map)
    source = Source(options.source, options.follow_links)
    report = import_songs(source, options.layout, options.out, stem_map, options.validation, options.test)
    print(f"{options.out}: {report.summary()}")
    return 0


def _join(options: argparse.Namespace) -> int:
    from datamodules.joining import join_data_sets

    counts = join_data_sets(options.roots, options.out)
    print(f"{options.out}: {', '.join(f'{count} {split}' for split, count in counts.items())}")
    return 0


def _index(options: argparse.Namespace) -> int:
    from datamodules.categories import target_categories
    from datamodules.duplicates import lists_without_copies, lists_without_overlap
    from datamodules.losses import Demand
    from datamodules.slakh_index import INDEX, SlakhIndex
    from datamodules.splits import SplitByFile, SplitByFolder

    policy = SplitByFile(options.splits) if options.splits else SplitByFolder()
    cache = None if options.cache is None else options.cache / INDEX
    index = SlakhIndex.open(options.root, cache, options.deep)
    index = index if options.bad_stems is None else index.without(options.bad_stems)
    demand = Demand(options.seconds, target_categories(options.targets))
    print(index.summary(demand.left_out(index.songs), policy))
    for path, make in ((options.redux, lists_without_copies), (options.no_overlap, lists_without_overlap)):
        if path is not None:
            _write_lists(path, make(index.songs, policy))
    return 0


def _write_lists(path: Path, lists: dict[str, list[str]]) -> None:
    """Lists of songs by split, in a new file."""
    if path.exists():
        raise UserError(f"{path} is there already; name another file, or delete it")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(lists, indent=1), encoding="utf-8")
    print(f"{path}: {', '.join(f'{len(names)} {split}' for split, names in lists.items())}")


def _download(options: argparse.Namespace) -> int:
    if options.version is None:
        print(SLAKH)
        return 0
    from dataclasses import replace

    from datamodules.slakh_archives import ARCHIVES, download

    archive = ARCHIVES[options.version]
    archive = replace(archive, url=options.url) if options.url else archive
    for root in download(archive, options.out, options.keep_archive):
        print(f"{root}: unpacked; `livejam data index {root}` lists what it holds")
    return 0
