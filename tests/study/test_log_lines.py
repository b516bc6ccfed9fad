"""Every line of a worker's log says when, where and of what it is."""

import io
import logging
import os
import re
import socket
import sys
import threading

import pytest

from study.log_lines import about_epoch, about_trial, is_stamped, note, stamp_lines

WHEN = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
WHERE = f"{re.escape(socket.gethostname())}:{os.getpid()}"


def begin_log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Return what this process writes from now on to both outputs, stamped."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler()])
    stamp_lines()
    return written


def test_every_line_begins_with_time_place_trial_attempt_and_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = begin_log(monkeypatch)
    note("joins")
    with about_trial(7, 2):
        note("claimed")
        about_epoch(3, 5)
        print("validation", 0.5)
        thread = threading.Thread(target=print, args=("from a thread\n\nof two lines",))
        thread.start()
        thread.join()
        logging.getLogger("study").warning("cores are taken")
        print("an error", file=sys.stderr)
    note("leaves")
    of_trial, of_epoch = " trial 7 attempt 2", " trial 7 attempt 2 epoch 3/5"
    expected = [
        ("", "joins"),
        (of_trial, "claimed"),
        (of_epoch, "validation 0.5"),
        (of_epoch, "from a thread"),
        (of_epoch, ""),
        (of_epoch, "of two lines"),
        (of_epoch, "cores are taken"),
        (of_epoch, "an error"),
        ("", "leaves"),
    ]
    for line, (subject, text) in zip(log.getvalue().splitlines(), expected, strict=True):
        assert re.fullmatch(f"{WHEN} {WHERE}{subject}: {text}", line)


def test_line_that_is_written_in_pieces_gets_one_stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    log = begin_log(monkeypatch)
    for piece in ("a", "b\n", "", "c"):
        sys.stdout.write(piece)
    first, second = log.getvalue().splitlines()
    assert first.endswith(": ab") and second.endswith(": c")


def test_notes_are_for_logs_only(capsys: pytest.CaptureFixture[str]) -> None:
    note("claimed")
    assert not is_stamped() and capsys.readouterr().out == ""
