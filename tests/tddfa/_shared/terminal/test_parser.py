import pytest

from tddfa._shared.terminal.parser import Parser, UsageError, as_usage_error


@pytest.fixture
def parser():
    parser = Parser(prog="draw")
    parser.add_inputs("-f", "--img-fp", metavar="PHOTO", help="photos")
    group = parser.add_argument_group("looks")
    group.add_argument("--uv-size", type=int, default=1)
    group.add_argument("--colour", choices=("red", "Blue", "XYZ", "xyz"))
    group.add_argument("--mask", action="store_true")
    parser.add_aliases("--uv-size", "--texture-size")
    return parser


def wrong(parser, capsys, *words):
    """Usage and error of a command line."""
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(words)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ["--uv-size", "64"],
        ["--uv_size", "64"],
        ["--uv_size=64"],
        ["--uv-size=64"],
        ["--texture-size", "64"],
        ["--texture_size=64"],
        ["-uv_size", "64"],
    ],
)
def test_spellings_of_an_option(parser, words):
    assert parser.parse_args(["a.jpg", *words]).uv_size == 64


def test_the_help_has_one_spelling(parser):
    text = parser.format_help()
    assert "--uv-size" in text
    assert "uv_size" not in text
    assert "texture" not in text


def test_values_keep_their_underscores(parser):
    assert parser.parse_args(["my_photo.jpg", "-fother_one.jpg", "--img_fp=x_y.jpg"]).inputs == [
        "my_photo.jpg", "other_one.jpg", "x_y.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["a", "b", "c"],
        ["-f", "a", "b", "c"],
        ["a", "--mask", "b", "c"],
        ["--mask", "a", "--uv-size", "3", "b", "c"],
        ["-f", "a", "--mask", "b", "--uv-size=3", "c"],
        ["a", "b", "--", "c"],
        ["--mask", "--", "a", "b", "c"],
        ["-fa", "b", "-f", "c"],
    ],
)
def test_inputs_anywhere_in_order(parser, words):
    assert parser.parse_args(words).inputs == ["a", "b", "c"]


def test_an_input_that_looks_like_an_option(parser):
    assert parser.parse_args(["a", "--mask", "--", "--mask", "-x"]).inputs == ["a", "--mask", "-x"]


def test_inputs_replace_their_default():
    parser = Parser()
    parser.add_inputs("-f", metavar="N", help="numbers", default=["0"])
    assert parser.parse_args([]).inputs == ["0"]
    assert parser.parse_args(["1", "-f", "2"]).inputs == ["1", "2"]
    parser.set_defaults(inputs=["7", "8"])
    assert parser.parse_args([]).inputs == ["7", "8"]
    assert parser.parse_args(["-f", "2"]).inputs == ["2"]


def test_no_input_prints_the_usage(parser, capsys):
    assert wrong(parser, capsys, "--mask") == [
        "usage: draw [OPTION]... PHOTO...",
        "draw: error: expected PHOTO: photos",
    ]


@pytest.mark.parametrize("words", [["a", "b"], ["-f", "a", "b"], ["a", "-f", "b"]])
def test_one_input(capsys, words):
    parser = Parser(prog="play")
    parser.add_inputs("-f", metavar="FILE", help="a video", many=False)
    assert parser.parse_args(words[:-1] if len(words) == 2 else ["-f", "a"]).inputs == ["a"]
    assert wrong(parser, capsys, *words) == ["usage: play [OPTION]... FILE", "play: error: expected one FILE, got a b"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("--uvsize", "did you mean --uv-size?"),
        ("--uv_sise", "did you mean --uv-size?"),
        ("--colour-", "did you mean --colour?"),
        ("--img=x", "did you mean --img-fp?"),
        ("--texture-sizes", "did you mean --uv-size?"),
        ("--nonsense", "see draw --help"),
        ("-z", "see draw --help"),
    ],
)
def test_an_unknown_option(parser, capsys, word, hint):
    name = word.partition("=")[0]
    for words in ([word], ["a.jpg", word], [word, "3", "a.jpg"]):
        assert wrong(parser, capsys, *words)[-1] == f"draw: error: unknown option {name}; {hint}"


def test_a_command_reports_its_own_errors(capsys):
    parser = Parser(prog="tool")
    draw = parser.add_subparsers(metavar="COMMAND", required=True).add_parser("draw")
    draw.add_argument("--size", type=int)
    assert wrong(parser, capsys, "draw", "--sise", "3") == [
        "usage: tool draw [OPTION]...", "tool draw: error: unknown option --sise; did you mean --size?",
    ]  # fmt: skip
    assert wrong(parser, capsys, "draw", "word") == [
        "usage: tool draw [OPTION]...", "tool draw: error: unexpected argument: word",
    ]  # fmt: skip
    assert wrong(parser, capsys)[0] == "usage: tool [OPTION]... COMMAND ..."
    assert parser.parse_args(["draw", "--size", "3"]).parser is draw


def test_a_file_in_the_place_of_a_command(capsys, tmp_path):
    parser = Parser(prog="tool")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("draw")
    commands.add_parser("erase")
    photo = tmp_path / "a.jpg"
    assert "invalid choice" in wrong(parser, capsys, str(photo))[-1]
    photo.touch()
    assert wrong(parser, capsys, str(photo))[-1] == f"tool: error: expected a command before {photo}, such as draw"


def test_choices_in_any_case(parser, capsys):
    for text, value in (("RED", "red"), ("blue", "Blue"), ("xyz", "xyz"), ("XYZ", "XYZ")):
        assert parser.parse_args(["a", "--colour", text]).colour == value
    assert "invalid choice: 'Xyz'" in wrong(parser, capsys, "a", "--colour", "Xyz")[-1], "it may be one or the other"


def test_the_nearest_choice(parser, capsys):
    assert wrong(parser, capsys, "a", "--colour", "Rad")[-1].endswith("; did you mean red?")
    assert wrong(parser, capsys, "a", "--colour", "7")[-1].endswith(")")
    parser = Parser(prog="tool")
    parser.add_subparsers(metavar="COMMAND").add_parser("draw")
    assert wrong(parser, capsys, "darw")[-1].endswith("; did you mean draw?")


def test_words_after_a_command_keep_their_case():
    parser = Parser()
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("draw").add_inputs("-f", metavar="PHOTO", help="photos")
    assert parser.parse_args(["draw", "Draw"]).inputs == ["Draw"]


def test_the_usage_names_what_is_required():
    parser = Parser(prog="make 100%")
    parser.add_argument("kind")
    parser.add_argument("more", nargs="*", metavar="MORE")
    parser.add_argument("how", choices=("fast", "well"))
    parser.add_argument("-o", "--out", required=True, metavar="DIR")
    parser.add_argument("--size")
    assert parser.format_usage() == "usage: make 100% [OPTION]... kind [MORE]... {fast,well} --out DIR\n"


def test_a_usage_error_found_later(parser, capsys):
    with pytest.raises(UsageError, match=r"^--size: expected more$"), as_usage_error("--size"):
        raise ValueError("expected more")
    assert parser.report("a\nb") == 2
    assert capsys.readouterr().err.splitlines() == ["usage: draw [OPTION]... PHOTO...", "draw: error: a b"]


def test_no_abbreviations(parser, capsys):
    assert "unknown option --mas" in wrong(parser, capsys, "a", "--mas")[-1]
