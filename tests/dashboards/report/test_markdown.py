"""Markdown, read back by a parser of CommonMark."""

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dashboards.report.markdown import code, escaped, fenced
from tests.dashboards.report.test_report import Page

READER = MarkdownIt("commonmark", {"html": True}).enable("table")
TEXTS = st.text(st.characters(exclude_categories=("C",)), max_size=40) | st.text(
    "\\`*_{}[]()<>#|~$!&'\"- +=.:/ahtpsw\n", max_size=40
)


def shown(markdown: str) -> Page:
    return Page(READER.render(markdown))


@given(TEXTS)
def test_escaped_text_in_a_cell_is_read_as_it_was(text: str) -> None:
    page = shown(f"| a |\n| --- |\n| x{escaped(text)}x |\n")
    assert page.text.split() == f"a x{' '.join(text.split())}x".split()
    assert set(page.tags) == {"table", "thead", "tbody", "tr", "th", "td"}


@given(TEXTS.filter(lambda text: text.strip() and "\\" not in text))
def test_code_in_a_cell_is_read_as_it_was(text: str) -> None:
    page = shown(f"| a |\n| --- |\n| {code(text)} |\n")
    assert page.text.split() == ["a", *text.split()]
    assert page.tags["code"] == 1 and page.tags["td"] == 1


@given(TEXTS)
def test_fenced_lines_are_read_as_they_were(text: str) -> None:
    lines = text.replace("\r", "")
    page = shown(f"{fenced(lines, 'sh')}\n\nend\n")
    assert page.tags["pre"] == 1 and page.tags["p"] == 1
    assert page.text.removesuffix("end\n").strip() == lines.strip()


def test_addresses_do_not_become_links() -> None:
    assert escaped("see https://a.example or www.b.example") == (
        "see https&#58;//a.example or www&#46;b.example"
    )
