"""Scripts of a page, run by Node.js."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


def runner(scripts: Path, folder: Path, node: str) -> Callable[[str], Any]:
    """What runs a script that can import those of a folder, and gives what it prints as JSON.

    Args:
        scripts: the folder.
        folder: an empty one to run in.
        node: the command.
    """
    for path in scripts.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')

    def run(text: str) -> Any:
        (folder / "test.js").write_text(text)
        done = subprocess.run([node, "test.js"], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
