"""Preludes of `ProcessServer.start` that change how a process meets the world."""

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import storage.engines
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage

GO_ON = Path("go-on")


def lead_a_process_group() -> None:
    """Let it, and what it starts, be a group that can be signalled as a whole."""
    os.setpgid(0, 0)


def speak_to_head() -> None:
    """Let the standard output be read by `head -1`, which leaves after the first line."""
    head = subprocess.Popen(["head", "-n1"], stdin=subprocess.PIPE, stdout=1)
    assert head.stdin is not None
    os.dup2(head.stdin.fileno(), 1)
    head.stdin.close()


def speak_to_nobody() -> None:
    """Let neither output exist, as `>&- 2>&-` does."""
    os.close(1)
    os.close(2)
    sys.stdout = sys.stderr = None  # type: ignore[assignment] - as Python does where it starts so


def speak_to_a_full_disk() -> None:
    """Let both outputs lie on a disk without room."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
    os.dup2(full, 2)


def wait_a_second_for_locks() -> None:
    """Let it ask again after a second where another process has locked SQLite."""
    storage.engines.BUSY_TIMEOUT_SECONDS = 1


def pause_while_filling_the_queue() -> None:
    """Stop before the second place until the file `go-on` is in its folder."""
    _pause_before(StudyStorage, "_create_new_trial", call=2)


def pause_before_the_marker() -> None:
    """Stop between protocol and marker until the file `go-on` is in its folder."""
    _pause_before(RunPaths, "claim", call=1)


def _pause_before(owner: Any, name: str, *, call: int) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    n_calls = 0

    @functools.wraps(original)
    def paused(*given: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        while n_calls == call and not GO_ON.exists():
            time.sleep(0.02)
        return original(*given, **options)

    setattr(owner, name, paused)
