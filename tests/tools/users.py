"""Other users of this machine, as whom real commands run; for tests that run as root.

    ann = User("ann", 61001, 61001, (61000,))
    ann.start(processes, "status", folder=folder, umask=0o027)

To the kernel a user is a number, so that no account is added to the machine. Where the interpreter
lies below a folder of root's, the process sees it in a mount namespace of its own.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.tools.processes import ProcessServer, StartedProcess

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 1 << 12, 1 << 14, 1 << 18

requires_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become other users")


@dataclass(frozen=True)
class User:
    """A user and the groups that this user is in.

    Attributes:
        name: Of the user.
        uid: Number of the user.
        gid: Number of the first group.
        groups: Numbers of the others.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    def start(
        self,
        processes: ProcessServer,
        *arguments: str,
        folder: Path,
        umask: int,
        environment: Mapping[str, str] | None = None,
    ) -> StartedProcess:
        """Start `study` as this user."""
        own = {
            "HOME": str(folder),
            "USER": self.name,
            "LOGNAME": self.name,
            "TEST_USER": " ".join(map(str, (umask, self.uid, self.gid, *self.groups))),
        }
        return processes.start(
            *arguments,
            folder=folder,
            environment=own | dict(environment or {}),
            prelude="tests.tools.users:become_user",
        )


def become_user() -> None:
    """Become the user of the environment variable TEST_USER, with this umask and these groups."""
    umask, uid, gid, *groups = map(int, os.environ["TEST_USER"].split())
    _show_interpreter()
    os.umask(umask)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _show_interpreter() -> None:
    """Let this process, and those it starts, reach an interpreter below a closed folder."""
    prefix = Path(sys.base_prefix)
    above = [*reversed(prefix.parents), prefix]
    closed = next((one for one in above if not one.stat().st_mode & 0o001), None)
    if closed is None:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    _succeed(libc.unshare(CLONE_NEWNS))
    _succeed(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    opened = os.open(prefix, os.O_PATH)
    _succeed(libc.mount(b"none", bytes(closed), b"tmpfs", 0, b"mode=755"))
    prefix.mkdir(mode=0o755, parents=True, exist_ok=True)
    source = f"/proc/self/fd/{opened}".encode()
    _succeed(libc.mount(source, bytes(prefix), None, MS_BIND | MS_REC, None))
    os.close(opened)


def _succeed(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
