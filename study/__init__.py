"""What is searched, how trials, studies and final runs are carried out, and the command line.

For notebooks: `from study import Study`, which is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.notebook import Study

__all__ = ["Study"]


def __getattr__(name: str) -> Any:
    if name != "Study":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from study.foreign_packages import reject_foreign_packages

    reject_foreign_packages()  # the folder of a notebook may hold a model.py
    from study.notebook import Study

    return Study
