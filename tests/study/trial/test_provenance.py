from study.trial.provenance import compare_provenance


def test_known_values_are_compared_and_unknown_ones_are_named() -> None:
    there = {"git_revision": "abc", "threads": 1, "torch": "2.0", "precision": None}
    here = {"git_revision": "abc", "threads": 2, "numpy": "2.1", "precision": "float32"}
    found = compare_provenance(there, here)
    assert [str(one) for one in found.different] == ["threads is 1 there, 2 here"]
    assert found.unknown == ["numpy", "precision", "torch"]


def test_equal_revision_with_uncommitted_changes_says_nothing_of_the_code() -> None:
    found = compare_provenance({"git_revision": "abc+"}, {"git_revision": "abc+"})
    assert found.different == []
    assert found.unknown == ["changes of the code that were not committed"]


def test_code_outside_git_is_not_known() -> None:
    found = compare_provenance({"git_revision": None}, {"git_revision": "abc"})
    assert (found.different, found.unknown) == ([], ["git_revision"])


def test_equal_source_makes_the_commit_unimportant() -> None:
    there = {"git_revision": "abc", "source_digest": "12", "seed": 1}
    for revision in ("def", "abc+", None):
        here = there | {"git_revision": revision}
        found = compare_provenance(there, here)
        assert (found.different, found.unknown) == ([], [])


def test_other_source_is_named_though_the_commit_is_the_same() -> None:
    there = {"git_revision": "abc+", "source_digest": "12"}
    found = compare_provenance(there, there | {"source_digest": "34"})
    assert [str(one) for one in found.different] == ["source_digest is '12' there, '34' here"]
    assert found.unknown == []


def test_commit_decides_where_no_source_was_recorded() -> None:
    found = compare_provenance(
        {"git_revision": "abc"}, {"git_revision": "def", "source_digest": "12"}
    )
    assert [str(one) for one in found.different] == ["git_revision is 'abc' there, 'def' here"]
