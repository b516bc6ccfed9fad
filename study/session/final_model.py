"""The model that a study has come to: that of its last final run."""

from pathlib import Path

from study.errors import StudyError
from study.session.session import StudySession
from study.session.suggested_commands import suggest_command


def find_final_model(session: StudySession) -> Path:
    """Return the model folder of the last final run that has one.

    Raises:
        StudyError: If there is none.
    """
    runs = session.paths.final_folders()
    folders = [runs[slot].model for slot in sorted(runs) if runs[slot].model.is_dir()]
    if not folders:
        command = suggest_command(
            "final", "--name", session.searched_name, storage=session.config.storage
        )
        raise StudyError(
            f"study {session.searched_name!r} must have the model of a final run where --model is "
            f"left out, it has none: make it with `{command}`, or give a folder with --model"
        )
    return folders[-1]
