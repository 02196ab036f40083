"""Write the page that plays without a server: static files, for any host that serves files.

livejam export --checkpoint liveband-pocket --out exported
python hosts/web/assemble.py --model exported --out page
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from livejam.errors import UserError
from livejam.export.signature import PROMPTS, SIGNATURE, STATES, read_signature

HERE = Path(__file__).parent
SERVED = HERE.parents[1] / "livejam/serving/web"
SHARED = (
    "anticipating.js",
    "app.js",
    "audio.js",
    "beats.js",
    "guiding.js",
    "jam.js",
    "leading.js",
    "likeness.js",
    "mixer.js",
    "old.js",
    "onsets.js",
    "playout.js",
    "processor.js",
)
SHARED += ("sketching.js", "take.js", "words.js", "icon.svg", "index.html", "style.css")
"""The same files as those of the page that `livejam serve web` serves."""

PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of the package, as its registry states it."""

RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
WEBGPU = ("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
"""For browsers that have a graphics processor alone: no other one fetches these, and nobody keeps them for offline."""

HEAD = '<link rel="manifest" href="manifest.webmanifest">\n'
FETCH_SECONDS = 300


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="what `livejam export` wrote")
    parser.add_argument("--out", type=Path, required=True, metavar="PAGE", help="a new folder for the page")
    parser.add_argument(
        "--songs", type=Path, metavar="DATA", help="demo songs in Slakh2100's format (default: our own)"
    )
    parser.add_argument(
        "--runtime", type=Path, metavar="TGZ", help=f"the npm package {PACKAGE} (default: fetched with npm)"
    )
    options = parser.parse_args()
    try:
        assemble(options.model, options.out, options.runtime, options.songs)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    sys.stdout.write(f"{options.out}: {size / 1e6:.1f} MB; any web server can serve this folder, for example\n")
    sys.stdout.write(f"  python -m http.server --directory {options.out}\n")
    return 0


def assemble(model: Path, page: Path, runtime: Path | None, songs: Path | None) -> None:
    """Write the page.

    Args:
        model: what `livejam export` wrote.
        page: a folder that does not exist, or is empty.
        runtime: the package of ONNX Runtime; None = fetched.
        songs: a data set of demo songs; None = our own.

    Raises:
        UserError: the model or the package is not what it should be, or the folder holds something.
    """
    signature = read_signature(model)
    if page.exists() and (not page.is_dir() or any(page.iterdir())):
        raise UserError(f"--out {page} exists; name a new folder")
    packed = _fetched() if runtime is None else _read(runtime)
    page.mkdir(parents=True, exist_ok=True)
    _copy([SERVED / name for name in SHARED], page)
    _copy([path for path in HERE.iterdir() if path.suffix in (".js", ".webmanifest")], page)
    words = [PROMPTS] if signature.prompts else []
    graphs = [graph.file for graph in signature.graphs]
    _copy([model / name for name in (SIGNATURE, STATES, *words, *graphs)], page / "model")
    _unpack(packed, page / "runtime")
    _write_songs(songs, signature.sample_rate_hz, page / "songs")
    index = page / "index.html"
    index.write_text(index.read_text(encoding="utf-8").replace("</head>", f"{HEAD}</head>"), encoding="utf-8")
    _list_files(page)


def _copy(files: list[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        if not path.is_file():
            raise UserError(f"{path} is missing; export the model again")
        shutil.copyfile(path, folder / path.name)


def _fetched() -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"npm is not installed, which fetches {PACKAGE}; install it, or name the package with --runtime"
        )
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", PACKAGE]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            raise UserError(
                f"npm cannot fetch {PACKAGE}; try again with a network, or name the package with --runtime"
            ) from error
        return _read(next(Path(folder).glob("*.tgz")))


def _read(package: Path) -> bytes:
    if not package.is_file():
        raise UserError(f"--runtime {package} does not exist; fetch it with `npm pack {PACKAGE}`")
    packed = package.read_bytes()
    if base64.b64encode(hashlib.sha512(packed).digest()).decode() != INTEGRITY:
        raise UserError(f"{package} is not {PACKAGE}: its SHA-512 is another one; fetch it with `npm pack {PACKAGE}`")
    return packed


def _unpack(packed: bytes, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:
        for name in (*RUNTIME, *WEBGPU):
            file = package.extractfile(f"package/dist/{name}")
            assert file is not None, name
            (folder / name).write_bytes(file.read())


def _write_songs(root: Path | None, sample_rate_hz: int, folder: Path) -> None:
    """What every instrument plays in every song, as a file of its own: the page adds those that are wanted."""
    from livejam.cli.demo_songs import demo_songs
    from livejam.serving.web_songs import mixed

    listed = []
    for number, song in enumerate(demo_songs(root)):
        (folder / str(number)).mkdir(parents=True)
        files = {}
        for place, name in enumerate(song.instruments):
            files[name] = f"{place}.flac"
            others = set(song.instruments) - {name}
            (folder / str(number) / files[name]).write_bytes(mixed(song, others, sample_rate_hz))
        listed.append({"title": song.title, "instruments": song.instruments, "folder": str(number), "files": files})
    (folder / "songs.json").write_text(json.dumps(listed, indent=1), encoding="utf-8")


def _list_files(page: Path) -> None:
    """Tell the service worker what to keep, and a name for exactly these files."""
    worker = page / "service_worker.js"
    paths = sorted(path for path in page.rglob("*") if path.is_file() and path != worker)
    digest = hashlib.sha256(worker.read_bytes())
    for path in paths:
        digest.update(path.relative_to(page).as_posix().encode() + hashlib.sha256(path.read_bytes()).digest())
    names = ["./", *(path.relative_to(page).as_posix() for path in paths if path.name not in WEBGPU)]
    listed = f"const VERSION = {json.dumps(digest.hexdigest()[:16])};\nconst FILES = {json.dumps(names, indent=1)};\n\n"
    worker.write_text(listed + worker.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
