"""A study followed from outside while real workers run: in real terminals, and by HTTP."""

import os
import re
import signal
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.postgresql import PostgreSQLServer, requires_postgresql
from tests.tools.cutting_proxy import CuttingProxy
from tests.tools.processes import StartedProcess, wait_until
from tests.tools.studies import SmallStudy
from tests.tools.terminal import Terminal, requires_tmux

pytestmark = pytest.mark.slow
ADDRESS = re.compile(r"http://\S+/metrics")


@contextmanager
def watching(study: SmallStudy, *, width: int, url: str | None = None) -> Iterator[Terminal]:
    place = ["--storage", url or study.url, "--runs", str(study.runs), "--every", "0.5"]
    command = [sys.executable, "-m", "study", "status", "--watch", *place]
    with Terminal(command, width=width, folder=study.folder) as terminal:
        yield terminal


def started(study: SmallStudy, n_workers: int) -> list[StartedProcess]:
    workers = [study.start_worker() for _ in range(n_workers)]
    for worker in workers:
        worker.wait_for_epoch(2)
    return workers


@requires_tmux
def test_watch_in_terminals_of_80_and_160_columns_while_two_workers_run(
    study: SmallStudy,
) -> None:
    study = study.with_settings(
        search={"budget": {"trials": 2}, "n_epochs": 60}, optimization={"batch_size": 2}
    ).init()
    workers = started(study, 2)
    with ExitStack() as stack:
        narrow, wide, stopped, ended = (
            stack.enter_context(watching(study, width=width)) for width in (80, 160, 80, 80)
        )
        for terminal, width in ((narrow, 80), (wide, 160)):
            text = terminal.wait_for("expected end")
            print(text)
            lines = text.splitlines()
            assert lines[0] == "small  0 of 2 trials"
            assert "0 waiting  2 running  0 complete" in text
            assert max(map(len, lines)) <= width and "…" not in text
            assert re.search(r"^now:  [\d,]+ images/s, [\d,]+ epochs/h$", text, re.MULTILINE)
            assert re.search(r", until (\w+ )?\d\d:\d\d(:\d\d)?$", text, re.MULTILINE)
            for worker in workers:
                (row,) = (line for line in lines if line.endswith(f" {worker.pid}"))
                assert re.search(
                    r" \d+/60 +0\.\d{4} +[\d,]+ +(\w+ )?\d\d:\d\d(:\d\d)?, \d+ (s|min) +\d+ s ago",
                    row,
                )
        epochs = re.findall(r" (\d+)/60 ", narrow.text())
        wait_until(lambda: re.findall(r" (\d+)/60 ", narrow.text()) != epochs, "a newer epoch")

        narrow.resize(100, 12)
        wait_until(lambda: len(narrow.lines()) == 12, "the other size")
        narrow.wait_for("small  ")
        narrow.resize(80, 40)

        stopped.wait_for("2 running")
        stopped.press("C-c")
        assert stopped.wait_for_end() == 130
        assert "small  " in stopped.text() and "nothing is lost" in stopped.text()

        ended.wait_for("2 running")
        os.kill(ended.child(), signal.SIGTERM)
        assert ended.wait_for_end() == 130

        assert [worker.wait(240) for worker in workers] == [0, 0]
        for terminal in (narrow, wide):
            assert terminal.wait_for_end() == 0
            text = terminal.text()
            assert "2 of 2 trials" in text and "2 complete" in text
            assert "best: validation macro-F1" in text and "best baseline" in text


def scraped(address: str) -> dict[str, float]:
    with urllib.request.urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@requires_tmux
@requires_postgresql
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
def test_watch_and_metrics_go_on_through_a_hanging_and_a_stopped_database(
    study: SmallStudy, postgresql: PostgreSQLServer
) -> None:
    study.init()
    with CuttingProxy(postgresql.port) as proxy:
        url = study.url.replace(f":{postgresql.port}/", f":{proxy.port}/")
        place = ["--storage", url, "--port", "0"]
        serving = study.processes.start("metrics", *place, folder=study.folder)
        wait_until(lambda: ADDRESS.search(serving.output.read_text()), "the address")
        found = ADDRESS.search(serving.output.read_text())
        assert found is not None
        address = found[0]
        with watching(study, width=80, url=url) as terminal:
            terminal.wait_for("1 waiting")
            assert scraped(address)["study_database_up"] == 1
            with proxy.hanging():
                text = terminal.wait_for("database away since")
                print(text)
                assert "1 waiting" in text and "no answer within 5 s" in text
                assert scraped(address) == {"study_database_up": 0}  # within 10 s
            terminal.wait_for("Ctrl-C ends the watch")
            wait_until(lambda: scraped(address)["study_database_up"] == 1, "the database")

            postgresql.stop()
            try:
                print(terminal.wait_for("database away since"))
                assert scraped(address) == {"study_database_up": 0}
            finally:
                postgresql.start()
            terminal.wait_for("Ctrl-C ends the watch")
            wait_until(lambda: scraped(address)["study_database_up"] == 1, "the database")
            study.work()
            assert terminal.wait_for_end() == 0
        assert scraped(address)["study_recorded_epochs"] == 4
        serving.send_signal(signal.SIGINT)
        serving.wait()
