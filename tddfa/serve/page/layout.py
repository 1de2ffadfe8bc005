"""Layout of the page in gradio, and the actions of its buttons."""

from __future__ import annotations

import html
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from tddfa.model.assets import data_folder
from tddfa.serve.engine import Engine
from tddfa.serve.page.guard import is_inside
from tddfa.serve.page.jobs import PageError, keep, photo, photo_kinds, video_kinds, video_steps
from tddfa.serve.page.order import Line, Newest
from tddfa.serve.page.view import count_of, faces_table, note, progress_bar, shape_bars, tracks_table

_LOG = logging.getLogger(__name__)

EXAMPLES = "examples"
"""Folder of the copies of the examples. These copies are not deleted."""

_HEIGHT = 380  # of images, px
_UPDATES = 100  # of a progress bar: every percent
_POLL_SECONDS = 0.3  # between two updates of a waiting video
_MAX_WAITING = 16  # waiting videos that show their position in the line: each takes one of gradio's 40 threads
_RUNS = "A video of this page is being tracked: wait for its end, or cancel it."
_DEFAULT_KINDS = ("2d_sparse", "3d", "pose", "glb")


class Layout:
    """Layout of the page, and the actions of its buttons.

    Parameters
    ----------
    engine : Engine
    folder : Path
        Of the uploads and results; the examples are copied to it.
    keep_seconds : float
        Time for which uploads are kept, to be shown on the page.
    """

    def __init__(self, engine: Engine, folder: Path, keep_seconds: float) -> None:
        self._engine, self._folder, self._keep_seconds = engine, folder, keep_seconds
        self._photos = photo_kinds(engine.aligner)
        self._videos = video_kinds(engine.aligner)
        self._cancelled: dict[str | None, threading.Event] = {}  # of the videos that run, by the session of the page
        self._line = Line()  # of the videos of all pages: one is tracked at a time

    def build(self) -> gr.Blocks:
        """Return the page."""
        limits = self._engine.limits
        with gr.Blocks(title="tddfa", analytics_enabled=False, fill_width=True) as blocks:
            gr.HTML(
                "<h1>tddfa</h1><p>Landmarks, mesh, head pose and expression of every face. Uploads stay on the "
                f"machine of this service, and are deleted after {self._keep_seconds / 60:.0f} minutes. Up to "
                f"{limits.bytes / 1e6:g} MB, {limits.pixels / 1e6:g} million pixels and {limits.video_seconds:g} "
                "seconds.</p>",
                elem_id="head",
            )
            with gr.Tabs():
                with gr.Tab("Photo", id="photo"):
                    self._photo_tab("photo", ["upload", "clipboard"], self._examples("*.jpg"))
                with gr.Tab("Video", id="video"):
                    self._video_tab()
                with gr.Tab("Camera", id="camera"):
                    self._photo_tab("camera", ["webcam"], [])
        # a page is refused if as many pages wait for the model as the service accepts requests
        return blocks.queue(max_size=limits.requests, default_concurrency_limit=2, api_open=False)

    def _photo_tab(self, name: str, sources: Any, examples: list[Path]) -> None:
        has_mesh = self._engine.aligner.decoder.has_mesh
        chosen = [kind for kind in _DEFAULT_KINDS if kind in self._photos] or self._photos[:1]
        with gr.Row():
            with gr.Column(min_width=300):
                source = gr.Image(
                    label="Photo", sources=sources, type="filepath", elem_id=f"{name}-source", height=_HEIGHT,
                    buttons=["fullscreen"], webcam_options=gr.WebcamOptions(mirror=False),
                )  # fmt: skip
                # Gradio would open the image before its size is checked. A subclass would make it write a .pyi file.
                source.preprocess = _path_of
                kinds = gr.CheckboxGroup(self._photos, value=chosen, label="Kinds of output", elem_id=f"{name}-kinds")
                with gr.Row():
                    every = gr.Button("All kinds", elem_id=f"{name}-every", scale=1, min_width=110)
                    run = gr.Button("Find faces", variant="primary", elem_id=f"{name}-run", scale=2, min_width=140)
                dataset = self._dataset(gr.Image, examples, name)
            with gr.Column(min_width=300):
                images = gr.Gallery(
                    label="Result", preview=True, object_fit="contain", height=_HEIGHT, interactive=False,
                    buttons=["download", "fullscreen"], elem_id=f"{name}-images",
                )  # fmt: skip
                table = gr.HTML(elem_id=f"{name}-faces", elem_classes="faces")
        with gr.Row():
            with gr.Column(min_width=300):
                mesh = gr.Model3D(
                    label="Heads: drag to turn", height=_HEIGHT, elem_id=f"{name}-mesh", camera_position=(90, 90, None),
                    visible=has_mesh,
                )  # fmt: skip
            with gr.Column(min_width=300):
                files = self._files(name)
        bars = gr.HTML(elem_id=f"{name}-shapes", elem_classes="shapes", visible=has_mesh)
        outputs = [images, mesh, table, files, bars]
        newest = Newest()

        def find(upload: str | None, chosen: list[str], request: gr.Request) -> tuple[Any, ...]:
            return self._photo(upload, chosen, newest, request.session_hash)

        def replaced(upload: str | None, request: gr.Request) -> tuple[Any, ...]:
            newest.replace(request.session_hash, upload)
            return _no_photo()

        def pick(index: int, request: gr.Request) -> tuple[Any, ...]:
            path = str(examples[index])
            return path, *replaced(path, request)

        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # a second click before the answer means that another photo was chosen; gradio would ignore this click
        last: dict[str, Any] = {"trigger_mode": "always_last"}
        shown: dict[str, Any] = {"api_visibility": "private", "show_progress_on": [images], **last}
        every.click(lambda: self._photos, None, kinds, **hidden)
        source.input(replaced, source, outputs, **hidden)
        run.click(find, [source, kinds], outputs, **shown)
        if dataset is not None:
            picked = dataset.click(pick, dataset, [source, *outputs], **hidden, **last)
            picked.success(find, [source, kinds], outputs, **shown)

    def _video_tab(self) -> None:
        examples = self._examples("videos/*.mp4")
        first = next((kind for kind in ("3d", "2d_sparse") if kind in self._videos), None)
        with gr.Row():
            with gr.Column(min_width=300):
                source = gr.Video(label="Video", sources=["upload", "webcam"], height=_HEIGHT, elem_id="video-source")
                kind = gr.Radio(self._videos, value=first, label="Kind of output", elem_id="video-kind")
                with gr.Row():
                    cancel = gr.Button("Cancel", interactive=False, elem_id="video-cancel", scale=1, min_width=110)
                    run = gr.Button("Track faces", variant="primary", elem_id="video-run", scale=2, min_width=140)
                state = gr.HTML(elem_id="video-state", elem_classes="state")
                dataset = self._dataset(gr.Video, examples, "video")
            with gr.Column(min_width=300):
                result = gr.Video(label="Result", interactive=False, height=_HEIGHT, elem_id="video-result")
                table = gr.HTML(elem_id="video-tracks", elem_classes="faces")
                files = self._files("video")
        outputs = [state, result, table, files, run, cancel]
        hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        # all begin at once, and wait in line where they can say so and be cancelled
        settings = hidden | {"concurrency_limit": _MAX_WAITING, "concurrency_id": "video"}

        def replaced(request: gr.Request) -> tuple[Any, ...]:
            return (gr.skip(),) * 4 if request.session_hash in self._cancelled else _no_video()

        def refuse(request: gr.Request) -> None:
            with _as_errors():
                if request.session_hash in self._cancelled:
                    raise PageError(_RUNS)

        source.input(replaced, None, outputs[:4], **hidden)
        run.click(self._video, [source, kind], outputs, **settings)
        if dataset is not None:
            # a separate event, because gradio covers the outputs of an event that fails
            free = dataset.click(refuse, None, None, **hidden)
            picked = free.success(lambda index: str(examples[index]), dataset, source, **hidden)
            picked.success(self._video, [source, kind], outputs, **settings)
        # Not by `cancels`: late output of the cancelled run could arrive afterwards and hide the cancellation.
        cancel.click(self._cancel, None, cancel, **hidden)

    def _files(self, name: str) -> Any:
        return gr.Files(label="Files", interactive=False, elem_id=f"{name}-files", elem_classes="results")

    def _examples(self, pattern: str) -> list[Path]:
        """Copy the existing examples into the folder of the page."""
        copies = []
        for path in sorted((data_folder() / "examples/inputs").glob(pattern)):
            (self._folder / EXAMPLES).mkdir(exist_ok=True)
            copies.append(Path(shutil.copy(path, self._folder / EXAMPLES)))
        return copies

    def _dataset(self, component: Any, examples: list[Path], name: str) -> Any:
        if not examples:
            return None
        return gr.Dataset(
            components=[component(render=False)], samples=[[str(path)] for path in examples], type="index",
            label="Examples", elem_id=f"{name}-examples",
        )  # fmt: skip

    def _photo(self, upload: str | None, kinds: list[str], newest: Newest, page: str | None) -> tuple[Any, ...]:
        started = newest.start(page, upload)
        reason = ""
        try:
            with _as_errors():
                result = photo(self._engine, self._own(upload, "photo"), kinds, self._folder)
        except gr.Error as error:
            reason = error.message
        if not newest.finish(page, started):
            return (gr.skip(),) * 5  # the page shows another photo by now
        if reason:
            # not raised, because gradio would keep the results of the previous photo
            gr.Warning(reason, title="Error")
            return _no_photo(note(reason))
        images = [(str(path), name) for path, name in result.images]
        mesh = None if result.mesh is None else str(result.mesh)
        files = [str(path) for path in result.files] or None
        return (
            gr.Gallery(images, selected_index=_first(images)), mesh, faces_table(result.faces), files,
            shape_bars(result.faces),
        )  # fmt: skip

    def _cancel(self, request: gr.Request) -> Any:
        cancelled = self._cancelled.get(request.session_hash)
        if cancelled is not None:
            cancelled.set()
        return gr.Button(interactive=False)

    def _video(self, upload: str | None, kind: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        cancelled = threading.Event()
        with _as_errors():
            if self._cancelled.setdefault(request.session_hash, cancelled) is not cancelled:
                raise PageError(_RUNS)
        try:
            with _as_errors(), self._line.place() as before:
                yield (*_no_video(progress_bar("Reading the video.", 0, None)), *_buttons(running=True))
                yield from self._tracked(self._own(upload, "video"), kind, before, cancelled)
        except gr.Error as error:
            yield (*_no_video(f"<p>{error.message}</p>"), *_buttons(running=False))
            raise
        finally:
            del self._cancelled[request.session_hash]

    def _tracked(
        self, upload: Path, kind: str, before: Callable[[], int], cancelled: threading.Event
    ) -> Iterator[tuple[Any, ...]]:
        """Yield what the page shows of a video, from the wait for those before it to its files."""
        while (count := before()) and not cancelled.is_set():
            yield (progress_bar(f"Waiting: {count_of(count, 'video')} before this one.", 0, None), *[gr.skip()] * 5)
            keep(self._folder, upload)
            cancelled.wait(_POLL_SECONDS)
        if not cancelled.is_set():
            with closing(video_steps(self._engine, upload, kind, self._folder)) as steps:
                shown = -1
                for step in steps:  # to the end, because only then the files stay
                    percent = _UPDATES * step.done // max(step.total or step.done, 1)
                    if cancelled.is_set():
                        break
                    if step.files:
                        text = f"{count_of(step.done, 'frame')}, {count_of(len(step.tracks), 'track')}."
                        yield (
                            progress_bar(text, 1, 1), str(step.files[0]), tracks_table(step.tracks, step.done),
                            [str(path) for path in step.files], *_buttons(running=False),
                        )  # fmt: skip
                    elif percent != shown:
                        shown = percent
                        of = "" if step.total is None else f" of {step.total}"
                        text = f"Frame {step.done}{of}, faces: {step.faces}."
                        yield (progress_bar(text, step.done, step.total), *[gr.skip()] * 5)
                else:
                    return
        yield (*_no_video("<p>Cancelled.</p>"), *_buttons(running=False))

    def _own(self, upload: str | None, what: str) -> Path:
        if upload is None:
            raise PageError(f"Choose a {what} first.")
        if not is_inside(self._folder, upload):
            raise PageError("Upload the file to this page.")
        return Path(upload)


def _path_of(payload: Any) -> str | None:
    return None if payload is None else payload.path


def _no_photo(text: str = "") -> tuple[Any, ...]:
    """The results of a photo, all empty, with a text in the place of its table."""
    return None, None, text, None, ""


def _no_video(text: str = "") -> tuple[Any, ...]:
    """The results of a video, all empty, below a text."""
    return text, None, "", None


def _first(images: list[tuple[str, str]]) -> int | None:
    """Index of the image that is shown first: the surface, which is the clearest at the size of a page."""
    names = [name for _, name in images]
    return names.index("3d") if "3d" in names else 0 if names else None


def _buttons(*, running: bool) -> tuple[Any, Any]:
    """The buttons that start and cancel a video."""
    return gr.Button(interactive=not running), gr.Button(interactive=running)


@contextmanager
def _as_errors() -> Iterator[None]:
    """Show an error in the page, in one sentence."""
    try:
        yield
    except PageError as error:
        raise gr.Error(html.escape(str(error)), print_exception=False) from error
    except Exception as error:
        _LOG.exception("the page could not process an upload")
        reason = "This did not work; the log of the service has the reason."
        raise gr.Error(reason, print_exception=False) from error
