"""The bank built by `lightning predict` is the bank that training builds by itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Trainer

from callbacks import LatentBankWriter
from datamodules import LatentBank, SongsToEncode
from lightning_modules import LatentEncoding
from livejam.errors import UserError

TREES = Path(__file__).parents[1] / "datamodules"
sys.path.append(str(TREES))

from slakh_tree import FrameCodec, write_tree  # noqa: E402

SLOW_CONFIG = """
trainer: {{accelerator: cpu, devices: 2, strategy: ddp, logger: false, default_root_dir: {folder}/runs,
           enable_progress_bar: false, callbacks: [{{class_path: callbacks.LatentBankWriter}}]}}
model:
  class_path: lightning_modules.LatentEncoding
  init_args: {{codec: {{class_path: slakh_tree.FrameCodec}}}}
data:
  class_path: datamodules.SongsToEncode
  init_args: {{root: {root}, bank_root: {folder}/bank}}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("data"), train=5)


def data_module(root, bank):
    codec = FrameCodec()
    return LatentEncoding(codec), SongsToEncode(str(root), codec, bank_root=str(bank), bank_workers=0)


def predict(root, bank, **options):
    # on the device that `prepare_data` takes by itself: another one rounds differently
    trainer = Trainer(
        accelerator="auto",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        callbacks=[LatentBankWriter()],
        **options,
    )
    trainer.predict(*data_module(root, bank), return_predictions=False)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def automatic(root, tmp_path_factory):
    bank = tmp_path_factory.mktemp("automatic") / "bank"
    data_module(root, bank)[1].prepare_data()
    return files_of(bank)


@pytest.mark.filterwarnings("ignore")
def test_predict_builds_the_same_bytes_as_the_first_fit(root, automatic, tmp_path):
    predict(root, tmp_path / "bank")
    assert files_of(tmp_path / "bank") == automatic
    LatentBank(tmp_path / "bank").verify()


@pytest.mark.filterwarnings("ignore")
def test_an_unfinished_prediction_is_no_bank_and_goes_on(root, automatic, tmp_path, caplog):
    predict(root, tmp_path / "bank", limit_predict_batches=2)
    assert "3 songs are still missing" in caplog.text
    assert len(files_of(tmp_path / "bank")) == 2
    with pytest.raises(UserError, match="no latent bank"):
        LatentBank(tmp_path / "bank")
    predict(root, tmp_path / "bank")
    assert files_of(tmp_path / "bank") == automatic


@pytest.mark.filterwarnings("ignore")
def test_a_manifest_that_was_never_written_is_written_though_no_song_is_missing(root, automatic, tmp_path):
    predict(root, tmp_path / "bank")
    (tmp_path / "bank" / "manifest.json").unlink()
    predict(root, tmp_path / "bank")
    assert files_of(tmp_path / "bank") == automatic


@pytest.mark.slow
def test_two_ranks_build_the_same_bytes(root, automatic, tmp_path):
    config = tmp_path / "bank.yaml"
    config.write_text(SLOW_CONFIG.format(folder=tmp_path, root=root))
    command = [sys.executable, "-m", "lightning_modules.cli", "predict", "--config", str(config)]
    environment = {**__import__("os").environ, "PYTHONPATH": str(TREES)}
    subprocess.run(command, cwd=TREES.parents[1], env=environment, check=True, capture_output=True, timeout=200)
    assert files_of(tmp_path / "bank") == automatic
