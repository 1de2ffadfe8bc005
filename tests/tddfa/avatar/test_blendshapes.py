from dataclasses import replace

import numpy as np
import pytest

from tddfa import Decoder, Tracker
from tddfa.avatar import Blendshapes, RestingFace
from tddfa.model.arkit import ARKIT_NAMES, ARKIT_SHAPES, UNSEEN
from tddfa.synthetic import Head, State, render

FPS = 30


class TestArkit:
    def test_order_and_names_are_apples(self, decoder, face_with):
        weights = decoder.arkit(face_with())
        assert tuple(weights) == ARKIT_NAMES == tuple(ARKIT_SHAPES)
        assert len(weights) == 52

    def test_weights_are_those_of_the_table_within_0_and_1(self, decoder, face_with):
        brows = {"browInnerUpLeft": 0.4, "browInnerUpRight": 0.8}
        weights = decoder.arkit(face_with(jawOpen=0.7, mouthPucker=1.4, jawLeft=-0.2, **brows))
        expected = {"jawOpen": 0.7, "browInnerUp": 0.6, "mouthPucker": 1.0}
        assert {name: weight for name, weight in weights.items() if weight} == pytest.approx(expected)

    def test_what_one_camera_cannot_see_is_0(self, decoder, face_with):
        weights = decoder.arkit(face_with(cheekPuffLeft=1, cheekPuffRight=1, jawForward=1))
        assert {"tongueOut", "cheekPuff"} <= set(UNSEEN) <= set(weights)
        assert not any(weights.values())

    def test_a_face_model_without_the_table(self, decoder, face_with):
        plain = Decoder(replace(decoder.face_model, arkit_table=None, arkit_names=()), decoder.crop_rule)
        with pytest.raises(ValueError, match="face_model: expected a face model with Apple's blendshapes"):
            plain.arkit(face_with())
        for neutral in ("auto", "none"):
            with pytest.raises(ValueError, match="face_model: expected a face model with Apple's blendshapes"):
                Blendshapes(plain, neutral)


class TestNeutral:
    def test_auto_subtracts_what_a_track_shows_at_rest(self, decoder, face_with):
        shapes = Blendshapes(decoder)
        rng = np.random.default_rng(0)
        for frame in range(90):
            smile = 1.0 if 40 <= frame < 60 else 0.0
            brow = 0.3 + rng.normal(0, 0.01)
            weights = shapes(face_with(browDownLeft=brow, mouthSmileLeft=0.1 + 0.6 * smile))
            if frame > 5:
                assert weights["browDownLeft"] < 0.06
                assert weights["mouthSmileLeft"] == pytest.approx(0.6 / 0.9 * smile, abs=0.01)

    def test_each_track_has_its_own(self, decoder, face_with):
        shapes = Blendshapes(decoder)
        for _ in range(5):
            for track, rest in ((0, 0.3), (1, 0.0)):
                assert shapes(face_with(track, jawOpen=rest))["jawOpen"] == 0
        assert shapes(face_with(0, jawOpen=0.65))["jawOpen"] == pytest.approx(0.5)
        assert shapes(face_with(1, jawOpen=0.65))["jawOpen"] == pytest.approx(0.65)

    def test_a_photo(self, decoder, face_with):
        shapes = Blendshapes(decoder, face_with(browDownLeft=0.2))
        weights = shapes(face_with(browDownLeft=0.6, jawOpen=0.5))
        assert (weights["browDownLeft"], weights["jawOpen"]) == pytest.approx((0.5, 0.5))

    def test_none_gives_the_weights_of_the_decoder(self, decoder, face_with):
        face = face_with(browDownLeft=0.6)
        assert Blendshapes(decoder, "none")(face) == decoder.arkit(face)

    def test_another_word(self, decoder):
        with pytest.raises(ValueError, match="neutral: expected one of auto, none or a Face, got 'smile'"):
            Blendshapes(decoder, "smile")

    def test_an_expression_of_many_seconds_is_not_taken_for_rest(self):
        rest = RestingFace(1)
        for frame in range(6000):
            rest.add(np.float32([0.9 if 1000 < frame < 4000 else 0.1]))
        assert rest.weights[0] == pytest.approx(0.1)
        assert rest._samples.shape == (128, 1)


def test_a_rendered_blink_of_four_frames_is_not_smoothed_away(aligner, decoder, astronaut):
    head = Head.from_photo(astronaut, aligner)
    images = {}
    for lid in (0.0, 0.6, 1.0):
        state = State(yaw=5, size=200, x=160, y=150, expression={"eyeBlink": lid})
        images[lid] = render((320, 320), [(head, state)])[0]
    blink = [0.0] * 8 + [0.6, 1.0, 1.0, 0.6] + [0.0] * 8
    both = {}
    for smooth in ("none", "one_euro"):
        tracker, shapes = Tracker(aligner, smooth=smooth), Blendshapes(decoder)
        faces = [tracker(images[lid], number / FPS) for number, lid in enumerate(blink)]
        both[smooth] = np.array([shapes(face)["eyeBlinkLeft"] for (face,) in faces])
    raw, smooth = both["none"], both["one_euro"]
    assert raw[9:11].min() > 0.3
    assert smooth.max() > 0.85 * raw.max()
    assert abs(int(smooth.argmax()) - int(raw.argmax())) <= 1
    # open before, and again two frames after
    assert max(smooth[:8].max(), smooth[14:].max()) < 0.25 * smooth.max()


def test_a_crowd_does_not_forget_its_resting_faces(decoder, face_with):
    blendshapes = Blendshapes(decoder)
    resting, talking = face_with(), face_with(jawOpen=0.45)
    jaw = blendshapes.names.index("jawOpen")
    for _ in range(3):
        for track in range(750):  # as many as a detector finds in a frame
            blendshapes.weights(replace(resting, track_id=track))
    weights = [blendshapes.weights(replace(talking, track_id=track))[jaw] for track in range(0, 750, 50)]
    assert min(weights) > 0.4
