"""`docs/face.schema.json` accepts every record that `Face.to_dict` makes, and nothing else."""

import copy
import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest

from builders import make_face
from tddfa import Camera, Intrinsics, Tracker
from tddfa.cli import main
from tddfa.geometry.plain import CAMERA_ORDER, VIEW_ORDER
from tddfa.types import SCHEMA


@pytest.fixture(scope="module")
def schema(root):
    return json.loads((root / "docs/face.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def validator(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def record(aligner, astronaut):
    """A record with every key."""
    (face,) = aligner(astronaut)
    full = replace(face, track_id=3, confidence=np.linspace(0, 1, 68), detected_points=np.arange(10).reshape(5, 2))
    return json.loads(json.dumps(full.to_dict(aligner.decoder)))


def test_its_version_and_orders_are_those_of_the_record(schema, record):
    assert schema["$id"] == f"urn:tddfa:face:{SCHEMA}"
    assert schema["properties"]["pose_order"]["const"] == record["pose_order"] == VIEW_ORDER
    order = schema["$defs"]["six_dof"]["properties"]["euler"]["properties"]["order"]["const"]
    assert order == record["six_dof"]["euler"]["order"] == CAMERA_ORDER


class TestRecordsAreValid:
    def test_with_every_key(self, validator, schema, record):
        validator.validate(record)
        assert list(record) == [*[key for key in schema["properties"] if key != "detected_points"], "detected_points"]

    @pytest.mark.parametrize("options", [{"dense": False}, {"intrinsics": Intrinsics.centered(800, (512, 512))}])
    def test_of_a_photo(self, validator, aligner, two_people, options):
        for face in aligner(two_people):
            validator.validate(face.to_dict(aligner.decoder, **options))

    def test_of_heads_in_any_pose_without_a_decoder(self, validator):
        for yaw, pitch, roll in ((0, 0, 180), (95, -40, -180), (-60, 89.9, 20)):
            face = make_face(camera=Camera.from_pose(yaw, pitch, roll, 12, (200, 100, 5)))
            validator.validate(face.to_dict())

    def test_of_a_face_in_an_image_of_unknown_size(self, validator, aligner, astronaut):
        (face,) = aligner(astronaut)
        unknown = replace(face, image_size=None)
        for camera in (None, Intrinsics.centered(800, (512, 512))):
            validator.validate(unknown.to_dict(aligner.decoder, camera))

    def test_of_a_video(self, validator, aligner, astronaut):
        tracker = Tracker(aligner)
        for frame in (astronaut, np.roll(astronaut, 2, axis=1)):
            (face,) = tracker(frame)
            validator.validate(face.to_dict(aligner.decoder))

    def test_of_a_file(self, validator, root, tmp_path):
        photo = str(root / "examples/inputs/two_people.jpg")
        assert main(["image", "-f", photo, "-o", "pose", "--json", "--show_flag", "false", "--out", str(tmp_path)]) == 0
        faces = json.loads((tmp_path / "two_people.json").read_text())["faces"]
        assert len(faces) == 2
        for face in faces:
            validator.validate(face)


def objects(value, path=()):
    """Paths of all objects of fixed keys: all but the weights by name."""
    if isinstance(value, dict) and path != ("expression",):
        yield path
        for key, item in value.items():
            yield from objects(item, (*path, key))


def changed(record, path, change):
    """A copy of the record in which `change` was applied to the object at `path`."""
    result = copy.deepcopy(record)
    target = result
    for key in path:
        target = target[key]
    change(target)
    return result


class TestItIsStrict:
    PATHS = (
        (), ("roi",), ("pose",), ("quaternion",), ("gaze",), ("gaze", "left"), ("gaze", "right"), ("six_dof",),
        ("six_dof", "quaternion"), ("six_dof", "euler"), ("six_dof", "intrinsics"),
    )  # fmt: skip

    def test_these_are_all_objects(self, record):
        assert tuple(objects(record)) == self.PATHS

    @pytest.mark.parametrize("path", PATHS)
    def test_a_new_key_fails(self, validator, record, path):
        assert not validator.is_valid(changed(record, path, lambda target: target.update(extra=1)))

    @pytest.mark.parametrize("path", PATHS)
    def test_a_missing_key_and_a_value_of_another_type_fail(self, validator, record, path):
        target = record
        for key in path:
            target = target[key]
        for key in target:
            missing = changed(record, path, lambda target, key=key: target.pop(key))
            assert validator.is_valid(missing) == (key in ("confidence", "detected_points")), key
            # an object that no value of the record is like
            other = changed(record, path, lambda target, key=key: target.update({key: {"a": [None]}}))
            assert not validator.is_valid(other), key

    @pytest.mark.parametrize(
        "key", ["box", "rotation", "camera", "landmarks", "visible", "confidence", "detected_points"]
    )
    def test_lists_have_their_length(self, validator, record, key):
        assert not validator.is_valid(changed(record, (), lambda target: target[key].pop()))
        assert not validator.is_valid(changed(record, (), lambda target: target[key].append(target[key][0])))
