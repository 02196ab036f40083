"""A model on another device than the CPU."""

import pytest
import torch

from livejam import load
from livejam.cli.main import main
from livejam.errors import UserError
from livejam.streaming import Session


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_refused_in_one_sentence(device: str) -> None:
    with pytest.raises(UserError, match=f"cannot compute on {device} here"):
        load("liveband-pocket", device=device)


def test_the_command_says_so_before_it_plays(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "--checkpoint", "liveband-pocket", "--on", "cuda:99"]
    assert main(words) == 2
    assert "use cpu" in capsys.readouterr().err


def test_a_player_that_was_put_where_it_is_plays_the_same() -> None:
    sound_AN = 0.1 * torch.randn(1, 22_050, generator=torch.Generator().manual_seed(0))
    player = load("liveband-pocket")
    there = player.on("cpu")
    played = [Session(each, channels=1, sample_rate_hz=22_050).process(sound_AN) for each in (player, there)]
    assert torch.equal(*played)
