"""Servers for the tests, stopped when these end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from served import Server, serving


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts a server over the models and domains in a folder, with flags if it is to have any."""
    with ExitStack() as stack:
        yield lambda folder, *flags: stack.enter_context(serving(folder, *flags))
