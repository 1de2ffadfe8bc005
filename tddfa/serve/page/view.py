"""Pieces of the page: HTML of faces and progress, the styles, the theme."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

STYLE = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#head h1 { margin: 0; font-size: 1.7rem; }
#head p { margin: .25rem 0 0; color: var(--body-text-color-subdued); }
.faces { overflow-x: auto; }
.faces, .shapes { contain: inline-size; }
.faces table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; border: 0; }
.faces table :is(th, td) { padding: .4rem .6rem; text-align: right; white-space: nowrap; border: 0;
  border-bottom: 1px solid var(--border-color-primary); }
.faces table :is(thead, tbody, tr) { border: 0; }
.faces th { font-weight: 600; color: var(--body-text-color-subdued); font-size: .85rem; }
.faces table :is(th, td):first-child { text-align: left; }
.faces .note { margin: .5rem 0 0; color: var(--body-text-color-subdued); font-size: .85rem; }
.shapes details { margin-top: .75rem; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-lg); background: var(--background-fill-primary); }
.shapes summary { padding: .6rem .8rem; font-weight: 600; cursor: pointer; }
.shapes .bars { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(290px, 100%), 1fr));
  gap: .15rem 1.5rem; padding: 0 .8rem .8rem; }
.shapes .bar { display: grid; grid-template-columns: 9.5rem 1fr 2.4rem; align-items: center; gap: .5rem;
  font-size: .82rem; line-height: 1.5; }
.shapes .bar b { font-weight: 400; overflow: hidden; text-overflow: ellipsis; }
.shapes .bar i { height: .55rem; border-radius: .3rem; background: var(--border-color-primary); overflow: hidden; }
.shapes .bar i i { display: block; height: 100%; background: var(--color-accent); }
.shapes .bar s { text-decoration: none; text-align: right; font-variant-numeric: tabular-nums;
  color: var(--body-text-color-subdued); }
.results button.label-clear-button { display: none; }
#video-source .video-container > .wrap { min-height: 0; }
.gradio-container fieldset label:has(:focus-visible) { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.state { min-height: 3.2rem; }
.state p { margin: 0 0 .4rem; }
.state [role=progressbar] { height: .6rem; border-radius: .3rem; background: var(--border-color-primary);
  overflow: hidden; }
.state [role=progressbar] i { display: block; height: 100%; background: var(--color-accent); transition: width .2s; }
@media (max-width: 640px) {
  .gradio-container { padding: .6rem !important; }
  .gradio-container :is(.column, .row > *, .faces) { min-width: 0 !important; max-width: 100%; }
  .faces table :is(th, td) { padding: .35rem .25rem; font-size: .8rem; }
  .faces table.long :is(th, td):last-child { display: none; }
  .shapes .bar { grid-template-columns: 8rem 1fr 2rem; font-size: .78rem; }
  .shapes .bars { padding: 0 .5rem .5rem; }
}
"""

_COLUMNS = ("Face", "Score", "Yaw", "Pitch", "Roll", "Distance", "Size")


def theme() -> gr.themes.Base:
    """Return the theme: the fonts of the visitor's own system, so that none is loaded."""
    fonts = ("system-ui", "-apple-system", "Segoe UI", "sans-serif")
    return gr.themes.Soft(
        primary_hue="teal", secondary_hue="teal", neutral_hue="slate", radius_size="md",
        font=fonts, font_mono=("ui-monospace", "Consolas", "monospace"),
    ).set(
        block_label_background_fill="*background_fill_primary", block_label_text_color="*body_text_color_subdued",
        block_label_text_weight="500", block_title_background_fill="none", block_title_text_color="*body_text_color",
        block_title_padding="0", block_title_text_weight="600",
        block_label_background_fill_dark="*background_fill_primary", block_title_background_fill_dark="none",
        block_border_width="1px", block_shadow="none", block_border_width_dark="1px",
    )  # fmt: skip


