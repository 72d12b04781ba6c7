"""`python -m bankswitch`: what the client can do, from a shell."""

from bankswitch.command.main import main

__all__ = ["main"]
