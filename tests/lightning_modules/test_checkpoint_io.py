"""A checkpoint is written whole or not at all, beside its place."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from pathlib import Path

import pytest
import torch

from lightning_modules import checkpoint_io
from lightning_modules.checkpoint_io import PlainCheckpointIO
from livejam.errors import UserError

CONTENT = {"state_dict": {"weight": torch.arange(5000)}, "pytorch-lightning_version": "2"}


class FullDisk(io.BytesIO):
    """Takes some bytes and no more, as a disk does.

    Args:
        number: of the system's error.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, data: object) -> int:
        if self.tell() > 1000:
            raise OSError(self.number, os.strerror(self.number))
        return super().write(bytes(data))  # type: ignore[call-overload]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_or_quota_is_one_sentence(number: int) -> None:
    with pytest.raises(UserError, match=r"the disk is full.*continue with --ckpt_path last"):
        checkpoint_io._save(CONTENT, FullDisk(number))


def test_the_one_before_it_stays_until_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder/last.ckpt"
    PlainCheckpointIO().save_checkpoint(CONTENT, path)
    before = path.read_bytes()

    def cut_short(checkpoint: object, file: io.BytesIO) -> None:
        file.write(b"PK half")
        assert path.read_bytes() == before
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(UserError, match="the disk is full"):
        PlainCheckpointIO().save_checkpoint({}, path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    assert path.read_bytes() == before


def test_no_other_file_system_is_used_and_nothing_piles_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where temporary files would lie, there is nothing; what a killed process left is gone after the next one."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    path = tmp_path / "last.ckpt"
    (tmp_path / ".last.ckpt.k1ll3d.ckpt").write_bytes(b"PK half")
    (tmp_path / ".lastly.ckpt").touch()
    PlainCheckpointIO().save_checkpoint(CONTENT, path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [".lastly.ckpt", "last.ckpt"]
    assert torch.equal(PlainCheckpointIO().load_checkpoint(path)["state_dict"]["weight"], torch.arange(5000))
