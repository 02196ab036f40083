"""`livejam doctor --config`: what it says of shipped experiments at a tiny size, and that it changes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_modules import examination
from livejam.cli import doctor, doctor_command
from livejam.cli import main as livejam_cli
from livejam.cli.doctor import Finding

REPOSITORY = Path(__file__).parents[3]
EXPERIMENT = ("--config", "quickstart", "--config", str(REPOSITORY / "tests/tiny/R3GAN.yaml"))


@pytest.fixture
def tiny(rendered_songs, tmp_path, monkeypatch):
    for name, place in (("SONGS", rendered_songs), ("CACHE", tmp_path / "cache"), ("ROOT", tmp_path / "run")):
        monkeypatch.setenv(f"TINY_{name}", str(place))
    return tmp_path


@pytest.fixture
def examined(tmp_path, monkeypatch):
    """Findings by subject, made inside this process."""

    def examine(*words, deep=False):
        results = tmp_path / "findings"
        results.unlink(missing_ok=True)
        monkeypatch.setattr("sys.argv", ["examination", str(results), "deep" if deep else "quick", "fit", *words])
        assert examination.main() == 0
        return {row["subject"]: Finding(**row) for row in map(json.loads, results.read_text().splitlines())}

    return examine


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_an_experiment_is_examined_before_and_after_its_bank_is_there(tiny, examined, lightning_command):
    before = examined(*EXPERIMENT)
    assert before["songs"].good
    assert before["bank"].good
    assert "1 of 1 songs are still to be encoded" in before["bank"].text
    assert "fit makes the data first" in before["steps"].text
    assert all(finding.good for finding in before.values()), "what fit does by itself is no fault"
    assert not files_of(tiny / "run")
    assert not list((tiny / "cache").rglob("*.safetensors")), "nothing was encoded"
    status, error = lightning_command("fit", *EXPERIMENT, "--trainer.fast_dev_run", "1")
    assert status == 0, error
    left = files_of(tiny / "run")
    after = examined(*EXPERIMENT, "--trainer.max_epochs", "50")
    assert all(finding.good for finding in after.values()), after
    assert set(after) == {"experiment", "weights", "songs", "bank", "memory", "time", "disk of the run"}
    assert "1 songs" in after["bank"].text
    assert ": 100 take 0.0 hours" in after["time"].text, "50 epochs of two batches"
    assert "checkpoints of" in after["disk of the run"].text
    assert files_of(tiny / "run") == left, "only what the dry run keeps"
    bank = next((tiny / "cache").rglob("songs/*.safetensors"))
    whole = bank.read_bytes()
    bank.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    flipped = examined(*EXPERIMENT, deep=True)["bank"]
    assert not flipped.good
    assert "its content changed" in flipped.text
    bank.write_bytes(whole[:-1])
    damaged = examined(*EXPERIMENT)
    assert "1 of 1 songs are still to be encoded" in damaged["bank"].text
    assert "not measured" in damaged["steps"].text


@pytest.mark.parametrize(
    ("words", "subject", "says"),
    [
        (("--data.init_args.root", "nowhere"), "songs", "no Slakh data set at nowhere"),
        (("--data.init_args.batch_size", "0"), "experiment", "batch_size"),
        (("--config", "overlays/published_metrics"), "weights", "livejam weights fetch"),
    ],
)
def test_what_is_missing_is_red_and_says_what_to_do(tiny, examined, monkeypatch, words, subject, says):
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tiny / "weights"))
    findings = examined(*EXPERIMENT, *words)
    assert not findings[subject].good
    assert says in findings[subject].text
    assert "steps" not in findings or not findings["steps"].good


def test_a_network_to_start_from_that_is_missing_is_red_before_anything_is_encoded(tiny, examined, monkeypatch):
    """And the config that trains it is named."""
    monkeypatch.chdir(tiny)
    words = ("--config", "lmdm/arc_forcing_pocket", "--config", str(REPOSITORY / "tests/tiny/ARCForcing.yaml"))
    start = ("--model.init_args.base_checkpoint", "runs/lmdm_blockcausal_pocket/checkpoints/last.ckpt")
    findings = examined(*words, *start)
    assert [name for name, finding in findings.items() if not finding.good] == ["weights", "steps"]
    assert "the first lines of configs/lmdm/blockcausal_pocket.yaml say how to train it" in findings["weights"].text
    assert "the weights are not there" in findings["steps"].text


def test_a_run_that_does_not_fit_is_red():
    measured = examination.Measured(2, 0.5, 95, 100, 10**15, 7200, "cuda:0")
    assert not examination._memory(measured).good
    assert "7200 take 1.0 hours" in examination._time(measured).text


@pytest.mark.parametrize(("status", "says"), [(-9, "killed by signal 9"), (1, "fails: Oh: no")])
def test_a_process_that_dies_is_a_finding(monkeypatch, status, says):
    done = subprocess.CompletedProcess([sys.executable], status, "", "Traceback\nOh: no\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    (finding,) = doctor_command.examine_experiment(["quickstart"], [], False)
    assert not finding.good
    assert says in finding.text


def test_json_is_a_list_and_the_status_says_whether_all_is_well(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: iter([Finding("a", True, "b")]))
    assert livejam_cli.main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"subject": "a", "good": True, "text": "b"}]
    words = []
    finding = Finding("bank", False, "none")
    monkeypatch.setattr(doctor_command, "examine_experiment", lambda *given: words.append(given) or iter([finding]))
    assert livejam_cli.main(["doctor", "--config", "x", "--", "--data.init_args.root", "y"]) == 1
    assert words == [(["x"], ["--data.init_args.root", "y"], False)]
    assert "FAIL  bank" in capsys.readouterr().out
