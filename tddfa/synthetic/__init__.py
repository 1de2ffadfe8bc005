"""Synthetic images and videos with ground truth, rendered with the face model, for tests and for training.

A `Head` is the identity, a `State` its pose, position and expression. `render` returns the image and the `GroundTruth`
of each head::

    head = Head.from_photo(image, aligner)
    image, targets = render((720, 1280), [(head, State(yaw=30, size=200, x=640, y=300))])

`SCENES` are short scripts of moving heads, and `frames` renders them. ``python -m tddfa.synthetic SCENE OUT`` writes a
scene to a video or a folder, with its ground truth.
"""

from tddfa.synthetic.head import Head
from tddfa.synthetic.render import LIGHT, GroundTruth, State, degrade, render
from tddfa.synthetic.scenes import SCENES, Scene, backdrop, frames

__all__ = ["LIGHT", "SCENES", "GroundTruth", "Head", "Scene", "State", "backdrop", "degrade", "frames", "render"]
