"""What README.md tells people to type works, and what it links to exists."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import REPOSITORY, commands_in, without_checkpoint

from livejam.cli import main as livejam_cli

Command = Callable[..., tuple[int, str]]

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
BASH = "\n".join(re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL))
COMMANDS = commands_in(BASH)


def of(program: str) -> list[list[str]]:
    return [words[1:] for words in COMMANDS if words[0] == program]


def test_every_line_is_a_command_that_is_tried_here() -> None:
    assert len(COMMANDS) == len(BASH.split("\n")) - BASH.split("\n").count("")
    assert {words[0] for words in COMMANDS} == {"make", "lightning", "livejam", "sbatch"}


@pytest.mark.parametrize("words", of("lightning"), ids=" ".join)
def test_lightning_commands_parse(
    words: list[str], lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    words = without_checkpoint(words)
    extra = [] if {"--help", "--print_config"} & set(words) else ["--print_config"]
    assert lightning_command(*words, *extra) == (0, "")


@pytest.mark.parametrize("words", of("livejam"), ids=" ".join)
def test_livejam_commands_parse(words: list[str]) -> None:
    assert callable(livejam_cli.build_parser().parse_args(words).run)


@pytest.mark.parametrize("words", of("sbatch"), ids=" ".join)
def test_batch_files_parse(words: list[str], lightning_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch file is sound bash, and what it hands to `lightning fit` is sound too."""
    monkeypatch.chdir(REPOSITORY)
    subprocess.run(["bash", "-n", words[0]], check=True)
    arguments = [*words[1:], "--config", "configs/overlays/slurm.yaml", "--print_config"]
    assert lightning_command("fit", *arguments) == (0, "")


@pytest.mark.parametrize("words", of("make"), ids=" ".join)
def test_make_targets_exist(words: list[str]) -> None:
    done = subprocess.run(["make", "--dry-run", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_demo_runs_what_readme_says() -> None:
    done = subprocess.run(["make", "--dry-run", "demo"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    demo = [line.removeprefix(".venv/bin/").split() for line in done.stdout.splitlines() if "bin/lightning" in line]
    said = [words for words in COMMANDS if words[0] == "lightning" and "configs/quickstart.yaml" in words]
    assert demo == said


def test_python_examples_name_what_exists() -> None:
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)


def test_links_and_class_paths_exist() -> None:
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert not [link for link in links if not (REPOSITORY / link).exists()]
    for class_path in re.findall(r"`(lightning_modules\.[\w.]+)`", README):
        module, _, name = class_path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_data_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for words in of("livejam"):
        if words[0] in ("data", "doctor"):
            assert livejam_cli.main(words) == 0
    assert "40 songs" in capsys.readouterr().out
