"""A study in Python, for notebooks: tables, the best trial, models and predictions.

The one stable Python interface of this project. It only reads; what changes a study is on the
command line.
"""

import os
from collections.abc import Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from data.sources.folder_walk import readable
from model.errors import ModelError
from storage.configuration import StorageConfig
from storage.records import EpochRecord
from storage.trial_records import TrialRecord, read_trial_records, stream_trial_records
from study.configuration.config import Request
from study.configuration.given_values import expand_home
from study.errors import ConfigurationError, StudyError
from study.session.session import StudySession, open_session
from study.session.winner import read_best

if TYPE_CHECKING:
    import pandas as pd

    from model.device import Execution
    from model.export import ExportedModel
    from study.prediction.prediction import Prediction


class Study:
    """An existing study, read-only; a context manager that closes its database in the end.

    Made by `Study.open`. Every call reads anew, so that a running study may be followed.
    """

    def __init__(self, request: Request, session: StudySession) -> None:
        self._request = request
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
                A later `os.chdir` changes neither this nor the database.

        Raises:
            StudyNotFoundError: If there is no such database or study.
            StudyError: If a name is needed, or an argument is rejected.
            StorageError: If the database is rejected.
        """
        options = {
            "name": name,
            "storage.url": storage or os.environ.get("STUDY_STORAGE"),
            "storage.runs": _absolute(
                runs or os.environ.get("STUDY_RUNS") or StorageConfig().runs
            ),
        }
        request = Request(options=options)
        return cls(request, open_session(request, reading=True))

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

    def model(
        self, trial: int | Literal["final"] = "final", *, device: str = "cpu"
    ) -> "ExportedModel":
        """Return the model of a run, an `nn.Module` with its preprocessing and its classes.

        Args:
            trial: Number of a trial that has kept its weights; default the newest final run that
                was tested.
            device: Where the model computes: auto, cpu, cuda or cuda:N.

        Returns:
            The same as `model.export.load_model` of what `study export` writes. It takes images
            of the prepared size, uint8 [B, H, W, 3], and returns logits.

        Raises:
            StudyError: If there is no such run, or it has no weights.
            StorageError: If the runs folder or the file of weights is rejected.
            ModelError: If the device is not there.
        """
        from model.export import ExportedModel
        from study.export.kept_run import open_run
        from study.export.model_folder import build_config
        from study.trial.saved_weights import saved_weights

        run = open_run(self._request, self._session, _run(trial))
        model = ExportedModel(build_config(run), saved_weights(run.checkpoint))
        return model.to(_resolve(device).device)

    def predict(
        self,
        images: str | Path | Iterable[str | Path],
        *,
        top: int = 5,
        trial: int | Literal["final"] = "final",
        device: str = "auto",
    ) -> "pd.DataFrame":
        """Predict the classes of images, prepared as for training.

        Args:
            images: Files, folders and patterns such as `photos/*.jpg`; one, or several.
            top: Classes of each image; fewer where the model has fewer.
            trial: Whose model predicts, as in `model`.
            device: Where it computes.

        Returns:
            A row for each image in their order, as `study predict` writes it: `file`, `predicted`
            and `probability` of the best class, `class_2` and `probability_2` and so on, `error`
            of an image that cannot be read.

        Raises:
            StudyError: If there is no such model, `top` is no whole number above 0, `images` are
                no paths, or they lie in the folder of the study's test split.
            DataError: If there are no such images.
            ModelError: If the device is not there.
        """
        import pandas as pd

        from data.sources.given_pictures import find_given_pictures
        from study.prediction.own_data import reject_test_images
        from study.prediction.predictions import predict_batches
        from study.prediction.rows import column_names

        if not _is_whole(top) or top < 1:
            raise StudyError(
                f"top must be a whole number of at least 1, got {top!r}: give one such as 5"
            )
        names = _paths(images)
        paths = [path for one in find_given_pictures(names) for path in one.paths]
        execution = _resolve(device)
        model = self.model(trial, device=device)
        reject_test_images(paths, model.config.origin)
        n_top = min(top, len(model.class_names))
        rows = [
            _values(one, n_top)
            for batch in predict_batches(model, paths, execution=execution)
            for one in batch.predictions(model.class_names, n_top=n_top)
        ]
        return pd.DataFrame(rows, columns=column_names(n_top))

    def _records(self) -> Iterator[TrialRecord]:
        return stream_trial_records(self._session.storage_handle, self.name)


def _absolute(folder: object) -> object:
    if not isinstance(folder, str | os.PathLike):
        return folder
    return Path(expand_home(os.fspath(folder))).absolute()


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _run(trial: object) -> int | Literal["final"]:
    if isinstance(trial, str) and trial == "final":
        return "final"
    if not isinstance(trial, Integral) or isinstance(trial, bool):
        raise StudyError(
            f"trial must be the number of a trial, as an int, or 'final', got {trial!r}: "
            "trials() lists them"
        )
    return int(trial)


def _paths(images: object) -> list[str]:
    given = [images] if isinstance(images, str | Path) else images
    listed = list(given) if isinstance(given, Iterable) else [given]
    wrong = [one for one in listed if not isinstance(one, str | Path)]
    if wrong:
        raise StudyError(
            f"images must be a path or several, as str or Path, got {readable(repr(wrong[0]))}: "
            "give files, folders or patterns such as 'photos/*.jpg'"
        )
    return [expand_home(str(one)) for one in listed]


def _values(prediction: "Prediction", n_top: int) -> list[str | float | None]:
    """Return the columns of a prediction; None where there is no class, or no error."""
    pairs: list[str | float | None] = []
    for name, probability in prediction.ranked:
        pairs += (name, probability)
    error = readable(prediction.error) or None
    return [readable(prediction.file), *(pairs or [None] * (2 * n_top)), error]


def _resolve(device: str) -> "Execution":
    from model.device import resolve_execution

    given = Request(options={"execution.device": device})
    try:
        return resolve_execution(given.resolve(base={}).execution)
    except (ConfigurationError, ModelError) as error:
        raise type(error)(str(error).replace("execution.device", "device")) from None
