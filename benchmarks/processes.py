"""The other end of worker.py: starts a side in its own interpreter, asks it, and tells what it could not do."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Worker:
    """A worker process; `failed` is the reason why it is out, or None."""

    def __init__(self, python: str, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.log = (folder / f"worker{len(list(folder.glob('*.log')))}.log").open("w+")
        self.failed: str | None = None
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=inherited | dict(environment or {}),
            cwd=folder,
        )

    def ask(self, do: str, **request: object) -> dict[str, Any]:
        """Send a request and return the answer; an error is in its "error"."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **request}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return self._ended()
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else self._ended()
        return answer

    def require(self, do: str, **request: object) -> dict[str, Any]:
        """Ask, unless the side is out already; an error puts it out."""
        if self.failed:
            return {}
        answer = self.ask(do, **request)
        self.failed = answer.get("error")
        return answer

    def milliseconds(self, mode: str, calls: int) -> float:
        """Return what the side measures; a side that could not run was not to be asked."""
        answer = self.ask("time", mode=mode, calls=calls)
        if "error" in answer:
            raise SystemExit(f"a side that had run failed: {answer['error']}")
        return float(answer["ms"])

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def _ended(self) -> dict[str, Any]:
        status = self.process.wait()
        self.log.seek(0)
        last = (self.log.read().strip().splitlines() or [""])[-1]
        return {"error": f"the process ended with status {status}: {last}"[:200]}
