"""Markdown from templates, as GitHub and GitLab read it.

Whatever is put into it is text: what Markdown or HTML would take for a sign is escaped.
"""

import re
from collections.abc import Mapping
from typing import Any

from dashboards.formatting import setting_name
from dashboards.report.html import template_environment

# What begins emphasis, code, a link, a picture, a cell, a formula or a reference.
SIGNS = re.compile(r"[\\`*_\[\]|~$!#@]|[&<>]")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Written(str):
    """A piece of Markdown that is not escaped again."""


def render_markdown(template: str, context: Mapping[str, Any]) -> str:
    """Return a filled template of this folder, every value in it escaped."""
    environment = template_environment(autoescape=False, finalize=_finished)
    environment.filters["code"] = code
    environment.filters["setting"] = setting_name
    environment.filters["written"] = Written
    environment.filters["fenced"] = fenced
    text = environment.get_template(template).render(context)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _finished(value: Any) -> str:
    return value if isinstance(value, Written) else escaped(str(value))


def escaped(text: str) -> str:
    """Return a text so that Markdown shows it as it is, in one line."""
    line = " ".join(text.split())
    line = SIGNS.sub(lambda found: ENTITIES.get(found[0], f"\\{found[0]}"), line)
    # Addresses become links without any sign around them.
    return line.replace("://", "&#58;//").replace("www.", "www&#46;")


def code(text: str) -> Written:
    """Return a text as code within a line or a cell of a table."""
    line = " ".join(text.split())
    fence = "`" * (1 + _longest_run(line))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return Written(f"{fence}{space}{line}{space}{fence}".replace("|", "\\|"))


def fenced(text: str, language: str) -> Written:
    """Return lines as a block of code that nothing in them ends."""
    fence = "`" * max(3, 1 + _longest_run(text))
    return Written(f"{fence}{language}\n{text}\n{fence}")


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
