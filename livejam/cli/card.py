"""`livejam card`: the model card of a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    from metrics.results import Table


def add_card(commands: Any) -> None:
    """Add the command to the parser's commands."""
    card = commands.add_parser(
        "card",
        help="write the model card of a checkpoint",
        description="Write a page about a checkpoint, as Markdown: what it is, what it learnt from, its settings, the\n"
        "numbers of its test beside their anchors, and the licences of what it was made with. Runs no code from the\n"
        "checkpoint.",
        epilog="example:\n  livejam card runs/quickstart/checkpoints/last.ckpt",
    )
    card.add_argument("checkpoint", type=Path, help="a .ckpt file written by `lightning fit`")
    card.add_argument(
        "--results",
        type=Path,
        metavar="JSON",
        help="the table that `lightning test` wrote (default: results.json of the checkpoint's run, if it was measured "
        "on this checkpoint)",
    )
    card.add_argument("--out", type=Path, metavar="MD", help="the card (default: MODEL_CARD.md beside the checkpoint)")
    add_overwrite(card)
    card.set_defaults(run=_card)


def _card(options: argparse.Namespace) -> int:
    from livejam.checkpoints.card import model_card
    from livejam.checkpoints.description import describe
    from livejam.checkpoints.facts import ancestors, lineage_text
    from livejam.checkpoints.file import read_checkpoint
    from livejam.checkpoints.weights import sha256_of
    from livejam.files import atomic_path

    checkpoint: Path = options.checkpoint
    out = options.out or checkpoint.with_name("MODEL_CARD.md")
    require_free({"--out": out}, [path for path in (checkpoint, options.results) if path], options.overwrite)
    content, digest = read_checkpoint(checkpoint), sha256_of(checkpoint)
    results, said = _results(checkpoint, digest, options.results)
    try:
        config, lineage = content.get("config", {}), lineage_text(ancestors(content))
        text = model_card(checkpoint.name, digest, describe(checkpoint), config, lineage, results)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{checkpoint} does not hold what a recipe writes ({reason}); train again or update") from error
    with atomic_path(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{out}: {said}")
    return 0


def _results(checkpoint: Path, digest: str, named: Path | None) -> tuple[str | None, str]:
    """The table of a checkpoint's test as Markdown, and one sentence about where it comes from.

    Raises:
        UserError: the file that was named is no table, or was measured on other weights.
    """
    from metrics.provenance import notes_of
    from metrics.results import as_markdown, read_table

    of_the_run = (checkpoint.parent.parent / "results.json", checkpoint.parent / "results.json")
    for path in of_the_run if named is None else (named,):
        table = read_table(path)
        if table.rows and _is_of(table, digest):
            return as_markdown(table.rows, notes=notes_of(table.measured_on)), f"with the numbers of {path}"
    if named is not None:
        raise UserError(
            f"{named} holds no test of {checkpoint}; test it with `lightning test --ckpt_path {checkpoint}` and the "
            "config of its run, or leave --results out"
        )
    return None, "without numbers, because the run has no test of this checkpoint"


def _is_of(table: Table, digest: str) -> bool:
    """Whether one of a table's models has this SHA-256, of which the table holds the beginning."""
    models = {} if table.measured_on is None else table.measured_on["models"]
    return any(facts.get("sha256") and digest.startswith(str(facts["sha256"])) for facts in models.values())
