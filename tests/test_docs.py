"""The pages of docs/: navigation, links, blocks and commands; and what they say about messages, keys and kinds."""

import importlib.util
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest
import yaml

from builders_pages import DOCS, FILES, PAGES, ROOT, anchors, blocks, commands, links, name, prose, text
from tddfa import cli
from tddfa._shared.packages import REQUIREMENTS
from tddfa.outputs import KINDS

CORE = {"cv2", "numpy", "tddfa", "FaceBoxes", "pathlib", "json"}


def cases(found, *, of=PAGES):
    """Parameters of a test: what is found on each page, and where."""
    return [
        pytest.param(path, item, id=f"{name(path)}-{number}")
        for path in of
        for number, item in enumerate(found(text(path)))
    ]


@pytest.fixture
def checkout(root, tmp_path, monkeypatch):
    """The working folder, with all that the commands of the pages read."""
    shutil.copytree(root / "examples/inputs", tmp_path / "examples/inputs")
    for script in root.glob("demo*.py"):
        shutil.copy(script, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def listed():
    """The pages of the navigation."""
    settings = yaml.safe_load(text(ROOT / "mkdocs.yml"))

    def files(node):
        if isinstance(node, str):
            yield node
        else:
            for value in node.values() if isinstance(node, dict) else node:
                yield from files(value)

    return list(files(settings["nav"]))


class TestNavigation:
    def test_it_has_every_page_once(self, listed):
        assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in PAGES)

    def test_every_reference_page_documents_something(self, listed):
        references = [page for page in listed if page.startswith("reference/")]
        assert len(references) >= 10
        for page in references:
            assert re.search(r"^::: \w", text(DOCS / page), re.M), page

    def test_the_reference_has_every_public_name(self):
        import tddfa

        documented = set(re.findall(r"^::: (tddfa[\w.]+)$", "\n".join(map(text, PAGES)), re.M))
        for public in tddfa.__all__:
            home = tddfa._HOMES.get(public, f"tddfa.{public}")
            assert {f"tddfa.{public}", home} & documented or any(one.startswith(f"{home}.") for one in documented), (
                public
            )

    @pytest.mark.parametrize(("path", "snippet"), cases(lambda page: re.findall(r'^--8<-- "(.+)"$', page, re.M)))
    def test_included_files_exist(self, path, snippet):
        file, _, section = snippet.partition(":")
        assert not section or f"[start:{section}]" in text(ROOT / file)
        assert (ROOT / file).is_file()


def test_ci_builds_with_the_pinned_versions(root):
    (pins,) = re.findall(r"^docs = \[(.*?)\]", text(root / "pyproject.toml"), re.M)
    for pin in re.findall(r'"(.+?)"', pins):
        assert "==" in pin
        assert pin in text(root / ".ci/run")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_links_lead_somewhere(path):
    page = text(path)
    assert not re.search(r"\]\(\S*(?:/work|/tmp)/", page)
    for target, anchor in links(page):
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), target
        if path in PAGES:
            assert file.is_relative_to(DOCS), f"{target}: the site has the files of docs/ alone"
        if anchor and file.suffix == ".md":
            included = re.findall(r'^--8<-- "([\w/.]+)"$', text(file), re.M)
            known = [slug for source in (file, *(ROOT / one for one in included)) for slug in anchors(text(source))]
            assert anchor in known, f"{target}#{anchor}"


def test_anchors_are_those_of_the_site():
    page = "# A b\n## `-o 6dof`, poses\n## A b\n## [C](d.md) 4.2\n```\n# no\n```\n"
    assert anchors(page) == ["a-b", "-o-6dof-poses", "a-b_1", "c-42"]


@pytest.mark.parametrize(("path", "code"), cases(lambda page: blocks(page, "python")))
def test_python_blocks_run(checkout, path, code):
    for module in re.findall(r"^(?:from|import) (\w+)", code, re.M):
        if module not in CORE:
            pytest.importorskip(module)
    if "integrations.supervision" in code:
        pytest.importorskip("supervision")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, name(path), "exec"), {"__name__": "__main__"})
    for written in re.findall(r"""\b(?:imwrite|save)\(f?["']([^"'{]+)["']""", code):
        assert (checkout / written).stat().st_size, written


