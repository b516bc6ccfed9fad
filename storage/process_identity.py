"""Who holds a lease: a process, told apart from every other one on every machine."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Owner:
    """A process, told apart from every other one, also after a reboot or a reused number."""

    host: str
    boot: str  # machine:boot:namespace of process numbers
    pid: int
    started: str

    @classmethod
    def current(cls) -> "Owner":
        """Return this process."""
        return cls(socket.gethostname(), _boot(), os.getpid(), _process_start("self") or "0")

    @classmethod
    def of(cls, pid: int) -> "Owner":
        """Return a process that this one has started."""
        return cls(socket.gethostname(), _boot(), pid, _process_start(pid) or "0")

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """Return the owner that `str(owner)` described."""
        host, boot, pid, started = text.rsplit("/", 3)
        return cls(host, boot, int(pid), started)

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.pid}/{self.started}"

    def describe(self) -> str:
        """Return what a person calls it."""
        return f"process {self.pid} on {self.host}"

    def is_known_dead(self, *, heartbeat_age_seconds: float) -> bool:
        """Return whether this host can tell that the process is gone.

        Args:
            heartbeat_age_seconds: Time since its last sign of life, in seconds.
        """
        _, boot, processes = _parts(self.boot)
        _, this_boot, these_processes = _parts(_boot())
        if boot != this_boot:
            return self._ended_with_an_earlier_boot(heartbeat_age_seconds)
        # A container sees other processes than its neighbours.
        sees_it = bool(boot) and processes == these_processes and _proc_is_ours()
        return self._bears_our_name() and sees_it and _process_start(self.pid) != self.started

    def is_on_another_machine(self, *, heartbeat_age_seconds: float) -> bool:
        """Return whether the process runs elsewhere; two containers share one machine's boot.

        Args:
            heartbeat_age_seconds: Time since its last sign of life, in seconds.
        """
        is_elsewhere = _parts(self.boot)[1] != _parts(_boot())[1]
        return is_elsewhere and not self._ended_with_an_earlier_boot(heartbeat_age_seconds)

    def _bears_our_name(self) -> bool:
        this_machine = _parts(_boot())[0]
        return self.host == socket.gethostname() and _parts(self.boot)[0] == this_machine

    def _ended_with_an_earlier_boot(self, heartbeat_age_seconds: float) -> bool:
        """Return whether it ran here before a restart.

        A cloned machine, or a container of the same image, may have our name and our machine-id,
        but one that has given a sign of life since our boot is not the past of this machine.
        """
        return self._bears_our_name() and heartbeat_age_seconds > _seconds_since_boot()


def process_label() -> str:
    """Return how this process introduces itself to people of this and other machines."""
    return f"study, pid {os.getpid()} on {socket.gethostname()}"


def is_running(pid: int) -> bool:
    """Return whether this host has a process of this number."""
    return _process_start(pid) is not None


def _proc_is_ours() -> bool:
    """Return whether /proc has the processes of this namespace, and not only this user's.

    A namespace that was made without mounting /proc anew sees that of the namespace outside, where
    the same number is another process.
    """
    try:
        return os.readlink("/proc/self") == str(os.getpid()) and is_running(1)
    except OSError:
        return False


def _boot() -> str:
    try:
        processes = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        processes = 0
    return f"{_read('/etc/machine-id')}:{_read('/proc/sys/kernel/random/boot_id')}:{processes}"


def _seconds_since_boot() -> float:
    return float((_read("/proc/uptime") or "inf").split()[0])


def _parts(boot: str) -> tuple[str, str, str]:
    machine, _, rest = boot.partition(":")
    boot_id, _, processes = rest.partition(":")
    return machine, boot_id, processes


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _process_start(pid: int | Literal["self"]) -> str | None:
    """Return the kernel's start time of a process, None where there is none (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
