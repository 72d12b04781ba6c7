"""Where the key comes from: never from the command line, which other users of a machine can read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DEFAULT_FILE = Path(".bankswitch/admin.key")


def find_key(key_file: Path | None, environment: Mapping[str, str], needs_key: bool) -> str | None:
    """
    The key in the given file, else in the environment, else in the file that the environment names. Only a call that
    needs a key gets one that nobody has named, from the file that a server in this folder has made. Raises OSError for
    a file that cannot be read.
    """
    if key_file is not None:
        return key_file.read_text(errors="replace")
    if "BANKSWITCH_ADMIN_KEY" in environment:
        return environment["BANKSWITCH_ADMIN_KEY"]
    if "BANKSWITCH_ADMIN_KEY_FILE" in environment:
        return Path(environment["BANKSWITCH_ADMIN_KEY_FILE"]).read_text(errors="replace")
    return DEFAULT_FILE.read_text(errors="replace") if needs_key and DEFAULT_FILE.exists() else None
