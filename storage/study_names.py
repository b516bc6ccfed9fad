"""The names of studies that follow a search: its confirmation, its final runs."""

FINAL_SUFFIX = "-final"
"""Ends the name under which the final runs of a study are queued."""
CONFIRM_SUFFIX = "-confirm"
"""Ends the name under which the runs that confirm its winner are queued."""
SUFFIXES = (CONFIRM_SUFFIX, FINAL_SUFFIX)


def searched_name(study_name: str) -> str:
    """Return the name of the searched study, also for its confirmation and its final runs."""
    suffix = next((one for one in SUFFIXES if study_name.endswith(one)), "")
    return study_name.removesuffix(suffix)


def follows_a_search(study_name: str) -> bool:
    """Return whether a name is that of a confirmation or of final runs, not of a search."""
    return study_name.endswith(SUFFIXES)


def names_of_all(study_name: str) -> tuple[str, ...]:
    """Return the name of a searched study, then those of its confirmation and final runs."""
    return (study_name, *(study_name + suffix for suffix in SUFFIXES))
