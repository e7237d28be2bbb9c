"""Files that are written whole or not at all."""

import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole: readers see what was there or what is there now, also where several write it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not by process or thread: workers in two containers may share both.
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
