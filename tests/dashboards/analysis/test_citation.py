from configparser import ConfigParser
from pathlib import Path

import yaml

from dashboards.analysis.citation import AUTHORS, TITLE, bibtex_entry

ROOT = Path(__file__).parents[3]


def test_citation_file_is_complete_and_agrees_with_package_and_licence() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    packaged = ConfigParser()
    packaged.read(ROOT / "setup.cfg")
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert cited["message"] and cited["title"] == TITLE
    assert cited["authors"] == [{"name": AUTHORS}]
    assert AUTHORS in (ROOT / "LICENSE").read_text()
    assert cited["version"] == packaged["metadata"]["version"]
    assert cited["license"] == packaged["metadata"]["license"]
    known = {"cff-version", "message", "title", "type", "authors", "version", "license"}
    assert cited.keys() == known


def test_entry_for_a_bibliography_names_version_and_revision() -> None:
    packaged = ConfigParser()
    packaged.read(ROOT / "setup.cfg")
    lines = bibtex_entry("0123abc+").splitlines()
    assert lines[0] == "@software{image-classifier-study," and lines[-1] == "}"
    assert f"  version = {{{packaged['metadata']['version']}}}," in lines
    assert f"  author = {{{{{AUTHORS}}}}}," in lines
    assert "  note = {git revision 0123abc}," in lines
    assert "note" not in bibtex_entry(None)
