"""One small study after its search and its final run, which all tests here share."""

from dataclasses import dataclass

import pytest
import torch

from data.image_cache import PreparedData, prepare
from study.configuration.config import validated
from study.creation.create import initialise
from study.export.kept_run import KeptRun, open_tested, open_trial
from study.final.final_run import open_final, run_final
from study.session.session import StudySession
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.tools.pictures import write_pictures

HOSTILE = "rows | `wide`\n# *no* [heading](x) {{ 1 + 1 }} \N{RIGHT-TO-LEFT OVERRIDE}ä"


@dataclass(frozen=True)
class FinishedStudy:
    """A study of two trials, of which one has kept its weights, and its final run."""

    searched: StudySession
    final: StudySession
    prepared: PreparedData

    @property
    def run(self) -> KeptRun:
        return open_tested(self.final)

    @property
    def winner(self) -> KeptRun:
        return open_trial(self.searched, choose_winner(self.searched).number)


@pytest.fixture(scope="session")
def tested(tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    folder = tmp_path_factory.mktemp("private-folder")
    pictures = write_pictures(folder / "pictures", n_per_class=24)
    (pictures / "rows").rename(pictures / HOSTILE)
    config = validated(
        {
            "name": "tiny",
            "data": {"source": str(pictures), "image_size": 8, "cache": str(folder / "cache")},
            "network": {"widths": [4, 4, 8]},
            "optimization": {"batch_size": 16, "warmup_epochs": 0.5, "ema_decay": 0.9},
            "evaluation": {"flip_average": True},
            "search": {
                "budget": {"trials": 2},
                "n_epochs": 2,
                "pruner": "none",
                "space": {
                    "network.blocks": {"low": 1, "high": 2},
                    "network.dropout": "default",
                    "optimization.learning_rate": "default",
                    "optimization.weight_decay": "default",
                },
            },
            "final": {"n_epochs": 2, "image_size": 12},
            "workers": {"threads": 1},
            "storage": {
                "url": f"sqlite:///{folder}/study.db",
                "runs": str(folder / "runs"),
                "kept_trials": 1,
            },
        }
    )
    n_threads = torch.get_num_threads()  # a worker sets those of its study
    searched = initialise(config)
    prepared = prepare(config.data)
    Worker(searched, prepared, stop=StopFlag(), announce=lambda *_: None).work()
    final = open_final(searched, choose_winner(searched), reopen=None)
    prepared = final.prepare_data()
    assert run_final(final, prepared, stop=StopFlag(), announce=lambda *_: None) is not None
    torch.set_num_threads(n_threads)
    return FinishedStudy(searched, final, prepared)
