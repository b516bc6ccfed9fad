"""A real terminal of a given size, by tmux, whose screen can be read.

with Terminal(["study", "status", "--watch"], width=80, folder=folder) as terminal:
    terminal.wait_for("2 running")
    terminal.press("C-c")
    assert terminal.wait_for_end() == 130
"""

import os
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tools.processes import ROOT, wait_until

requires_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="needs Debian's package tmux"
)
ENDED = "ended with"


class Terminal:
    """Runs a command in a terminal of its own, below a tmux server of its own.

    Args:
        command: The command line.
        width: Columns.
        height: Rows.
        folder: Where it runs.
    """

    def __init__(
        self, command: Sequence[str], *, width: int, height: int = 40, folder: Path
    ) -> None:
        self._socket = f"study-{uuid.uuid4().hex[:12]}"
        # The keys reach the shell too, which must outlive them to tell how the command ended.
        self._command = f"trap : INT; {shlex.join(command)}; echo '{ENDED}' $?; sleep 600"
        self._size = ["-x", str(width), "-y", str(height)]
        self._folder = folder

    def __enter__(self) -> "Terminal":
        inherited = {k: v for k, v in os.environ.items() if k not in ("TMUX", "COLUMNS", "LINES")}
        subprocess.run(
            ["tmux", "-L", self._socket, "-f", "/dev/null", "new-session", "-d"]
            + [*self._size, "-c", str(self._folder), "sh", "-c", self._command],
            check=True,
            env=inherited | {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self._socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def lines(self) -> list[str]:
        """Return what the screen shows now, without the spaces at the ends of its lines."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-p").splitlines()]

    def text(self) -> str:
        """Return the same as one text."""
        return "\n".join(self.lines())

    def wait_for(self, text: str, *, seconds: float = 60) -> str:
        """Wait until the screen shows a text; return all that it shows then."""
        seen = ""

        def shows() -> bool:
            nonlocal seen
            seen = self.text()
            return text in seen

        try:
            wait_until(shows, text, seconds=seconds, every=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}, the terminal shows:\n{seen}") from None
        return seen

    def wait_for_end(self, *, seconds: float = 60) -> int:
        """Wait until the command has ended; return its exit code."""
        return int(self.wait_for(ENDED, seconds=seconds).rpartition(ENDED)[2].split()[0])

    def child(self) -> int:
        """Return the process that the terminal's shell has started."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text())

    def resize(self, width: int, height: int) -> None:
        """Change the size of the terminal."""
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def press(self, key: str) -> None:
        """Press a key, by tmux' name for it."""
        self._tmux("send-keys", key)
