import contextlib
import random

import pytest

from tddfa._shared.errors import FormatError
from tddfa._shared.reading.text import MAX_YAML, parse_json, parse_yaml

YAML = [
    '!!int ""', "!!timestamp x", "!!bool x", "!!float x", "!!binary é", "!!set x", "!!omap x", "!!null x", "2001-99-99",
    "0x", "? [a]\n: b", "{[a]: b}", "[" * 5000, "&a [*a]: b", "!!python/object:os.system x", "\t", "a: b: c", "*no",
    "!!int 0b2", "!!int 1:61:x", "2001-01-01 99:00:00",
]  # fmt: skip


@pytest.mark.parametrize("text", YAML)
def test_yaml_gives_a_value_or_one_error_of_one_line(text):
    try:
        parse_yaml(text)
    except FormatError as error:
        assert str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", YAML[:4])
def test_yaml_scalars_that_do_not_fit_their_tag(text):
    with pytest.raises(FormatError, match=r"^a value that does not fit its tag: \S"):
        parse_yaml(f"model: {text}")


@pytest.mark.parametrize("text", ["", "[" * 100_000, '{"a":' * 100_000, "1" * 5000, "1" * 400, "{", "nul", '"\ud800'])
def test_json_gives_one_error(text):
    with pytest.raises(FormatError, match=r"^not JSON that can be read: \S"):
        parse_json(text)


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_damaged_texts_give_one_error(parse):
    rng = random.Random(5)
    start = '{"model": "a.onnx", "crop": {"size": 120, "scale": [1.5, 2e3]}, "flip": true, "none": null}'
    for _ in range(300):
        text = list(start)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(text))
            text[at : at + rng.randint(0, 3)] = rng.choices("{}[]:,!&*?|>\"'\\#%@`0-9e.\t\n\0é", k=rng.randint(0, 3))
        with contextlib.suppress(FormatError):
            parse("".join(text))


def test_long_yaml_is_refused_before_it_is_parsed():
    with pytest.raises(FormatError, match=rf"^expected at most {MAX_YAML} characters of YAML, got {MAX_YAML + 1}$"):
        parse_yaml("#" * (MAX_YAML + 1))
    assert parse_yaml("a: 1\n" + "#" * 1000) == {"a": 1}
