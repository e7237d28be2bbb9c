"""Files that are written whole or not at all."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from activities.files import write_whole


def test_of_many_who_write_at_once_one_is_read_whole(tmp_path: Path) -> None:
    """None is in another's way, no half is ever seen, and nothing is left beside the file."""
    file = tmp_path / "new folder" / "file.json"
    contents = {bytes([letter]) * 100_000 for letter in b"abcdefgh"}
    seen: set[bytes] = set()

    def write(content: bytes) -> None:
        for _ in range(20):
            write_whole(file, content)
            seen.add(file.read_bytes())

    with ThreadPoolExecutor(len(contents)) as writers:
        assert len(list(writers.map(write, contents))) == len(contents)
    assert seen <= contents
    assert list(file.parent.iterdir()) == [file]
