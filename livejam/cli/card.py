"""`livejam card`: the model card of a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    from metrics.results import Table

MODEL_HELP = "a .ckpt file of `lightning fit`, a published .safetensors file, or the name of a bundled model"
"""Of an argument that names a model."""


def add_card(commands: Any) -> None:
    """Add the command to the parser's commands."""
    card = commands.add_parser(
        "card",
        help="write the model card of a checkpoint",
        description="Write a page about a checkpoint, as Markdown: what it is, what it learnt from, its settings, the\n"
        "numbers of its test beside their anchors, and the licences of what it was made with. Runs no code from the\n"
        "checkpoint. Of a bundled model it is printed, unless --out says where it goes.",
        epilog="examples:\n  livejam card runs/quickstart/checkpoints/last.ckpt\n  livejam card liveband-pocket",
    )
    card.add_argument("checkpoint", type=Path, help=MODEL_HELP)
    card.add_argument(
        "--results",
        type=Path,
        metavar="JSON",
        help="the table that `lightning test` wrote (default: results.json of the checkpoint's run, if it was measured "
        "on this checkpoint, or the one that a published model holds)",
    )
    card.add_argument("--out", type=Path, metavar="MD", help="the card (default: MODEL_CARD.md beside the checkpoint)")
    add_overwrite(card)
    card.set_defaults(run=_card)


def _card(options: argparse.Namespace) -> int:
    from livejam.checkpoints.published import BUNDLED, find_model, published_facts, read_model
    from livejam.checkpoints.weights import sha256_of

    checkpoint = find_model(options.checkpoint)
    printed = checkpoint.parent == BUNDLED and options.out is None
    out = options.out or (None if printed else checkpoint.with_name("MODEL_CARD.md"))
    require_free({"--out": out}, [path for path in (checkpoint, options.results) if path], options.overwrite)
    facts = published_facts(read_model(checkpoint))
    if facts and options.results is None:
        results, said = facts["results"], "as it was published"
    else:
        digests = [sha256_of(checkpoint), *filter(None, [facts.get("checkpoint_sha256")])]
        results, said = found_results(checkpoint, digests, options.results)
    if out is None:
        print(card_of(checkpoint, results))
    else:
        write_card(checkpoint, out, results)
        print(f"{out}: {said}")
    return 0


def card_of(checkpoint: Path, results: str | None) -> str:
    """The card of a checkpoint or of a published model.

    Args:
        checkpoint: the file.
        results: the table of its test, as Markdown; None where there is none.

    Raises:
        UserError: the file does not hold what a recipe writes.
    """
    from livejam.checkpoints.card import model_card
    from livejam.checkpoints.description import describe
    from livejam.checkpoints.facts import ancestors, lineage_text
    from livejam.checkpoints.published import published_facts, read_model
    from livejam.checkpoints.weights import sha256_of

    content = read_model(checkpoint)
    published = published_facts(content)
    stated = published.get("licence"), published.get("songs")
    try:
        config, lineage = content.get("config", {}), lineage_text(ancestors(content))
        return model_card(
            checkpoint.name, sha256_of(checkpoint), describe(checkpoint), config, lineage, results, *stated
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{checkpoint} does not hold what a recipe writes ({reason}); train again or update") from error


def write_card(checkpoint: Path, out: Path, results: str | None) -> None:
    """Write the card of a checkpoint or of a published model, whole or not at all."""
    from livejam.files import atomic_path

    text = card_of(checkpoint, results)
    with atomic_path(out) as temporary:
        temporary.write_text(text, encoding="utf-8")


def found_results(checkpoint: Path, digests: Sequence[str], named: Path | None) -> tuple[str | None, str]:
    """The table of a checkpoint's test as Markdown, and one sentence about where it comes from.

    Args:
        checkpoint: the file.
        digests: SHA-256 of the file, and of what it was made from.
        named: the table that the user names; None = the run's own, if it is of this checkpoint.

    Raises:
        UserError: the file that was named is no table, or was measured on other weights.
    """
    from metrics.provenance import notes_of
    from metrics.results import as_markdown, known, read_table

    of_the_run = (checkpoint.parent.parent / "results.json", checkpoint.parent / "results.json")
    for path in of_the_run if named is None else (named,):
        table = read_table(path)
        if table.rows and any(_is_of(table, digest) for digest in digests):
            notes, measured_on = notes_of(table.measured_on), known(table.measured_on)
            return as_markdown(table.rows, notes=notes, measured_on=measured_on), f"with the numbers of {path}"
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
