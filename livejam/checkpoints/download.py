"""The only code that uses the network: it downloads weights and data sets on request.

A file grows beside its place as `NAME.part`, so an interrupted download continues where it stopped. It takes its place
only when its size and digest are right.
"""

from __future__ import annotations

import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from tqdm import tqdm

from livejam.checkpoints.weights import SUMS, WeightFile, Weights, recorded_sums, sha256_of
from livejam.errors import UserError
from livejam.files import atomic_path

TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1 << 18


def fetch(weights: Weights) -> Path:
    """Download the missing files of a set of weights.

    `HF_TOKEN` is sent to the server that the table names, and to no other that it redirects to.

    Returns:
        The folder.

    Raises:
        UserError: the server cannot be reached or refuses, or the file is not the published one.
    """
    for file in weights.missing:
        _fetch_file(weights, file)
    return weights.folder


def _fetch_file(weights: Weights, file: WeightFile) -> None:
    path = weights.folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        continue_download(file, part)
    except urllib.error.HTTPError as error:
        raise _refusal(weights, file, error) from error
    except BrokenOffError as error:
        raise UserError(
            f"{file.url} cannot be reached ({error}); what has arrived is kept: run `livejam weights fetch "
            f"{weights.name}` again with network access, or copy the file to {path}"
        ) from error
    digest = _checked(weights, file, part)
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(path)
    sums = {**recorded_sums(weights.folder), file.path: digest}
    with atomic_path(weights.folder / SUMS) as temporary:
        temporary.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())), encoding="utf-8")


class BrokenOffError(Exception):
    """A server cannot be reached, or stopped in the middle; the message says why."""


def continue_download(file: WeightFile, part: Path, before: Callable[[int | None], None] | None = None) -> None:
    """Append the missing part of a file; start over if the server cannot resume.

    Args:
        file: where the file is, and its size if that is known.
        part: what has arrived.
        before: called with the bytes that are to come, None where the server does not say, before any is written.

    Raises:
        HTTPError: the server refuses.
        BrokenOffError: the transfer broke off; what has arrived is kept.
    """
    try:
        _continue(file, part, before or (lambda remaining: None))
    except urllib.error.HTTPError:
        raise
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise BrokenOffError(str(getattr(error, "reason", None) or error)) from error


def _continue(file: WeightFile, part: Path, before: Callable[[int | None], None]) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have and have == file.size_bytes:
        return
    try:
        response = urllib.request.urlopen(_request(file, have), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # a part that is whole was killed before it was checked
        if error.headers.get("Content-Range", "").endswith(f"/{have}"):
            return
        part.unlink()
        have, response = 0, urllib.request.urlopen(_request(file, 0), timeout=TIMEOUT_SECONDS)
    with response:
        if response.headers.get_content_type() == "text/html":
            raise UserError(
                f"{file.url} answered with a web page instead of a file; open it in a browser and put what it offers "
                f"at {part.with_suffix('')}"
            )
        have = have if response.status == HTTPStatus.PARTIAL_CONTENT and _starts_at(response, have) else 0
        rest = response.headers.get("Content-Length")
        total = have + int(rest) if rest else file.size_bytes
        received = have
        before(None if total is None else total - have)
        with (
            part.open("ab" if have else "wb") as out,
            tqdm(desc=file.path, initial=have, total=total, unit="B", unit_scale=True, unit_divisor=1024) as progress,
        ):
            while block := response.read(BLOCK_BYTES):
                out.write(block)
                progress.update(len(block))
                received += len(block)
        if total is not None and received < total:
            raise ConnectionError(f"it ended after {received} of {total} bytes")


def _request(file: WeightFile, have: int) -> urllib.request.Request:
    request = urllib.request.Request(file.url, headers={"User-Agent": "livejam"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    token = os.environ.get("HF_TOKEN")
    if token and request.host == "huggingface.co":
        # unredirected: other servers that we are sent to must not get the token
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


def _starts_at(response: http.client.HTTPResponse, have: int) -> bool:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return found is not None and int(found[1]) == have


def _checked(weights: Weights, file: WeightFile, part: Path) -> str:
    """The digest of a complete file; a wrong file is removed, so that the next attempt starts over."""
    size, digest = part.stat().st_size, sha256_of(part)
    if file.size_bytes not in (None, size):
        reason = f"it has {size} bytes instead of {file.size_bytes}"
    elif file.sha256 is not None and not digest.startswith(file.sha256):
        reason = f"its SHA-256 is {digest} instead of {file.sha256}"
    else:
        return digest
    part.unlink()
    raise UserError(
        f"{file.url} is not the published file ({reason}) and was deleted; run `livejam weights fetch "
        f"{weights.name}` again, and report it if that does not help"
    )


def _refusal(weights: Weights, file: WeightFile, error: urllib.error.HTTPError) -> UserError:
    if error.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN) and weights.gate:
        return UserError(f"{weights.name} is handed out on request only: {weights.gate}")
    return UserError(
        f"{file.url} is refused by its server ({error.code} {error.reason}); obtain the file elsewhere and put it at "
        f"{weights.folder / file.path}"
    )
