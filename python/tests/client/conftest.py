"""A server with the shipped traffic signs and two small models, and every call through both clients."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bankswitch import AsyncClient, Client
from served import ROOT, SIGNS, Call, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., Server]) -> Server:
    """Ready, with the models traffic-signs, doubler and echo; it looks for drift."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "models").mkdir()
    (folder / "models" / SIGNS).symlink_to(ROOT / "models" / SIGNS)
    shutil.copytree(ROOT / "domains" / SIGNS, folder / "domains" / SIGNS)
    subprocess.run(["node", str(Path(__file__).parent / "made_models.mjs"), str(folder / "models")], check=True)
    return start_server(folder, "--drift-ert", "1000000", "--drift-collect", "true")


@pytest.fixture(params=["Client", "AsyncClient"])
def call(request: pytest.FixtureRequest, server: Server) -> Call:
    """Calls the server by a new client of each kind, with the admin key; without TLS, whose certificates take 20 ms."""

    def wait(method: str, *arguments: Any, **named: Any) -> Any:
        with Client(server.url, server.key, verify=False) as client:
            return getattr(client, method)(*arguments, **named)

    async def await_it(method: str, *arguments: Any, **named: Any) -> Any:
        async with AsyncClient(server.url, server.key, verify=False) as client:
            return await getattr(client, method)(*arguments, **named)

    return wait if request.param == "Client" else lambda *given, **named: asyncio.run(await_it(*given, **named))


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client with the admin key, for what does not depend on its kind."""
    with Client(server.url, server.key) as client:
        yield client


@pytest.fixture
def samples() -> Path:
    """Eight pictures of traffic signs."""
    return ROOT / "models" / SIGNS / "samples"
