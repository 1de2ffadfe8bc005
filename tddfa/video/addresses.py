"""Which addresses FFmpeg may open: files by their path, and the protocols of videos; a playlist keeps to its own."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from tddfa.video.frame import VideoError

_WEB = "http,https,httpproxy,tcp,tls,crypto"
_PROTOCOLS = {
    "http": _WEB,
    "https": _WEB,
    "rtsp": "rtsp,rtp,srtp,udp,tcp,tls",
    "rtsps": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
    "rtmp": "rtmp,tcp",
    "rtmps": "rtmps,tls,tcp",
}
SCHEMES = tuple(_PROTOCOLS)
"""Schemes of the URLs that are opened; a ``file://`` URL is read as the path that it names."""


class Address(NamedTuple):
    """What FFmpeg opens.

    Attributes
    ----------
    url : str
        With a protocol, so that no name of a file is taken for one.
    name : str
        For messages: without a password.
    remote : bool
        Whether it is not a file.
    options : dict of str to str
        Protocols that may be opened, also by what the file refers to.
    """

    url: str
    name: str
    remote: bool
    options: dict[str, str]


def address_of(source: str) -> Address:
    """Return the address of a path or a URL.

    Raises
    ------
    VideoError
        If it is a URL of another scheme than `SCHEMES` and ``file``.

    Examples
    --------
    >>> from tddfa.video.addresses import address_of
    >>> address_of("a:b.mp4").url, address_of("https://me:secret@host/a.mp4").name
    ('file:a:b.mp4', 'https://host/a.mp4')
    """
    path = file_path(source)
    if path is not None:
        return Address(f"file:{path}", path, False, {"protocol_whitelist": "file,crypto"})
    scheme = source.partition("://")[0].lower()
    name = re.sub(r"//[^/@]*@", "//", source)
    if scheme not in _PROTOCOLS:
        raise VideoError(f"{name}: expected a path, or a URL that begins with {', '.join(SCHEMES)}, got {scheme}")
    options = {"protocol_whitelist": _PROTOCOLS[scheme]}
    if scheme.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    return Address(source, name, True, options)


def file_path(source: str) -> str | None:
    """Return the path of a file, also of a ``file://`` URL; None for other URLs."""
    if "://" not in source:
        return source
    return unquote(urlsplit(source).path) if source.lower().startswith("file://") else None
