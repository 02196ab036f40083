"""`livejam configs`: what is shipped, and a copy of one to change."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.shipped_configs import ROOT, description, find_shipped, shipped_names


def add_configs(commands: Any) -> None:
    """Add the command and its actions to the parser's commands."""
    configs = commands.add_parser(
        "configs",
        help="list the shipped configs, or copy one",
        description="Experiments, overlays and batch files that come with livejam. `lightning` finds them by name\n"
        "from any folder: --config quickstart.",
        epilog="example:\n  livejam configs\n  livejam configs copy lmdm/encdec_pocket experiments",
    )
    configs.set_defaults(run=_list)
    actions = configs.add_subparsers(metavar="ACTION")
    copy = actions.add_parser(
        "copy",
        help="copy one into a folder",
        description="A copy to change. It keeps its base, which is found by name; --print_config shows the whole.",
        epilog="example:\n  livejam configs copy lmdm/encdec_pocket experiments",
    )
    copy.add_argument("name", help="as `livejam configs` lists it")
    copy.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="where to (default: here)")
    copy.set_defaults(run=_copy)


def _list(options: argparse.Namespace) -> int:
    names = shipped_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {description(find_shipped(name))}".rstrip())
    return 0


def _copy(options: argparse.Namespace) -> int:
    source = find_shipped(options.name)
    target = options.folder / source.name
    if options.folder.exists() and not options.folder.is_dir():
        raise UserError(f"{options.folder} is no folder; name one to copy into")
    if target.exists():
        raise UserError(f"{target} exists and stays as it is; copy into another folder")
    with atomic_path(target) as temporary:
        temporary.write_bytes(source.read_bytes())
    print(f"{target}: {source.relative_to(ROOT)}")
    return 0
