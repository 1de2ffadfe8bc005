from dataclasses import FrozenInstanceError, fields

import pytest

from tddfa import TrackerSettings


def test_frozen_and_keyword_only():
    with pytest.raises(TypeError):
        TrackerSettings(0.5)
    with pytest.raises(FrozenInstanceError):
        TrackerSettings().max_jump = 1.0


def test_every_setting_is_documented():
    for field in fields(TrackerSettings):
        assert f"    {field.name} : {field.type}\n" in TrackerSettings.__doc__


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("kept_score_fraction", 1.5, "0..1"),
        ("start_score_fraction", -0.1, "0..1"),
        ("new_face_score", 1.1, "0..1"),
        ("max_misses", 0, "1 or more"),
        ("max_jump", -0.1, "0 or more"),
        ("max_growth", 0.5, "1 or more"),
        ("velocity_gain", float("nan"), "0..1"),
        ("cut_correlation", -2, "-1..1"),
    ],
)
def test_values_out_of_range_are_named(name, value, expected):
    with pytest.raises(ValueError, match=rf"TrackerSettings\.{name}: expected {expected}, got {value}"):
        TrackerSettings(**{name: value})


@pytest.mark.parametrize("name", [field.name for field in fields(TrackerSettings) if field.type == "int"])
@pytest.mark.parametrize("value", [2.5, float("inf"), True, "2"])
def test_counts_are_whole_numbers(name, value):
    with pytest.raises(TypeError, match=rf"TrackerSettings\.{name}: expected a whole number, got "):
        TrackerSettings(**{name: value})
