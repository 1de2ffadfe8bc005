"""The workflows, templates and metadata for GitHub: valid by their schemas, and in agreement with pyproject.toml."""

import re
import subprocess
import sys

import pytest
import yaml

from builders_pages import ROOT, text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(text(ROOT / "pyproject.toml"))


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", [GITHUB / "ISSUE_TEMPLATE/bug.yml", GITHUB / "ISSUE_TEMPLATE/feature.yml"]),
        ("github-issue-config", [GITHUB / "ISSUE_TEMPLATE/config.yml"]),
        ("dependabot", [GITHUB / "dependabot.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_are_valid_by_their_schema(schema, files):
    pytest.importorskip("check_jsonschema")
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def pythons(classifiers):
    return re.findall(r"Python :: (3\.\d+)$", "\n".join(classifiers), re.M)


def test_pythons_of_the_metadata_are_tested_and_built(project):
    names = pythons(project["project"]["classifiers"])
    assert f">={names[0]}" == project["project"]["requires-python"]
    matrix = yaml.safe_load(text(GITHUB / "workflows/tests.yml"))["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == names
    assert {system.partition("-")[0] for system in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert project["tool"]["cibuildwheel"]["build"].split() == [f"cp{name.replace('.', '')}-*" for name in names]


def test_oldest_newest_and_free_threaded(project):
    jobs = yaml.safe_load(text(GITHUB / "workflows/tests.yml"))["jobs"]
    assert {"oldest", "newest", "free-threaded"} <= set(jobs)
    oldest, newest = (
        next(step["with"]["python-version"] for step in jobs[job]["steps"] if "python-version" in step.get("with", {}))
        for job in ("oldest", "newest")
    )
    names = pythons(project["project"]["classifiers"])
    assert (oldest, newest) == (names[0], names[-1])


def test_nothing_is_published_with_a_stored_token():
    publish = yaml.safe_load(text(GITHUB / "workflows/wheels.yml"))["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert "refs/tags/v" in publish["if"]
    for path in WORKFLOWS:
        assert "secrets." not in text(path), path
        assert yaml.safe_load(text(path))["permissions"] == {"contents": "read"}, path


def test_templates_ask_for_what_a_report_needs():
    bug = yaml.safe_load(text(GITHUB / "ISSUE_TEMPLATE/bug.yml"))
    (info,) = (field for field in bug["body"] if field.get("id") == "info")
    assert "tddfa info" in info["attributes"]["label"]
    assert info["validations"]["required"]
    assert "tddfa info" in text(GITHUB / "PULL_REQUEST_TEMPLATE.md")


def test_metadata_names_a_licence_and_addresses(project):
    metadata = project["project"]
    assert metadata["license"] == "MIT"
    assert not [one for one in metadata["classifiers"] if one.startswith("License ::")]  # SPDX takes their place
    assert {"Homepage", "Documentation", "Changelog", "Issues", "Source"} <= set(metadata["urls"])


class TestVersion:
    def test_the_changelog_has_it(self):
        import tddfa

        headings = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", text(ROOT / "CHANGELOG.md"), re.M)
        assert headings[0] == ("Unreleased", "")
        assert headings[1][0] == tddfa.__version__
        assert all(date for _, date in headings[1:])

    def test_its_sections_are_those_of_keep_a_changelog(self):
        sections = set(re.findall(r"^### (.+)$", text(ROOT / "CHANGELOG.md"), re.M))
        assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}

    def test_the_citation_has_it(self):
        import tddfa

        assert str(yaml.safe_load(text(ROOT / "CITATION.cff"))["version"]) == tddfa.__version__


class TestCondaRecipe:
    @pytest.fixture
    def recipe(self):
        return yaml.safe_load(text(ROOT / "conda/recipe.yaml"))

    def test_its_version_and_entry_point_are_those_of_the_project(self, recipe, project):
        import tddfa

        assert recipe["context"]["version"] == tddfa.__version__
        ((name, entry),) = project["project"]["scripts"].items()
        assert recipe["build"]["python"]["entry_points"] == [f"{name} = {entry}"]

    def test_its_requirements_are_those_of_the_project(self, recipe, project):
        names = {"opencv-python": "py-opencv", "onnxruntime-gpu": "onnxruntime"}
        wanted = {re.match(r"[\w-]+", line)[0] for line in project["project"]["dependencies"]}
        there = {line.split()[0] for line in recipe["requirements"]["run"]}
        assert there - {"python"} == {names.get(name, name) for name in wanted}


def test_contributing_fits_on_a_screen():
    page = text(ROOT / "CONTRIBUTING.md")
    assert len(page.splitlines()) <= 60
    for name in re.findall(r"^\| .*? \| .*`((?:tddfa|configs|docs)/[\w/.+]+)`", page, re.M):
        assert (ROOT / name).exists(), name
