"""Time the stages of another toolkit in its own interpreter and folder.

`tddfa.bench.peer` passes the text of this file to that interpreter. So it imports nothing from this package, and needs
only Python 3.8 or later and the libraries of the toolkit. Messages are lines of JSON. The first is the task, and its
answer lists the stages. Then each ``{"stage": name}`` is answered by ``{"seconds": s}`` or ``{"error": reason}``.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[], object]

# As in tddfa.bench.timing.
MIN_SAMPLE_SECONDS = 0.002
MAX_REPEATS = 200
CONFIGS = ("mb05_120x120", "mb1_120x120")


def describe(error: Exception) -> str:
    """Describe an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def config_of_checkout() -> str:
    """Choose the config of the smaller network if its weights exist, else that of the larger one."""
    import yaml

    for name in CONFIGS:
        path = Path("configs") / f"{name}.yml"
        if path.is_file():
            weights = Path(yaml.safe_load(path.read_text())["checkpoint_fp"])
            if weights.is_file() or weights.with_suffix(".onnx").is_file():
                return str(path)
    raise FileNotFoundError(f"configs: expected one of {', '.join(CONFIGS)} with its weights, got none")


class Models:
    """The detector and the regressor: the ONNX classes if they can be loaded, else the torch classes."""

    def __init__(self, gpu: bool) -> None:
        import yaml

        self.config, self.onnx_error, self.kind = config_of_checkout(), "", "onnx"
        cfg = yaml.safe_load(Path(self.config).read_text())
        try:
            if gpu:
                raise ValueError("the ONNX classes have no setting for the device")
            self.detector = import_module("FaceBoxes.FaceBoxes_ONNX").FaceBoxes_ONNX()
            self.regressor = import_module("TDDFA_ONNX").TDDFA_ONNX(**cfg)
        except Exception as error:  # whatever the error, torch may still work
            self.onnx_error, self.kind = describe(error), "torch"
            self.detector = import_module("FaceBoxes").FaceBoxes()
            self.regressor = import_module("TDDFA").TDDFA(gpu_mode=gpu, **cfg)


class Toolkit:
    """The stages of a toolkit by name. Each is prepared when it is first timed."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.made: dict[str, tuple[Run, int]] = {}

    def makers(self) -> dict[str, Callable[[], Run]]:
        """Functions that prepare each stage, by its name in `tddfa.bench.stages`."""
        raise NotImplementedError

    def about(self) -> dict[str, str]:
        """Describe what is timed."""
        raise NotImplementedError

    def sample(self, name: str) -> float:
        """Time a sample, seconds per call. The first sample also determines the number of repeats."""
        if name not in self.made:
            run = self.makers()[name]()
            run()
            once = max(seconds(run, 1), 1e-9)
            self.made[name] = run, min(max(int(MIN_SAMPLE_SECONDS / once) + 1, 1), MAX_REPEATS)
        return seconds(*self.made[name])


class FaceMesh(Toolkit):
    """MediaPipe's FaceMesh, of mediapipe 0.10.21: later versions are without it."""

    def __init__(self, task: dict[str, Any]) -> None:
        super().__init__(task)
        self.mediapipe = import_module("mediapipe")
        self.mesh = self.mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=1)

    def about(self) -> dict[str, str]:
        """Describe what is timed."""
        return {"network": "FaceMesh", "config": f"mediapipe {self.mediapipe.__version__}"}

    def makers(self) -> dict[str, Callable[[], Run]]:
        """Functions that prepare each stage, by its name in `tddfa.bench.stages`."""
        return {"default.1": self.landmarks}

    def landmarks(self) -> Run:
        """Image to landmarks of one face. FaceMesh takes RGB."""
        cv2 = import_module("cv2")
        image = cv2.cvtColor(cv2.imread(self.task["one"]), cv2.COLOR_BGR2RGB)
        if not self.mesh.process(image).multi_face_landmarks:
            raise ValueError("FaceMesh finds no face in the image")
        return partial(self.mesh.process, image)


