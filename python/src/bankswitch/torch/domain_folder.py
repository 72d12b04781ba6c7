"""A domain in the layout of the server's folder of shipped domains (src/store/file/): a bank, and a pointer to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from safetensors.torch import save

from bankswitch.banks import header_of

from .banks import Bank
from .batch_norms import STATISTICS
from .fingerprint import json_of


def write_domain(
    folder: Path, domain: str, bank: Bank, layers: Sequence[str], fingerprint: str, description: str | None
) -> None:
    """Writes `folder`/000001-<digest>.safetensors and `folder`/domain.json: the first version, active."""
    tensors = {f"{layer}.{name}": bank[f"{layer}.{name}"] for layer in layers for name in STATISTICS}
    source = "safetensors"
    content = _in_order(
        save(tensors, {"bankswitch.format": "1", "bankswitch.fingerprint": fingerprint, "bankswitch.source": source})
    )
    digest = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True)
    (folder / f"000001-{digest[:16]}.safetensors").write_bytes(content)
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    pointer: dict[str, Any] = {
        "format": 1,
        "domain": domain,
        **({} if description is None else {"description": description}),
        "revision": 1,
        "lastVersion": 1,
        "active": 1,
        "previous": [],
        "versions": [
            {
                "version": 1,
                "sha256": digest,
                "bytes": len(content),
                "digest": bank_digest(bank, layers),
                "fingerprint": fingerprint,
                "source": source,
                "createdAt": now,
            }
        ],
    }
    pointer["checksum"] = hashlib.sha256(json_of(pointer).encode()).hexdigest()
    (folder / "domain.json").write_text(json.dumps(pointer, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header's names in order: safetensors writes metadata in another order each time."""
    entries, begin = header_of(content)
    header = json.dumps(entries, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    padded = header.ljust(-(-len(header) // 8) * 8)
    return len(padded).to_bytes(8, "little") + padded + content[begin:]


def bank_digest(bank: Bank, layers: Sequence[str]) -> str:
    """The content hash of a bank, as src/bank/bank.ts has it."""
    digest = hashlib.sha256()
    for layer in layers:
        digest.update(f"{json_of(layer)}:{len(bank[f'{layer}.running_mean'])}\n".encode())
        for name in STATISTICS:
            digest.update(bank[f"{layer}.{name}"].numpy().astype("<f4").tobytes())
    return digest.hexdigest()
