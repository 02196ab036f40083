"""The tables of docs/osc.md, made from the messages: `python -m livejam.serving.osc_tables docs/osc.md` renews them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from livejam.serving.osc_arguments import Argument
from livejam.serving.osc_fields import LAST, Message, arguments_of
from livejam.serving.osc_messages import ANSWERS, CONTROLS, STREAM, WINDOW_ANSWERS, WINDOWS, Stem

TABLES: dict[str, tuple[type[Message], ...]] = {
    "stream": (*STREAM, *CONTROLS),
    "answers": ANSWERS,
    "windows": WINDOWS,
    "window answers": WINDOW_ANSWERS,
}
"""Name of a table in the page → its messages."""

MARKED = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)


def renewed(page: str) -> str:
    """A page with tables as the messages are now."""
    return MARKED.sub(lambda found: f"{found[1]}{table(TABLES[found[2]])}{found[3]}", page)


def table(kinds: tuple[type[Message], ...]) -> str:
    """The messages with their arguments, as Markdown."""
    lines = ["| message | types | arguments | what it does |", "|---|---|---|---|"]
    for kind in kinds:
        arguments = [argument for _, argument in arguments_of(kind)]
        address = "`/bass`, `/drums`, …" if kind is Stem else f"`{kind.address}`"
        tags = "".join(f"[{argument.tag}]" if argument.optional else argument.tag for argument in arguments)
        told = "; ".join(_told(argument) for argument in arguments)
        lines.append(f"| {address} | {f'`{tags}`' if tags else ''} | {told} | {' '.join(str(kind.__doc__).split())} |")
    return "\n".join(lines) + "\n"


def _told(argument: Argument) -> str:
    low, high = argument.allowed.low, argument.allowed.high
    bounded = argument.tag in ("i", "f") and abs(low) < LAST and high < LAST and not argument.words.startswith("ms ")
    known = "=" in argument.words or high > 1e6
    return argument.words + (f" ({low:g} to {high:g})" if bounded and not known else "")


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
