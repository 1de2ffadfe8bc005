import ast
import warnings

import pytest

import tddfa
from tddfa._deprecation import Deprecation, deprecated, release


def marked(since="0.2", removal="0.4"):
    @deprecated(since=since, removal=removal, instead="new")
    def old(a, *, b=1):
        """Add."""
        return a + b

    return old


def test_it_still_works_and_warns_at_the_line_of_the_caller():
    old = marked()
    text = r"old is deprecated since 0\.2 and will be removed in 0\.4; use new$"
    with pytest.warns(DeprecationWarning, match=text) as caught:
        assert old(1, b=2) == 3
    assert caught[0].filename == __file__


def test_name_and_docstring_are_kept():
    old = marked()
    assert old.__name__ == "old"
    assert old.__doc__.startswith("Deprecated: ")
    assert old.__doc__.endswith("Add.")


def test_marking_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        marked()


@pytest.mark.parametrize(("since", "removal"), [("0.2", "0.2"), ("0.2", "0.2.5"), ("0.3", "0.2"), ("1.0", "0.9")])
def test_there_is_a_minor_version_between(since, removal):
    with pytest.raises(ValueError, match="removal: expected a later minor version"):
        marked(since, removal)


@pytest.mark.parametrize("version", ["", "next", "v1"])
def test_wrong_versions(version):
    with pytest.raises(ValueError, match="version: expected numbers and dots"):
        release(version)


def test_a_name_is_over_from_its_version_on():
    notice = Deprecation("a", "0.2", "0.4", "b")
    assert [notice.is_over(version) for version in ("0.3.9", "0.4.0.dev0", "0.4", "1.0")] == [False, True, True, True]


def outlived(source, version):
    """Marked names of a module's text that should have been removed in a version."""
    for node in ast.walk(ast.parse(source)):
        for mark in getattr(node, "decorator_list", ()):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func).split(".")[-1] == "deprecated":
                options = {word.arg: ast.literal_eval(word.value) for word in mark.keywords}
                if Deprecation(node.name, **options).is_over(version):
                    yield node.name


def test_a_name_that_has_outlived_its_version_is_found():
    source = '@deprecated(since="0.2", removal="0.4", instead="new")\ndef old(): ...\n'
    assert list(outlived(source, "0.4.0")) == ["old"]
    assert not list(outlived(source, "0.3.1"))


def test_no_marked_name_has_outlived_its_version(root):
    files = [path for package in ("tddfa", "FaceBoxes", "Sim3DR") for path in (root / package).rglob("*.py")]
    late = [name for path in files for name in outlived(path.read_text(encoding="utf-8"), tddfa.__version__)]
    assert not late
