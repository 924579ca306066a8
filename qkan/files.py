"""Files that are either whole or not there."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["replace_atomically", "write_csv", "write_json"]


@contextmanager
def replace_atomically(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file that becomes `path` when the block ends well, and vanishes when it does not.

    The bytes go to a temporary file in the same folder (a rename across file systems is not atomic), are flushed to the
    disk, and replace `path` in one step: a reader, or a process that was killed, finds the old file or the new one.

    Raises:
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replace_atomically(folder / "a.txt") as file:
        ...     _ = file.write(b"whole")
        >>> [entry.name for entry in folder.iterdir()]
        ['a.txt']
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of plain values by column as comma-separated text, atomically; a missing value is empty.

    Raises:
        OSError: the folder does not exist or cannot be written.
        ValueError: a row has another column.
    """
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with replace_atomically(path) as file:
        file.write(text.getvalue().encode())


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write plain values as indented JSON, atomically.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    with replace_atomically(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())
