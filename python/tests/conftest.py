"""Servers for the tests, stopped when these end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from served import Server, serving


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[[Path], Server]]:
    """Starts a server over the models and domains in a folder."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(serving(folder))
