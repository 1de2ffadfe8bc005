"""HEIC and AVIF, the image formats of phones: Pillow decodes them (HEIC with a plugin), not every OpenCV does."""

from __future__ import annotations

from tddfa._shared.packages import needs

SUFFIXES = (".avif", ".heic", ".heif", ".hif")
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"}
_COMMON_BRANDS = {b"mif1", b"msf1", b"mif2"}
_MAX_BRANDS_END = 1024
_NEEDS = {"HEIC": "pi-heif", "AVIF": "pillow>=11.3"}


def format_of(data: bytes) -> str | None:
    """``HEIC``, ``AVIF``, or None for any other format, from the first bytes of a file."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4], "big"), _MAX_BRANDS_END)
    main, others = data[8:12], {data[at : at + 4] for at in range(16, end - 3, 4)}
    for brands in ({main}, others if main in _COMMON_BRANDS else set()):
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIC_BRANDS:
            return "HEIC"
    return None


def prepare(kind: str) -> str | None:
    """Enable Pillow to open a format. Return None, or a sentence that names the package to install."""
    if kind == "AVIF":
        from PIL import features

        # Pillow before 11.3 does not know the name
        return None if "avif" in features.modules and features.check_module("avif") else needs(kind, _NEEDS[kind])
    try:
        import pi_heif
    except ImportError:
        return needs(kind, _NEEDS[kind])
    pi_heif.register_heif_opener()
    return None
