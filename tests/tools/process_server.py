"""A process that has imported everything heavy, and forks one process for each request.

A fresh interpreter needs eight seconds of CPU time before its first training step; a fork of this
one needs a fraction of a second. Requests and answers are lines of JSON on the standard input and
output. `tests.tools.processes` is the other end.

Fork-safe because nothing here computes: no thread may have been started, which is checked.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

PRELOADED = (
    "study.cli",
    "study.commands.winner.final",
    "study.commands.watch.monitor",
    "study.commands.watch.show",
    "study.commands.search.studies",
    "study.creation.create",
    "study.workers.launcher",
    "study.workers.worker",
    "torch._dynamo",  # the first step of an optimizer would import it
    "torchvision",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "alembic.command",
    "alembic.config",
    "alembic.migration",
    "alembic.script",
    "optuna.storages._rdb.storage",
    "optuna.storages._rdb.models",
    "scipy.special",
    "rich.live",
)
PR_SET_PDEATHSIG = 1

Request = dict[str, Any]


def serve() -> Request:
    """Answer requests; return, in a fork only, the request that it is to become."""
    running: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            _answer({"exit_code": _poll(request["poll"], running)})
            continue
        bound, binding = os.pipe()
        pid = os.fork()
        if pid == 0:
            _end_with_the_server()
            os.write(binding, b"!")
            os.close(bound)
            os.close(binding)
            return request
        os.read(bound, 1)  # until then it could outlive this process
        os.close(bound)
        os.close(binding)
        running.add(pid)
        _answer({"pid": pid})
    for pid in running:  # the test process is gone
        os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _end_with_the_server() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _poll(pid: int, running: set[int]) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    if found == 0:
        return None
    running.remove(pid)
    return os.waitstatus_to_exitcode(status)


def become(request: Request) -> None:
    """Take over what a new process would have been given, then run the command line."""
    # A shell lets what it runs in the background, such as the tests, ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, request["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["study", *request["arguments"]]
    if request["prelude"]:
        module, _, function = request["prelude"].partition(":")
        getattr(importlib.import_module(module), function)()
    sys.modules["study.cli"].main()


if __name__ == "__main__":
    sys.modules["triton"] = None  # type: ignore[assignment] - unused; slow to unload
    for name in PRELOADED:
        importlib.import_module(name)
    n_threads = len(list(Path("/proc/self/task").iterdir()))
    if n_threads != 1:
        sys.exit(f"a process of {n_threads} threads cannot be forked safely")
    gc.freeze()  # the forks share what they do not collect
    _answer({"ready": True})
    become(serve())
