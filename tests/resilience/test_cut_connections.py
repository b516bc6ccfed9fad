"""The connection is cut after a COMMIT and before its answer, at every COMMIT of a process's life.

Nobody can tell such a transaction from one that never happened, save by looking.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests.postgresql import PostgreSQLServer, requires_postgresql
from tests.tools.cutting_proxy import CuttingProxy
from tests.tools.processes import StartedProcess
from tests.tools.studies import SmallStudy

pytestmark = [pytest.mark.slow, requires_postgresql, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Cuts:
    """Runs a process over and over, its connection cut at another COMMIT each time."""

    study: SmallStudy
    postgresql: PostgreSQLServer
    proxy: CuttingProxy

    def fresh(self, index: int) -> SmallStudy:
        """Return a study of its own folder and database, not created yet."""
        folder = self.study.folder / f"{index:03d}"
        folder.mkdir()
        url = self.postgresql.url(self.postgresql.create_database())
        return replace(self.study, folder=folder, url=url)

    def through_proxy(self, study: SmallStudy) -> str:
        """Return the address by way of the proxy."""
        return study.url.replace(f":{self.postgresql.port}/", f":{self.proxy.port}/")

    def everywhere(
        self,
        prepare: Callable[[SmallStudy], None],
        act: Callable[[SmallStudy], StartedProcess],
        check: Callable[[SmallStudy], None],
    ) -> None:
        """Prepare a study, act by way of the proxy, check; once whole, then cut at each COMMIT."""
        index, problems = 0, []
        while True:
            study = self.fresh(index)
            prepare(study)
            self.proxy.commits.clear()
            self.proxy.cuts.clear()
            self.proxy.cut(at=index, times=min(index, 1))
            process = act(study)
            exit_code = process.wait(120)
            if index == 0:
                print(f"{len(self.proxy.commits)} transactions write: {self.proxy.commits}")
            elif not self.proxy.cuts:
                break
            where = f"cut {index} ({'; '.join(self.proxy.cuts)})"
            if exit_code != 0:
                last = (process.errors.read_text().splitlines() or ["nothing"])[-1]
                problems.append(f"{where}: exit {exit_code}, it said {last}")
                act(study).wait(120)  # what a user would do
            try:
                check(study)
            except AssertionError as error:
                ends = [trial.user_attrs.get("reason") for trial in study.trials()]
                problems.append(f"{where}: {error} {ends}")
            index += 1
        assert index > 2
        print(f"cut at each of {index - 1} transactions, {len(problems)} problems")
        assert not problems, "\n\n".join(problems)


@pytest.fixture
def cuts(study: SmallStudy, postgresql: PostgreSQLServer) -> Iterator[Cuts]:
    with CuttingProxy(postgresql.port) as proxy:
        study = study.with_settings(search={"budget": {"trials": 1}, "n_epochs": 2})
        yield Cuts(study, postgresql, proxy)


def test_init_cut_anywhere_makes_one_whole_queue(cuts: Cuts) -> None:
    def init(study: SmallStudy) -> StartedProcess:
        arguments = study.arguments("init", cuts.through_proxy(study))
        return study.processes.start(*arguments, folder=study.folder)

    def finish(study: SmallStudy) -> None:
        assert len(study.trials()) == 1
        study.work()
        study.assert_whole(1)

    cuts.everywhere(lambda study: None, init, finish)


def test_extend_cut_anywhere_adds_its_places_once(cuts: Cuts) -> None:
    def extend(study: SmallStudy) -> StartedProcess:
        place = ["--storage", cuts.through_proxy(study), "--runs", str(study.runs)]
        return study.processes.start("extend", *place, "--trials", "2", folder=study.folder)

    def finish(study: SmallStudy) -> None:
        assert [trial.user_attrs["slot"] for trial in study.trials()] == [0, 1, 2]
        study.work()
        study.assert_whole(3)

    cuts.everywhere(lambda study: study.init() and None, extend, finish)


def test_worker_cut_anywhere_doubles_and_orphans_nothing(cuts: Cuts) -> None:
    def work(study: SmallStudy) -> StartedProcess:
        return study.start_worker(url=cuts.through_proxy(study))

    cuts.everywhere(lambda study: study.init() and None, work, lambda study: study.assert_whole(1))


def test_takeover_cut_anywhere_doubles_and_orphans_nothing(cuts: Cuts) -> None:
    def lose_the_first(study: SmallStudy) -> None:
        worker = study.init().start_worker()
        worker.wait_for_epoch(1)
        worker.kill()

    def take_over(study: SmallStudy) -> StartedProcess:
        return study.start_worker(url=cuts.through_proxy(study))

    cuts.everywhere(lose_the_first, take_over, lambda study: study.assert_whole(1))
