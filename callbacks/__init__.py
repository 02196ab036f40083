"""Callbacks, which pass the output of a module to metrics, files and loggers."""

from callbacks.adaptation_monitor import AdaptationMonitor
from callbacks.apa_monitor import APAMonitor
from callbacks.audio_logger import AudioLogger
from callbacks.beat_f1_monitor import BeatF1Monitor
from callbacks.best_checkpoints import BestCheckpoints
from callbacks.block_clicks import BlockClicks
from callbacks.cocola_monitor import COCOLAMonitor
from callbacks.export_model import ExportModel
from callbacks.fad_monitor import FADMonitor
from callbacks.harmony_monitor import HarmonyMonitor
from callbacks.interrupt_checkpoint import InterruptCheckpoint
from callbacks.kad_monitor import KADMonitor
from callbacks.last_checkpoint import LastCheckpoint
from callbacks.latent_bank_writer import LatentBankWriter
from callbacks.long_rollout import LongRollout
from callbacks.results_table import ResultsTable
from callbacks.training_progress import TrainingProgress
from callbacks.training_speed import TrainingSpeed

__all__ = [
    "APAMonitor",
    "AdaptationMonitor",
    "AudioLogger",
    "BeatF1Monitor",
    "BestCheckpoints",
    "BlockClicks",
    "COCOLAMonitor",
    "ExportModel",
    "FADMonitor",
    "HarmonyMonitor",
    "InterruptCheckpoint",
    "KADMonitor",
    "LastCheckpoint",
    "LatentBankWriter",
    "LongRollout",
    "ResultsTable",
    "TrainingProgress",
    "TrainingSpeed",
]