class Checkout(Toolkit):
    """A checkout of 3DDFA_V2, in the working folder."""

    def __init__(self, task: dict[str, Any]) -> None:
        super().__init__(task)
        self.models = Models(task["gpu"])

    def about(self) -> dict[str, str]:
        """Describe what is timed."""
        models = self.models
        return {"network": models.kind, "config": models.config, "onnx_error": models.onnx_error}

    def makers(self) -> dict[str, Callable[[], Run]]:
        """Functions that prepare each stage, by its name in `tddfa.bench.stages`."""
        result: dict[str, Callable[[], Run]] = {
            "read": lambda: partial(self.image, 1),
            "detect": lambda: partial(self.models.detector, self.image(20)),
            "crop": self.crop,
            "network.1": self.network,
            "decode.sparse": partial(self.decode, False),
            "decode.dense": partial(self.decode, True),
            "ply": partial(self.mesh, "ply"),
            "obj": partial(self.mesh, "obj"),
            "video.step": self.video,
            "process.warm": self.image_to_file,
        }
        for count in (1, 20):
            result[f"default.{count}"] = partial(self.default, count)
            result[f"align.{count}"] = partial(self.align, count)
            result[f"2d_sparse.{count}"] = partial(self.landmarks, False, count)
            result[f"2d_dense.{count}"] = partial(self.landmarks, True, count)
            result[f"pose.{count}"] = partial(self.pose, count)
            for kind in ("3d", "depth", "pncc", "uv_tex"):
                result[f"{kind}.{count}"] = partial(self.surface, kind, count)
        return result

    def image(self, count: int) -> Any:
        """The image with one face, or with twenty faces."""
        return import_module("cv2").imread(self.task["one" if count == 1 else "many"])

    def boxes(self, count: int) -> Any:
        """Boxes of the faces, each x1, y1, x2, y2, score."""
        return [list(box) for box in self.task["one_boxes" if count == 1 else "many_boxes"]]

    def faces(self, count: int, dense: bool) -> Any:
        """Image, and parameters, crop squares and points of its faces."""
        image = self.image(count)
        params, rois = self.models.regressor(image, self.boxes(count))
        return image, params, rois, self.models.regressor.recon_vers(params, rois, dense_flag=dense)

    def file(self, suffix: str) -> str:
        """Path of an output file."""
        return str(Path(self.task["scratch"]) / f"peer{suffix}")

    def crop(self) -> Run:
        """Crop and resize."""
        cv2, functions = import_module("cv2"), import_module("utils.functions")
        image, roi = self.image(1), functions.parse_roi_box_from_bbox(self.boxes(1)[0])
        return lambda: cv2.resize(functions.crop_img(image, roi), dsize=(120, 120), interpolation=cv2.INTER_LINEAR)

    def network(self) -> Run:
        """The network alone, on one crop."""
        numpy, regressor = import_module("numpy"), self.models.regressor
        batch = numpy.zeros((1, 3, 120, 120), dtype=numpy.float32)
        if self.models.kind == "onnx":
            return partial(regressor.session.run, None, {"input": batch})
        torch = import_module("torch")
        tensor = torch.from_numpy(batch)
        if self.task["gpu"]:
            tensor = tensor.cuda()

        def run() -> object:
            with torch.no_grad():
                return regressor.model(tensor).cpu()

        return run

    def default(self, count: int) -> Run:
        """Detection, crop, network and landmarks."""
        image, models = self.image(count), self.models
        regressor = models.regressor
        return lambda: regressor.recon_vers(*regressor(image, models.detector(image)), dense_flag=False)

    def align(self, count: int) -> Run:
        """Crop, network and landmarks."""
        image, boxes, regressor = self.image(count), self.boxes(count), self.models.regressor
        return lambda: regressor.recon_vers(*regressor(image, boxes), dense_flag=False)

    def decode(self, dense: bool) -> Run:
        """Landmarks or dense vertices from parameters."""
        regressor = self.models.regressor
        params, rois = regressor(self.image(1), self.boxes(1))
        return lambda: regressor.recon_vers(params, rois, dense_flag=dense)

    def landmarks(self, dense: bool, count: int) -> Run:
        """2d_sparse and 2d_dense, which can only be drawn to a file."""
        plot, functions = import_module("matplotlib.pyplot"), import_module("utils.functions")
        image, _, _, points = self.faces(count, dense)

        def run() -> None:
            functions.draw_landmarks(image, points, show_flag=False, dense_flag=dense, wfp=self.file(".jpg"))
            plot.close("all")  # the checkout leaves its figures open

        return run

    def surface(self, kind: str, count: int) -> Run:
        """3d, depth, pncc and uv_tex."""
        module, name = {
            "3d": ("utils.render", "render"),
            "depth": ("utils.depth", "depth"),
            "pncc": ("utils.pncc", "pncc"),
            "uv_tex": ("utils.uv", "uv_tex"),
        }[kind]
        draw = getattr(import_module(module), name)
        image, _, _, points = self.faces(count, True)
        return lambda: draw(image, points, self.models.regressor.tri, show_flag=False, wfp=None)

    def pose(self, count: int) -> Run:
        """The pose box. The image is copied, because the checkout draws on its input."""
        viz_pose = import_module("utils.pose").viz_pose
        image, params, _, points = self.faces(count, False)
        return lambda: viz_pose(image.copy(), params, points, show_flag=False, wfp=None)

    def mesh(self, kind: str) -> Run:
        """A 3D file. The points are copied for .obj, because the checkout changes its input."""
        serialization = import_module("utils.serialization")
        image, _, _, points = self.faces(1, True)
        triangles, height, path = self.models.regressor.tri, image.shape[0], self.file(f".{kind}")
        if kind == "ply":
            return lambda: serialization.ser_to_ply(points, triangles, height=height, wfp=path)
        return lambda: serialization.ser_to_obj(image, [p.copy() for p in points], triangles, height=height, wfp=path)

    def video(self) -> Run:
        """A frame of the video demo: crop around the landmarks of the last frame, the first from the detector."""
        cv2, regressor = import_module("cv2"), self.models.regressor
        frames = itertools.cycle([cv2.imread(path) for path in self.task["frames"]])
        first = next(frames)
        last = regressor.recon_vers(*regressor(first, [self.models.detector(first)[0]]), dense_flag=False)[0]

        def run() -> None:
            nonlocal last
            last = regressor.recon_vers(*regressor(next(frames), [last], crop_policy="landmark"), dense_flag=False)[0]

        return run

    def image_to_file(self) -> Run:
        """The work of the demo with ``-o 3d``."""
        render, regressor = import_module("utils.render").render, self.models.regressor

        def run() -> object:
            image = self.image(1)
            points = regressor.recon_vers(*regressor(image, self.models.detector(image)), dense_flag=True)
            return render(image, points, regressor.tri, alpha=0.6, show_flag=False, wfp=self.file("-warm.jpg"))

        return run


def seconds(run: Run, repeats: int) -> float:
    """Mean time of a call, seconds."""
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - started) / repeats


def main() -> None:
    """Answer requests until the input ends."""
    # stdout is for the answers, so the output of the toolkit goes to stderr
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(f"{json.dumps(message)}\n")
        answers.flush()

    task = json.loads(sys.stdin.readline())
    try:
        if task["threads"]:
            limit_threads(task["threads"])
        stages = {"3DDFA_V2": Checkout, "MediaPipe": FaceMesh}[task["toolkit"]](task)
        if task.get("once"):
            stages.makers()["process.warm"]()()
            answer({"done": True})
            return
    except Exception as error:  # any error of the toolkit is reported
        answer({"error": describe(error)})
        return
    answer({"stages": sorted(stages.makers()), **stages.about()})
    for line in sys.stdin:
        try:
            answer({"seconds": stages.sample(json.loads(line)["stage"])})
        except Exception as error:
            answer({"error": describe(error)})


def limit_threads(count: int) -> None:
    """Limit the process to some cores, on Linux: the toolkits have no setting for threads."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    import_module("cv2").setNumThreads(count)


if __name__ == "__main__":
    main()
