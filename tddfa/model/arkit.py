"""Apple's 52 blendshapes: their names, what each means, and which of them one camera cannot see.

Source of the names: Apple, ARFaceAnchor.BlendShapeLocation (developer documentation of ARKit).
"""

from __future__ import annotations

ARKIT_SHAPES = {
    "eyeBlinkLeft": "the left eye closes",
    "eyeLookDownLeft": "the left eye looks down, and its upper lid follows",
    "eyeLookInLeft": "the left eye looks to the right, towards the nose",
    "eyeLookOutLeft": "the left eye looks to the left, away from the nose",
    "eyeLookUpLeft": "the left eye looks up, and its upper lid follows",
    "eyeSquintLeft": "the left eye narrows from below",
    "eyeWideLeft": "the left upper lid is raised",
    "eyeBlinkRight": "the right eye closes",
    "eyeLookDownRight": "the right eye looks down, and its upper lid follows",
    "eyeLookInRight": "the right eye looks to the left, towards the nose",
    "eyeLookOutRight": "the right eye looks to the right, away from the nose",
    "eyeLookUpRight": "the right eye looks up, and its upper lid follows",
    "eyeSquintRight": "the right eye narrows from below",
    "eyeWideRight": "the right upper lid is raised",
    "jawForward": "the jaw moves forward",
    "jawLeft": "the jaw moves to the left",
    "jawRight": "the jaw moves to the right",
    "jawOpen": "the jaw opens, and the lips with it",
    "mouthClose": "the lips close while the jaw is open; only with jawOpen",
    "mouthFunnel": "the lips form an open circle",
    "mouthPucker": "the lips form a closed circle, as for a kiss",
    "mouthLeft": "both lips move to the left",
    "mouthRight": "both lips move to the right",
    "mouthSmileLeft": "the left corner of the mouth is raised",
    "mouthSmileRight": "the right corner of the mouth is raised",
    "mouthFrownLeft": "the left corner of the mouth is lowered",
    "mouthFrownRight": "the right corner of the mouth is lowered",
    "mouthDimpleLeft": "the left corner of the mouth is drawn back",
    "mouthDimpleRight": "the right corner of the mouth is drawn back",
    "mouthStretchLeft": "the left corner of the mouth is drawn outwards",
    "mouthStretchRight": "the right corner of the mouth is drawn outwards",
    "mouthRollLower": "the lower lip rolls into the mouth",
    "mouthRollUpper": "the upper lip rolls into the mouth",
    "mouthShrugLower": "the lower lip is pushed up",
    "mouthShrugUpper": "the upper lip is pushed up",
    "mouthPressLeft": "the left half of the lips is pressed together",
    "mouthPressRight": "the right half of the lips is pressed together",
    "mouthLowerDownLeft": "the left half of the lower lip is lowered",
    "mouthLowerDownRight": "the right half of the lower lip is lowered",
    "mouthUpperUpLeft": "the left half of the upper lip is raised",
    "mouthUpperUpRight": "the right half of the upper lip is raised",
    "browDownLeft": "the left brow is lowered",
    "browDownRight": "the right brow is lowered",
    "browInnerUp": "the inner ends of both brows are raised",
    "browOuterUpLeft": "the outer end of the left brow is raised",
    "browOuterUpRight": "the outer end of the right brow is raised",
    "cheekPuff": "both cheeks are blown up",
    "cheekSquintLeft": "the left cheek is raised",
    "cheekSquintRight": "the right cheek is raised",
    "noseSneerLeft": "the left wing of the nose is raised",
    "noseSneerRight": "the right wing of the nose is raised",
    "tongueOut": "the tongue is out of the mouth",
}
"""What each shape means at weight 1, in the order of Live Link Face. Left and right are the subject's."""

ARKIT_NAMES = tuple(ARKIT_SHAPES)
"""Apple's names, in the order of Live Link Face."""

UNSEEN = {
    "cheekPuff": "the cheeks move towards the camera and to the sides, which looks like another shape of the face",
    "jawForward": "the jaw moves towards the camera",
    "tongueOut": "the face model has no tongue",
}
"""Shapes that one camera in front of the face cannot see, with the reason. `tddfa.Decoder.arkit` gives 0 for them."""
