"""A real server: `node dist/main.js serve` in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

#: The shipped model that most tests use.
SIGNS = "traffic-signs"

#: A method of a client by its name, and its arguments.
Call = Callable[..., Any]

MAIN = ROOT / "dist/main.js"

READY_WITHIN_SECONDS = 120

STOPPED_WITHIN_SECONDS = 30


@dataclass(frozen=True)
class Server:
    """One that is ready; `folder` is where it runs, with its models/, domains/ and .bankswitch/."""

    url: str
    folder: Path

    @property
    def key(self) -> str:
        """The admin key that its first start has made."""
        return (self.folder / ".bankswitch/admin.key").read_text()


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Server]:
    """A server over the models and domains in `folder`, with these flags besides its port."""
    if not MAIN.exists():
        pytest.fail("there is no dist/main.js; npm run build:all makes it")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BANKSWITCH_")}
    process = subprocess.Popen(
        ["node", str(MAIN), "serve", "--port", "0", *flags],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = _Output(process)
    try:
        yield Server(output.address_when_ready(), folder)
    finally:
        process.terminate()
        try:
            process.wait(STOPPED_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        output.close()


class _Output:
    """What a server prints, read as it comes so that it never waits for its reader."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def address_when_ready(self) -> str:
        is_told = self._told.wait(READY_WITHIN_SECONDS)
        text = "".join(self._lines)
        address = re.search(r'"address":"([^"]+)"', text)
        if not is_told or '"msg":"ready"' not in text or address is None:
            pytest.fail(f"the server is not ready:\n{text}")
        return address[1]

    def close(self) -> None:
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            if '"msg":"ready"' in line:
                self._told.set()
        self._told.set()
