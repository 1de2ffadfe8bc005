"""The routes under ``/v1``: health, models, the faces of an image, and images with the faces drawn."""

# no `from __future__ import annotations`: FastAPI reads the annotations of functions inside a function

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from pydantic import TypeAdapter

from tddfa._shared import image_io
from tddfa.aligner import Aligner
from tddfa.draw import Background, Style
from tddfa.geometry.intrinsics import Intrinsics
from tddfa.model.catalogue import model_cards
from tddfa.outputs import KINDS, Options, Outputs, image_kinds
from tddfa.outputs.options import PoseStyle
from tddfa.serve.answers import FACE_KEYS, Faces, Health, Loaded, Models, Problem
from tddfa.serve.engine import NAME, BusyError, Engine, LateError
from tddfa.serve.media import GLB, JPEG, JSON, NPZ, PNG, best_type
from tddfa.serve.uploads import BODY, upload
from tddfa.tracking.records import Recorder
from tddfa.types import SCHEMA
from tddfa.video import Frame

_FACES = TypeAdapter(Faces)
_DENSE_KEYS = {"visible", "six_dof"}
_STATUSES = {
    400: "Not an image, or a damaged one",
    401: "The key is missing or wrong",
    406: "Accept asks for another type of content",
    413: "Too many bytes or pixels",
    415: "Another type of content",
    422: "An option is wrong",
    503: "Too many requests in flight; Retry-After tells when to try again",
    504: "The upload or the work takes too long",
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_SUFFIXES = {JPEG: ".jpg", PNG: ".png"}

Fov = Annotated[float | None, Query(ge=1, le=179, description="Horizontal angle of view of the camera, degrees.")]


def routes(engine: Engine) -> APIRouter:
    """Return the routes for one engine.

    Examples
    --------
    >>> from tddfa.serve.engine import Engine
    >>> from tddfa.serve.routes import routes
    >>> [route.path for route in routes(Engine(aligner)).routes]
    ['/v1/health', '/v1/models', '/v1/faces', '/v1/draw/{kind}']
    """
    router = APIRouter(prefix="/v1")
    kinds = [name for name, kind in image_kinds().items() if kind.missing(engine.aligner) is None]

    @router.get("/health", summary="Whether the service runs")
    async def health() -> Health:
        return {"status": "ok"}

    @router.get("/models", summary="The loaded model, and all models that have a name", responses=problems(401))
    async def models() -> Models:
        return {"loaded": _loaded(engine.aligner, kinds), "models": list(model_cards().values())}

    @router.post(
        "/faces",
        summary="The faces of an image",
        responses={
            200: {
                "model": Faces,
                "description": "JSON, arrays with a row per face (npz), or the heads (glb), as Accept selects.",
                "content": {NPZ: _BINARY, GLB: _BINARY},
            },
            **problems(*_STATUSES),
        },
        openapi_extra={"requestBody": BODY},
        response_class=Response,
    )
    async def faces(
        request: Request,
        dense: Annotated[bool, Query(description="Compute `visible` and `six_dof`.")] = True,
        fov: Fov = None,
        outputs: Annotated[
            str | None, Query(description="Keys of a face, with commas between them.", json_schema_extra=_KEYS)
        ] = None,
    ) -> Response:
        _no_other_options(request, ("dense", "fov", "outputs"))
        keys = None if outputs is None else _face_keys(outputs)
        media = _accepted(request, (JSON, NPZ, GLB))
        given = [name for name in ("outputs", "dense", "fov") if name in request.query_params]
        if media != JSON and given:
            raise HTTPException(422, f"{given[0]}: expected Accept: {JSON} with it, got {media}")
        if keys is not None:
            dense = dense and not _DENSE_KEYS.isdisjoint(keys)

        def make(found: Outputs) -> bytes:
            if media == JSON:
                return _json(found, dense, keys)
            with _no_such_output(media):
                return _file(found, _npz) if media == NPZ else _file(found, _glb)

        return await _answer(engine, request, make, media, Options(), fov)

    @router.post(
        "/draw/{kind}",
        summary="An image with its faces drawn",
        responses={
            200: {"description": "The image, as Accept selects.", "content": {JPEG: _BINARY, PNG: _BINARY}},
            **problems(*_STATUSES),
        },
        openapi_extra={"requestBody": BODY},
        response_class=Response,
    )
    async def draw(
        request: Request,
        kind: Annotated[str, InPath(description="See GET /v1/models.", json_schema_extra={"enum": kinds})],
        background: Annotated[Background, Query(description="What a surface is drawn over.")] = "image",
        alpha: Annotated[float | None, Query(ge=0, le=1, description="Opacity of a drawn surface.")] = None,
        style: Annotated[Style, Query(description="Style of the kind 3d.")] = "paper",
        pose_style: Annotated[PoseStyle, Query(description="Style of the kind pose.")] = "box",
        fov: Fov = None,
    ) -> Response:
        if kind not in kinds:
            raise HTTPException(422, f"kind: expected one of {', '.join(kinds)}, got {kind!r}")
        used = image_kinds()[kind].options
        _no_other_options(request, [name for name in _DRAW_OPTIONS if _DRAW_OPTIONS[name] in used], f" of {kind}")
        media = _accepted(request, (JPEG, PNG))

        def make(found: Outputs) -> bytes:
            if not found.faces and not image_kinds()[kind].over_image:
                raise HTTPException(422, f"{NAME}: expected a face for {kind}, got none")
            with _no_such_output(kind):
                return image_io.encode(found.draw(kind), _SUFFIXES[media], kind)

        options = Options(background=background, alpha=alpha, style=style, pose_style=pose_style)
        return await _answer(engine, request, make, media, options, fov)

    return router


_KEYS: dict[str, Any] = {"pattern": "^({0})(,({0}))*$".format("|".join(FACE_KEYS))}
# options of the query -> the field of `Options`, as in `Kind.options`
_DRAW_OPTIONS = {
    "background": "background", "alpha": "alpha", "style": "style", "pose_style": "pose_style", "fov": "intrinsics",
}  # fmt: skip


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI descriptions of answers with these statuses."""
    return {status: {"model": Problem, "description": _STATUSES[status]} for status in statuses}


def _no_other_options(request: Request, known: Sequence[str], of: str = "") -> None:
    unknown = sorted(set(request.query_params) - set(known))
    twice = next((name for name in known if len(request.query_params.getlist(name)) > 1), None)
    if twice is not None:
        raise HTTPException(422, f"{twice}: expected once, got {len(request.query_params.getlist(twice))} of them")
    if unknown:
        raise HTTPException(422, f"{unknown[0]}: unknown option{of}; expected {', '.join(known) or 'none'}")


def _face_keys(text: str) -> list[str]:
    keys = text.split(",")
    unknown = [key for key in keys if key not in FACE_KEYS]
    if unknown:
        raise HTTPException(422, f"outputs: expected {', '.join(FACE_KEYS)}, got {unknown[0]!r}")
    return keys


def _accepted(request: Request, offered: Sequence[str]) -> str:
    media = best_type(",".join(request.headers.getlist("accept")), offered)
    if media is None:
        raise HTTPException(406, f"Accept: expected one of {', '.join(offered)}")
    return media


def _loaded(aligner: Aligner, kinds: list[str]) -> Loaded:
    return {
        "device": aligner.device,
        "precision": aligner.precision,
        "landmark_convention": aligner.decoder.convention,
        "licence": aligner.face_model.licence,
        "kinds": kinds,
    }


async def _answer(
    engine: Engine, request: Request, make: Callable[[Outputs], bytes], media: str, options: Options, fov: float | None
) -> Response:
    """Read the image of a request, align it, and answer with the result of `make` for its faces."""
    try:
        with ExitStack() as place:
            place.enter_context(engine.place())
            data = await upload(request, engine.limits)
            held = place.pop_all()
        content = await engine.run(lambda: make(_outputs(engine, data, options, fov)), held)
    except BusyError as error:
        raise HTTPException(503, str(error), headers={"Retry-After": "1"}) from error
    except LateError as error:
        raise HTTPException(504, str(error)) from error
    except image_io.ImageSizeError as error:
        raise HTTPException(413, str(error)) from error
    except image_io.ImageError as error:
        raise HTTPException(400, str(error)) from error
    return Response(content, media_type=media)


@contextmanager
def _no_such_output(name: str) -> Iterator[None]:
    """Answer 422 if the faces cannot be drawn or saved in this way, for example without a texture."""
    try:
        yield
    except ValueError as error:
        raise HTTPException(422, f"{name}: {error}") from error


def _outputs(engine: Engine, data: bytes, options: Options, fov: float | None) -> Outputs:
    image = engine.image(data)
    if fov is not None:
        options = replace(options, intrinsics=Intrinsics.from_field_of_view(fov, image.shape[:2]))
    return Outputs(image, engine.align(image), engine.aligner, options)


def _json(found: Outputs, dense: bool, keys: Sequence[str] | None) -> bytes:
    """Encode the answer as JSON. `Faces` describes and checks it."""
    height, width = found.image.shape[:2]
    decoder, intrinsics = found.aligner.decoder, found.options.intrinsics
    records = [face.to_dict(decoder, intrinsics, dense=dense) for face in found.faces]
    if keys is not None:
        records = [{key: record[key] for key in keys if key in record} for record in records]
    answer = {
        "schema": SCHEMA,
        "width": width,
        "height": height,
        "precision": found.aligner.precision,
        "faces": records,
    }
    return _FACES.dump_json(_FACES.validate_python(answer))


def _file(found: Outputs, save: Callable[[Outputs, Path], Path]) -> bytes:
    """Return the content of a file that `save` writes into a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="tddfa-serve-") as folder:
        return save(found, Path(folder) / "faces").read_bytes()


def _npz(found: Outputs, stem: Path) -> Path:
    path = stem.with_suffix(".npz")
    with Recorder.open(path) as recorder:
        recorder.add(Frame(found.image, 0, 0.0), found.faces)
    return path


def _glb(found: Outputs, stem: Path) -> Path:
    missing = KINDS["glb"].missing(found.aligner)
    if missing is not None:
        raise HTTPException(406, missing)
    if not found.faces:
        raise HTTPException(422, f"{NAME}: expected a face for {GLB}, got none")
    return found.save("glb", stem)[0]
