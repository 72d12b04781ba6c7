"""What the pages show can be typed: their Python runs, and their commands exist."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from bankswitch.command import main
from bankswitch.command.arguments import parse_arguments
from served import ROOT, Server

PAGES = ["python/README.md", "docs/python.md"]


def blocks(page: str, language: str) -> list[str]:
    """The blocks of code on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_its_python_runs(
    page: str, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the first block to the last, in the folder of a server."""
    monkeypatch.chdir(server.folder)
    scope: dict[str, Any] = {}
    for block in blocks(page, "python"):
        exec(compile(block.replace("http://127.0.0.1:8080", server.url), page, "exec"), scope)
    scope["client"].close()
    assert "speed limit 100" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_can_be_typed(page: str) -> None:
    """With the flags that they show."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    commands = [line.split()[3:] for line in lines if line.startswith("python -m bankswitch ")]
    for command in commands:
        parse_arguments(command)


def test_the_commands_of_the_guide_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other."""
    monkeypatch.chdir(server.folder)
    monkeypatch.delenv("BANKSWITCH_ADMIN_KEY", raising=False)
    monkeypatch.delenv("BANKSWITCH_ADMIN_KEY_FILE", raising=False)
    np.save(server.folder / "pixels.npy", np.zeros((1, 3, 32, 32), np.float32))
    lines = "\n".join(blocks("docs/python.md", "sh")).replace("\\\n", " ").splitlines()
    commands = [line.split()[3:] for line in lines if line.startswith("python -m bankswitch ")]
    assert len(commands) >= 6
    for command in commands:
        assert main([command[0], "--url", server.url, *command[1:]]) == 0, command
