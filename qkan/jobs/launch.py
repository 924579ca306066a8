"""Several processes on this machine, by the launcher of torch that Accelerate's own stands on; one error for all."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import Any

from qkan.jobs.config import Config
from qkan.jobs.folder import Folder

__all__ = ["launch", "reporting"]

_PEER = "another process has ended"


def launch(words: Sequence[str], processes: int, config: Config) -> int:
    """Run `qkan` with these words in several processes, and return the exit status.

    Raises:
        OSError: one of the processes failed or died; the text says which, and why. The others are ended.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the error below says it once
    with tempfile.TemporaryDirectory() as folder:
        settings = LaunchConfig(
            1,
            1,
            processes,
            run_id="qkan",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            monitor_interval=0.2,
        )
        command = ["-m", "qkan", *words, "--report", folder]
        try:
            elastic_launch(settings, sys.executable)(*command)
        except ChildFailedError as error:
            raise OSError(_reason(error.failures, Path(folder), processes, config)) from None
        except SignalException:
            raise KeyboardInterrupt from None
    return 0


def _reason(failures: dict[int, Any], folder: Path, processes: int, config: Config) -> str:
    """Return why a job ended: what the first process says that did not end because of another."""
    told = {rank: _read(folder, failure.pid) for rank, failure in failures.items()}
    own = {rank: text for rank, text in told.items() if text is not None and not text.startswith(_PEER)}
    if own:
        return own[min(own)]
    died = [rank for rank, text in told.items() if text is None] or list(failures)
    rank = min(died, key=lambda rank: failures[rank].timestamp)
    code = failures[rank].exitcode
    how = f"was ended by {Signals(-code).name}" if code < 0 else f"ended with status {code}"
    newest = Folder(Path(config.out) / "checkpoints").newest()
    kept = "no checkpoint was written" if newest is None else f"{newest} is kept: go on with --resume"
    return f"process {rank} of {processes} {how}, and the job with it; {kept}"


def _read(folder: Path, pid: int) -> str | None:
    path = folder / f"{pid}.txt"
    return path.read_text() if path.is_file() else None


@contextmanager
def reporting(folder: Path | None) -> Iterator[None]:
    """Leave the text of an error in a folder, for the process that started this one, and end quietly."""
    try:
        yield
    except Exception as error:
        if folder is None:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        if _of_a_peer(error):
            text = f"{_PEER} ({text})"
        elif not isinstance(error, (ValueError, TypeError, OSError, ImportError, FloatingPointError)):
            text = f"{type(error).__name__}: {text}"
        (folder / f"{os.getpid()}.txt").write_text(text)
        sys.stderr.flush()
        os._exit(2)  # without the wait for the others at the end of a process group


def _of_a_peer(error: Exception) -> bool:
    from torch.distributed import DistError

    names = ("gloo", "nccl", "Connection", "peer", "ProcessGroup")
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(name in str(error) for name in names)
    )
