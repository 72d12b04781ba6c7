"""The PyTorch side of bankswitch: modules to served domains, checkpoints of several domains, banks by training."""

from .banks import Bank, load_bank, save_bank
from .errors import ModelRefused, ProofFailed
from .exporting import Exported, export
from .splitting import Split, split
from .training import train_bank

__all__ = [
    "Bank",
    "Exported",
    "ModelRefused",
    "ProofFailed",
    "Split",
    "export",
    "load_bank",
    "save_bank",
    "split",
    "train_bank",
]
