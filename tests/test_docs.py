"""The documentation is whole: every page is in the site, every package in the reference, every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import REPOSITORY, relative
from test_imports import MAY_IMPORT

from livejam import __version__

DOCS = REPOSITORY / "docs"
PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.glob("*.md"))]


def _navigation(entries: list[Any]) -> list[str]:
    """The pages that a navigation names, whatever their depth."""
    values = [value for entry in entries for value in entry.values()]
    return [page for value in values for page in ([value] if isinstance(value, str) else _navigation(value))]


def test_every_page_has_its_place_in_the_site() -> None:
    pages = _navigation(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"])
    assert sorted(pages) == sorted(str(page.relative_to(DOCS)) for page in DOCS.glob("**/*.md"))


def test_every_package_has_its_reference() -> None:
    """The modules of `livejam` itself one by one; a command's reference is its `--help`."""
    shown = re.findall(
        r"^::: (\S+)$", "\n".join(page.read_text() for page in DOCS.glob("api/*.md")), flags=re.MULTILINE
    )
    rooms = {path.parent.name for path in REPOSITORY.glob("livejam/*/__init__.py")} - {"cli"}
    words = {path.stem for path in REPOSITORY.glob("livejam/*.py")} - {"__init__"}
    assert sorted(shown) == sorted([*(MAY_IMPORT.keys() - {"livejam"}), *(f"livejam.{name}" for name in rooms | words)])


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8")) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert f'version = "{__version__}"' in (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")


def test_commit_hooks_run_what_make_runs() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    for hook in hooks:
        command = hook["entry"].removesuffix(" --force-exclude")
        assert re.search(rf"^\t{re.escape(command)}( \.)?$", makefile, flags=re.MULTILINE), command


def test_the_picture_of_the_packages_has_the_arrows_that_are_allowed() -> None:
    titles = re.findall(r"<title>(\w+) imports (\w+)</title>", (DOCS / "rooms.svg").read_text(encoding="utf-8"))
    assert len(titles) == len(set(titles))
    assert set(titles) == {(package, other) for package, others in MAY_IMPORT.items() for other in others}
