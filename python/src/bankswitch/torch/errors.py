"""What can be wrong with a module, a state_dict or a folder; every message ends with what to type."""

from __future__ import annotations

from bankswitch.errors import BankswitchError


class ModelRefused(BankswitchError, ValueError):
    """The module, state_dict or argument cannot be used; `subject` is the layer's or parameter's path, if any."""

    def __init__(self, message: str, subject: str | None = None) -> None:
        """`message` ends with what to type."""
        super().__init__(message)
        self.subject = subject


class ProofFailed(ModelRefused):
    """Two forms of one network give different outputs; `subject` is the first layer that sees different values."""