@pytest.mark.parametrize(("path", "code"), cases(lambda page: blocks(page, "py")))
def test_other_scripts_are_python(path, code):
    compile(code, name(path), "exec")


@pytest.mark.parametrize(("path", "code"), cases(lambda page: blocks(page, "yaml"), of=FILES))
def test_settings_are_yaml(path, code):
    assert isinstance(yaml.safe_load(code), dict)


@pytest.mark.parametrize(("path", "command"), cases(lambda page: commands(page, "sh")))
def test_commands_run(checkout, capsys, path, command):
    program, *arguments = shlex.split(command)
    before = set(checkout.rglob("*"))
    if program == "tddfa":
        assert cli.main(arguments) == 0
        assert capsys.readouterr().err == ""
    else:
        done = subprocess.run([sys.executable, *arguments], cwd=checkout, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    written = [file for file in set(checkout.rglob("*")) - before if file.is_file()]
    assert written
    assert all(file.stat().st_size for file in written)
    assert ("--json" in arguments) == any(file.suffix == ".json" for file in written)
    for option, value in itertools.pairwise(arguments):
        if option == "--save":
            assert checkout / value in written
    for kind in KINDS.keys() & set(arguments):
        assert any(f"_{kind}" in file.stem or file.suffix == f".{kind}" for file in written)


@pytest.mark.parametrize(("path", "command"), cases(lambda page: commands(page, "sh", "bash", "console"), of=FILES))
def test_commands_are_understood(path, command):
    program, *arguments = shlex.split(command)
    if program == "tddfa":
        parser, _ = cli._parsers()
        try:
            parser.parse_args(arguments)
        except SystemExit as error:
            assert not error.code and {"--help", "--version"} & set(arguments)


def subparser(words):
    """The parser of the command that words begin with, and its name."""
    parser, choices = cli._parsers()
    used = []
    for word in words:
        if word not in choices:
            break
        parser = choices[word]
        used.append(word)
        choices = next((action.choices for action in parser._actions if isinstance(action.choices, dict)), {})
    return parser, used


@pytest.mark.parametrize(
    ("path", "command"),
    cases(lambda page: re.findall(r"`tddfa ((?:[a-z]+|-)[^`]*)`", prose(page)), of=FILES),
)
def test_commands_in_the_text_have_these_options(path, command):
    words = shlex.split(command)
    parser, used = subparser(words)
    assert used or words[0].startswith("--"), f"no command {words[0]}"
    for word in words:
        option = parser._spelling(word.partition("=")[0].strip("[],"))
        if option.startswith("--") and option != "--jsn":  # the example of a misspelt option
            assert option in parser._option_string_actions, f"{' '.join(used)} has no {option}"


@pytest.mark.parametrize("old", sorted((DOCS / "coming_from").glob("*.md")), ids=name)
def test_scripts_before_and_after_have_as_many_lines_as_the_page_says(old):
    page = text(old)
    said = re.findall(r"(before|[Aa]fter), (\d+) lines:\n\n```py(?:thon)?\n(.*?)^```$", page, re.S | re.M)
    assert len(said) == 2 * page.count("before, ")
    assert "| tddfa |" in page
    for _, lines, code in said:
        assert int(lines) == sum(bool(line.strip()) for line in code.splitlines())


def test_some_scripts_were_ported():
    assert sum(text(page).count("before, ") for page in (DOCS / "coming_from").glob("*.md")) >= 3


class TestTableOfKinds:
    ROWS = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", text(DOCS / "photos.md"), re.M)[: len(KINDS)])

    def test_it_has_every_kind_in_order(self):
        assert list(self.ROWS) == list(KINDS)

    @pytest.mark.parametrize("kind", KINDS)
    def test_its_options_have_an_effect_on_the_kind(self, kind):
        fields = {
            "--raw": "raw_depth",
            "--no-ears": "ears",
            **dict.fromkeys(("--fov", "--focal", "--intrinsics"), "intrinsics"),
        }
        for flag in re.findall(r"`(--[\w-]+)", self.ROWS[kind]):
            assert fields.get(flag, flag[2:].replace("-", "_")) in KINDS[kind].options, flag

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_names_what_has_to_be_installed(self, kind):
        packages = re.findall(r"pip install ([\w-]+)", self.ROWS[kind])
        assert packages == [REQUIREMENTS[module] for module in KINDS[kind].needs]


def test_keys_of_the_record_are_those_of_the_schema():
    schema = json.loads(text(DOCS / "face.schema.json"))
    keys = re.findall(r"^\| `(\w+)` \| .* \| .*\|$", text(DOCS / "json.md"), re.M)
    assert keys == list(schema["properties"])
    assert schema["$id"] in text(DOCS / "json.md")


def test_benchmarks_are_those_of_the_command():
    from tddfa.evaluate.benchmarks import BENCHMARKS

    rows = re.findall(r"^\| `([\w-]+)` \|", text(DOCS / "evaluation.md"), re.M)
    assert sorted(rows) == sorted(BENCHMARKS)


@pytest.mark.parametrize("page", ["accuracy.md", "privacy.md"])
def test_figures_are_measured_ones(page):
    """Each number with decimals is in the results or in the card of the models, there with more digits perhaps."""
    measured = re.findall(
        r"(?<![\d.])\d+\.\d+", " ".join(map(text, (ROOT / "RESULTS.md", *(ROOT / "weights").glob("*.md"))))
    )
    figures = re.findall(r"(?<![\d.])\d+\.\d+(?![\d.])", prose(text(DOCS / page)))
    assert figures
    for figure in set(figures) - {"0.5"}:
        digits = len(figure.partition(".")[2])
        rounded = {f"{float(number):.{digits}f}" for number in measured if len(number.partition(".")[2]) >= digits}
        assert figure in rounded, figure


def test_how_far_shapes_tell_people_apart_is_of_the_shipped_weights():
    rows = re.findall(
        r"^\| cosine of the (shape|standardised shape), all pairs: .*?\| ([\d.]+) \|", text(ROOT / "RESULTS.md"), re.M
    )
    measured = {name: f"{float(figure):.2f}" for name, figure in rows}
    page = " ".join(text(DOCS / "privacy.md").split())
    assert f"is {measured['shape']} (cosine of `shape`; 0.5 is chance), or {measured['standardised shape']} (" in page


def test_messages_are_those_of_the_code():
    """Each fixed part of a message is in the source; f-strings are read with their fields as …"""
    sources = [*(ROOT / "tddfa").rglob("*.py"), *(ROOT / "FaceBoxes").rglob("*.py"), ROOT / "build.sh"]
    source = " ".join(re.sub(r'"\s*\n\s*f?"', "", text(path)) for path in sources)
    messages = re.findall(r"^\| `(.+?)` \|", text(DOCS / "troubleshooting.md"), re.M)
    assert len(messages) >= 15
    assert messages == sorted(messages, key=lambda message: (message[0] != "…", message.lstrip("…: ").lower()))
    for message in messages:
        for part in filter(None, (part.strip(" :?") for part in message.split("…"))):
            assert part in source, message


@pytest.fixture(scope="module")
def concepts():
    """The script that draws the images of the concept pages."""
    folder = str(ROOT / "examples")
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location("concepts", ROOT / "examples/concepts.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


@pytest.mark.parametrize("image", ["frames", "conventions", "face_model"])
def test_images_are_those_of_the_face_model(concepts, aligner, image):
    stored = cv2.imread(str(DOCS / f"{image}.jpg")).astype(int)
    assert np.abs(stored - concepts.DRAWINGS[image](aligner.face_model)).mean() < 2
    assert (DOCS / f"{image}.jpg").stat().st_size < 150_000


def test_the_image_of_the_scores_is_that_of_the_models(concepts, aligner):
    # of a photo, the JPEG differs from what was drawn
    _, data = cv2.imencode(".jpg", concepts.draw_scores(aligner), [cv2.IMWRITE_JPEG_QUALITY, 84])
    drawn = cv2.imdecode(data, cv2.IMREAD_COLOR).astype(int)
    assert np.abs(cv2.imread(str(DOCS / "scores.jpg")) - drawn).mean() < 0.5


def test_a_page_shows_each_image(concepts):
    pages = "\n".join(map(text, PAGES))
    assert all(f"]({image}.jpg)" in pages for image in (*concepts.DRAWINGS, "scores"))
