"""Heads whose truth is known: pictures and videos rendered with the face model, for tests and for training.

A `Head` is who is seen, a `State` how, and `render` gives the picture and the `Truth` of each head in it::

    head = Head.from_photo(image, aligner)
    picture, truths = render((720, 1280), [(head, State(yaw=30, size=200, x=640, y=300))])

`SCENES` are short scripts of moving heads, `frames` plays them, and ``python -m tddfa.synthetic SCENE OUT`` writes them
to a video or a folder, with their truth.
"""

from tddfa.synthetic.head import Head
from tddfa.synthetic.render import LIGHT, State, Truth, degrade, render
from tddfa.synthetic.scenes import SCENES, Scene, backdrop, frames

__all__ = ["LIGHT", "SCENES", "Head", "Scene", "State", "Truth", "backdrop", "degrade", "frames", "render"]