def note(text: str) -> str:
    """Return a sentence, which is HTML already, below a table or in its place.

    Examples
    --------
    >>> from tddfa.serve.page.view import note
    >>> note("No face was found.")
    '<p class="note">No face was found.</p>'
    """
    return f'<p class="note">{text}</p>'


def count_of(count: int, name: str) -> str:
    """Return a number with the name of what it counts.

    Examples
    --------
    >>> from tddfa.serve.page.view import count_of
    >>> count_of(1, "track"), count_of(24, "frame")
    ('1 track', '24 frames')
    """
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def faces_table(records: Sequence[dict[str, Any]]) -> str:
    """Return the table of the faces, from the records of `Face.to_dict`.

    Examples
    --------
    >>> from tddfa.serve.page.view import faces_table
    >>> "No face was found." in faces_table([]), faces_table([face.to_dict(aligner.decoder)]).count("°")
    (True, 3)
    """
    if not records:
        return note("No face was found.")
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    rows = "".join(_row(number, record) for number, record in enumerate(records, 1))
    assumed = any(record["six_dof"] and record["six_dof"]["intrinsics"]["assumed"] for record in records)
    legend = "Angles in degrees, relative to the line of sight; size of the box in pixels."
    if assumed:
        legend += " Distances assume a usual lens and a head of average size."
    return f'<table class="long"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note(legend)}'


def _row(number: int, record: dict[str, Any]) -> str:
    pose, six_dof = record["pose"], record["six_dof"]
    left, top, right, bottom = record["box"]
    cells = (
        f"{number}", f"{record['score']:.2f}",
        *(f"{round(pose[name])}°" for name in ("yaw", "pitch", "roll")),
        "–" if six_dof is None else f"{six_dof['translation'][2]:.0f} {html.escape(six_dof['unit'])}",
        f"{right - left:.0f} × {bottom - top:.0f}",
    )  # fmt: skip
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def shape_bars(records: Sequence[dict[str, Any]]) -> str:
    """Return the blendshapes of the faces as bars, the strongest first.

    Examples
    --------
    >>> from tddfa.serve.page.view import shape_bars
    >>> shape_bars([face.to_dict(aligner.decoder)]).count('class="bar"')
    55
    """
    parts = []
    for number, record in enumerate(records, 1):
        if not isinstance(record["expression"], dict):
            continue
        weights = sorted(record["expression"].items(), key=lambda item: -abs(item[1]))
        bars = "".join(_bar(name, weight) for name, weight in weights)
        opened = " open" if number == 1 else ""
        parts.append(
            f'<details{opened}><summary>Blendshapes of face {number}</summary><div class="bars">{bars}</div></details>'
        )
    return "".join(parts)


def _bar(name: str, weight: float) -> str:
    width = min(max(weight, 0.0), 1.0)
    label = html.escape(name)
    return (
        f'<div class="bar"><b title="{label}">{label}</b><i><i style="width:{width:.0%}"></i></i>'
        f"<s>{weight:.2f}</s></div>"
    )


def progress_bar(text: str, done: int, total: int | None) -> str:
    """Return a line of text, and a bar below it.

    Examples
    --------
    >>> from tddfa.serve.page.view import progress_bar
    >>> 'aria-valuenow="25"' in progress_bar("Frame 5 of 20", 5, 20)
    True
    """
    percent = 0 if not total else min(100, 100 * done // total)
    return (
        f'<p>{html.escape(text)}</p><div role="progressbar" aria-label="progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent}"><i style="width:{percent}%"></i></div>'
    )


def tracks_table(tracks: dict[int, int], frames: int) -> str:
    """Return the table of the tracks of a video.

    Examples
    --------
    >>> from tddfa.serve.page.view import tracks_table
    >>> "<td>12 of 20</td>" in tracks_table({0: 12}, 20)
    True
    """
    if not tracks:
        return note("No face was found.")
    rows = "".join(f"<tr><td>{track}</td><td>{count} of {frames}</td></tr>" for track, count in sorted(tracks.items()))
    return f"<table><thead><tr><th>Track</th><th>Frames</th></tr></thead><tbody>{rows}</tbody></table>"
