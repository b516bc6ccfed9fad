"""A study in Python, for notebooks: tables, the best trial, models and predictions.

The one stable Python interface of this project. It only reads; what changes a study is on the
command line.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from storage.records import EpochRecord
from storage.trial_records import TrialRecord, read_trial_records, stream_trial_records
from study.configuration.config import Request
from study.errors import StudyError
from study.session.session import StudySession, open_session
from study.session.winner import read_best

if TYPE_CHECKING:
    import pandas as pd


class Study:
    """An existing study, read-only; a context manager that closes its database in the end.

    Made by `Study.open`. Every call reads anew, so that a running study may be followed.
    """

    def __init__(self, session: StudySession) -> None:
        self._session = session

    @classmethod
    def open(
        cls,
        name: str | None = None,
        *,
        storage: str | None = None,
        runs: str | Path | None = None,
    ) -> Self:
        """Open an existing study.

        Args:
            name: Of the study; default the only one of the database.
            storage: Address of the database; default the environment's `STUDY_STORAGE`, else
                `sqlite:///runs/study.db`.
            runs: Folder of all runs, which only models need; default `STUDY_RUNS`, else `runs`.

        Raises:
            StudyNotFoundError: If there is no such database or study.
            StudyError: If a name is needed, or an argument is rejected.
            StorageError: If the database is rejected.
        """
        options = {
            "name": name,
            "storage.url": storage or os.environ.get("STUDY_STORAGE"),
            "storage.runs": runs or os.environ.get("STUDY_RUNS"),
        }
        return cls(open_session(Request(options=options), reading=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Study({self.name!r})"

    def close(self) -> None:
        """Close the database; a later call opens it again."""
        self._session.location.close()

    @property
    def name(self) -> str:
        """Name of the study."""
        return self._session.protocol.study_name

    def trials(self) -> "pd.DataFrame":
        """Return one row for each trial by number, with the columns of `study export-trials`.

        Hyperparameters are `params_NAME`, other attributes `user_attrs_NAME`. Integers are
        nullable and times in UTC; what a trial has not, is missing.
        """
        from dashboards.export.tables import as_frame, build_trials_table, trial_values

        return as_frame(build_trials_table([trial_values(one) for one in self._records()]))

    def epochs(self) -> "pd.DataFrame":
        """Return one row for each epoch of each trial: `trial` (its number), `epoch`, metrics."""
        from dashboards.export.tables import as_frame, build_epochs_table

        return as_frame(build_epochs_table(self._records()))

    def curves(self, metric: str = "validation_macro_f1") -> "pd.DataFrame":
        """Return a metric of every epoch, with a column for each trial that has one.

        Args:
            metric: A column of `epochs()`.

        Returns:
            Indexed by epoch; missing where a trial was shorter.

        Raises:
            StudyError: If there is no such metric.
        """
        known = [name for name in EpochRecord.__annotations__ if name != "epoch"]
        if metric not in known:
            raise StudyError(
                f"metric must be a column of epochs(), got {metric!r}: choose {', '.join(known)}"
            )
        return self.epochs().pivot(index="epoch", columns="trial", values=metric)

    @property
    def best(self) -> "pd.Series[Any]":
        """The row of the best complete trial so far, as in `trials()`.

        Raises:
            StudyError: If no trial is complete yet.
        """
        from dashboards.export.tables import as_frame, build_trials_table, trial_values

        best = read_best(self._session)
        (record,) = read_trial_records(self._session.storage_handle, [best.trial_id])
        return as_frame(build_trials_table([trial_values(record)])).iloc[0]

    def _records(self) -> Iterator[TrialRecord]:
        return stream_trial_records(self._session.storage_handle, self.name)
