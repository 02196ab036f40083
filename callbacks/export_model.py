"""The model at the end of a training, as graphs for players without PyTorch."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from livejam.codecs.causal_codec import CausalCodec
from livejam.errors import UserError
from livejam.export.signature import PRECISIONS

NEEDED = ("onnx", "onnxruntime", "onnxscript")


class ExportModel(Callback):
    """Writes the directory of `livejam export` when a training is over, and compares it with PyTorch.

    It is made of what a checkpoint of this moment holds, so with the averaged generator. A training that somebody
    stopped is exported, too, but not one that a cluster stops, which has no time and goes on later.

    Args:
        folder: the directory; an older export in it is replaced.
        precision: of the weights, as for `livejam export`.
        parity_steps: steps in which ONNX Runtime is compared with PyTorch, ≥ 1.
    """

    def __init__(self, folder: str, precision: str = "float32", parity_steps: int = 200) -> None:
        self._folder, self._precision, self._steps = Path(folder), precision, parity_steps

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse before training what could not be exported after it.

        Raises:
            UserError: an unknown precision, a package is missing, or the codec has no graph.
        """
        if self._precision not in PRECISIONS:
            raise UserError(f"ExportModel has no precision '{self._precision}'; choose one of {', '.join(PRECISIONS)}")
        if missing := [name for name in NEEDED if find_spec(name) is None]:
            raise UserError(f"ExportModel needs {', '.join(missing)}: pip install 'livejam[export]'")
        codec = getattr(pl_module, "codec", None)
        if not isinstance(codec, CausalCodec):
            raise UserError(
                f"ExportModel exports models that play through a CausalCodec, not through {type(codec).__name__}; take "
                "it out of the YAML"
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export; every process helps to save the checkpoint, the first one does the rest."""
        if trainer.fast_dev_run or trainer.received_sigterm:  # type: ignore[attr-defined]
            return
        with tempfile.TemporaryDirectory() as folder:
            shared = trainer.strategy.broadcast(folder)
            checkpoint = Path(shared) / f"{Path(trainer.default_root_dir).name}.ckpt"
            trainer.save_checkpoint(checkpoint)
            if trainer.is_global_zero:
                self._export(checkpoint)
            trainer.strategy.barrier()

    def _export(self, checkpoint: Path) -> None:
        from livejam.export.directory import export, open_steps
        from livejam.export.parity import checked

        model = export(checkpoint, self._folder, precision=self._precision)
        parity = checked(model, open_steps(self._folder), self._steps)
        rank_zero_info(f"exported to {self._folder}, after {parity.steps} steps as in PyTorch")
