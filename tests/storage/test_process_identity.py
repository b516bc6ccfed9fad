import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from storage.process_identity import Owner, is_running

NEW_PROCESS_NAMESPACE = ("unshare", "--pid", "--fork")  # /proc stays that of the namespace outside
JUDGE_A_LIVE_NEIGHBOUR = """
import os, subprocess, sys
from storage.process_identity import Owner
live = "from storage.process_identity import Owner; print(Owner.current(), flush=True); input()"
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
last = os.getpid()
while os.path.exists(f"/proc/{last + 1}"):  # of a process outside
    with subprocess.Popen(["true"]) as another:
        last = another.pid
with subprocess.Popen([sys.executable, "-c", live], **pipes) as neighbour:
    owner = Owner.parse(neighbour.stdout.readline().strip())
    print(owner.pid == neighbour.pid, owner.is_known_dead(heartbeat_age_seconds=1e12))
    print(int(owner.started) >= int(Owner.current().started) > 0)
    neighbour.communicate("")
"""
ME = Owner.current()
MACHINE, BOOT, PROCESSES = ME.boot.split(":")
GONE = replace(ME, pid=2**22 + 1, started="1")
EARLIER_BOOT = replace(GONE, boot=f"{MACHINE}:before:{PROCESSES}")
LONG_AGO = 1e12
NEIGHBOURS = {
    "another machine": replace(GONE, host="another-host", boot="another:boot:1"),
    "a clone with an id of its own": replace(GONE, boot=f"another:boot:{PROCESSES}"),
    "a container of this machine": replace(GONE, host="a-container", boot=f":{BOOT}:1"),
    "a container with our name": replace(GONE, boot=f"{MACHINE}:{BOOT}:1"),
    "a container with our name and no id": replace(GONE, boot=f":{BOOT}:{PROCESSES}"),
}
"""Processes that are not seen here, of a number that nothing has here."""


def test_owner_survives_its_text_form() -> None:
    assert Owner.parse(str(ME)) == ME


def test_owner_of_this_process_is_alive_and_of_a_killed_one_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    other = replace(ME, pid=child.pid, started=fields[19])
    assert not ME.is_known_dead(heartbeat_age_seconds=0)
    assert not other.is_known_dead(heartbeat_age_seconds=0)
    assert is_running(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert other.is_known_dead(heartbeat_age_seconds=0)  # a zombie counts as dead
    assert not is_running(child.pid)
    child.communicate()
    assert other.is_known_dead(heartbeat_age_seconds=0)
    assert not is_running(child.pid)
    assert ME.host == socket.gethostname()


@pytest.mark.parametrize("heartbeat_age_seconds", [0.0, LONG_AGO])
@pytest.mark.parametrize("neighbour", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_process_that_this_one_cannot_see_is_never_known_dead(
    neighbour: Owner, heartbeat_age_seconds: float
) -> None:
    assert not is_running(neighbour.pid)
    assert not neighbour.is_known_dead(heartbeat_age_seconds=heartbeat_age_seconds)


def test_past_of_this_machine_is_dead_and_a_clone_that_gave_a_sign_since_our_boot_is_not() -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert EARLIER_BOOT.is_known_dead(heartbeat_age_seconds=uptime + 60)
    assert not EARLIER_BOOT.is_known_dead(heartbeat_age_seconds=uptime - 60)
    assert not EARLIER_BOOT.is_on_another_machine(heartbeat_age_seconds=uptime + 60)
    assert EARLIER_BOOT.is_on_another_machine(heartbeat_age_seconds=uptime - 60)


def test_other_machine_is_told_by_its_boot_and_not_by_its_name() -> None:
    elsewhere = {name for name, one in NEIGHBOURS.items() if is_elsewhere(one)}
    assert elsewhere == {"another machine", "a clone with an id of its own"}
    assert not is_elsewhere(ME)


def is_elsewhere(owner: Owner) -> bool:
    return owner.is_on_another_machine(heartbeat_age_seconds=LONG_AGO)


def can_unshare() -> bool:
    has_unshare = shutil.which("unshare") is not None
    return has_unshare and subprocess.run([*NEW_PROCESS_NAMESPACE, "true"]).returncode == 0


def test_live_worker_of_a_namespace_without_its_own_proc_is_not_known_dead() -> None:
    if not can_unshare():
        pytest.skip("needs the right to make a namespace of process ids (unshare --pid --fork)")
    judging = [*NEW_PROCESS_NAMESPACE, sys.executable, "-c", JUDGE_A_LIVE_NEIGHBOUR]
    said = subprocess.run(judging, check=True, capture_output=True, text=True).stdout.split()
    assert said == ["True", "False", "True"]
