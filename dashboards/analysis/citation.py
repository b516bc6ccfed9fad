"""How to cite this program; the same as CITATION.cff in the repository, which is not installed.

Must not import torch.
"""

from importlib import metadata

PACKAGE = "image-classifier-study"
TITLE = "Image classifier study: a hyperparameter study service for image classifiers"
AUTHORS = f"The maintainers of {PACKAGE}"


def bibtex_entry(git_revision: str | None, source_digest: str | None = None) -> str:
    """Return the entry for a bibliography.

    Args:
        git_revision: Commit of the code that created the study, where it is known.
        source_digest: Of that code; it stands for a commit that is not known.
    """
    note = f"source digest {source_digest}" if source_digest else None
    if git_revision:
        note = f"git revision {git_revision.removesuffix('+')}"
    fields = {
        "title": TITLE,
        "author": f"{{{AUTHORS}}}",
        "version": metadata.version(PACKAGE),
        "note": note,
    }
    lines = [f"  {name} = {{{text}}}," for name, text in fields.items() if text is not None]
    return "\n".join([f"@software{{{PACKAGE},", *lines, "}"])
