import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from storage.owners import Owner, is_running

ME = Owner.current()
ELSEWHERE = Owner("another-host", "another-boot", 1, "1")


def test_owner_survives_its_text_form() -> None:
    assert Owner.parse(str(ME)) == ME


def test_owner_of_this_process_is_alive_and_of_a_killed_one_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    other = replace(ME, pid=child.pid, started=fields[19])
    assert not ME.is_known_dead()
    assert not other.is_known_dead()
    assert is_running(child.pid)
    child.kill()
    time.sleep(0.2)
    assert other.is_known_dead()  # not yet waited for: a zombie counts as dead
    assert not is_running(child.pid)
    child.communicate()
    assert other.is_known_dead()
    assert not is_running(child.pid)
    machine, _, processes = ME.boot.split(":")
    assert replace(ME, boot=f"{machine}:before:{processes}").is_known_dead()
    # Cloned machines share a name, containers a kernel: neither can tell of the other's processes.
    assert not replace(ME, boot=f"another:before:{processes}").is_known_dead()
    assert not replace(ME, boot=f"{ME.boot}0", pid=2**22 + 1).is_known_dead()
    assert not ELSEWHERE.is_known_dead()
    assert ME.host == socket.gethostname()


def test_other_container_is_no_other_machine() -> None:
    assert ELSEWHERE.is_on_another_machine()
    assert not ME.is_on_another_machine()
    assert not replace(ME, host="container").is_on_another_machine()
    assert not replace(ME, boot="before a restart").is_on_another_machine()
