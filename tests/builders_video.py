"""Videos made by hand, for the tests of `tddfa.video`."""

import threading
from fractions import Fraction

import av
import numpy as np

RATE = 44100
VARYING = [0.0, 0.04, 0.05, 0.2, 0.201, 0.7, 0.75, 1.1, 1.15, 1.2, 2.0, 2.033]


class Stop(BaseException):
    """Not an Exception, like KeyboardInterrupt."""


def moving_square(i, width=96, height=64):
    """A square that moves over a colour gradient; its position encodes the index."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 90)], axis=-1).astype(np.uint8)
    left = 4 + (2 * i) % (width - 24)
    image[20:36, left : left + 16] = (30, 60, 230)
    return image


def square_left(image):
    """Left edge of the square of `moving_square`."""
    row = image[28].astype(int)
    return int(np.argmax((row[:, 2] > 150) & (row[:, 0] < 140)))


def sine(count, channels=1):
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(count) / RATE)
    return np.tile(wave.astype(np.float32), (channels, 1))


def make_video(
    path,
    count=48,
    times=None,
    size=(96, 64),
    codec="libx264",
    sound=None,
    container=None,
    gop=12,
    seconds=None,
    aspect=None,
):
    """Encode a video with PyAV alone; `sound` is a codec, `aspect` the ratio of a pixel's width to its height."""
    times = [i / 24 for i in range(count)] if times is None else times
    with av.open(str(path), "w", format=container) as output:
        options = {"crf": "8", "preset": "ultrafast", "g": str(gop)} if codec == "libx264" else {"qscale": "1"}
        stream = output.add_stream(codec, rate=24, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        stream.codec_context.time_base = base = Fraction(1, 24 if codec != "libx264" else 24000)
        if sound:
            track = output.add_stream(sound, rate=RATE)
            track.layout = "mono"
        for i, t in enumerate(times):
            frame = av.VideoFrame.from_ndarray(moving_square(i, *size), format="bgr24")
            frame.pts, frame.time_base = round(t / base), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound:
            wave = sine(round(RATE * (seconds or times[-1] + 1 / 24)))
            for at in range(0, wave.shape[1], 1024):
                piece = wave[:, at : at + 1024]
                if sound == "pcm_s16le":
                    frame = av.AudioFrame.from_ndarray((piece * 32767).astype(np.int16), format="s16", layout="mono")
                else:
                    frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                output.mux(track.encode(frame))
            output.mux(track.encode(None))
    return path


def packets(path, kind="audio"):
    with av.open(str(path)) as container:
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(**{kind: 0}) if p.size]


def decoded_sound(path):
    """Start time and samples of the sound."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(audio=0))
    return float(decoded[0].time), np.concatenate([frame.to_ndarray()[0] for frame in decoded])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def threads():
    """Of videos: other tests of the process may have left a service's."""
    return {thread for thread in threading.enumerate() if thread.name in ("tddfa-threaded", "tddfa-live")}


def damaged(source, path, first=0.35, last=0.45):
    data = bytearray(source.read_bytes())
    at = data.find(b"mdat") + 4
    length = int.from_bytes(data[at - 8 : at - 4], "big") - 8
    noise = np.random.default_rng(3).integers(0, 256, int(length * (last - first)), dtype=np.uint8)
    data[at + int(length * first) : at + int(length * first) + len(noise)] = noise.tobytes()
    path.write_bytes(data)
    return path


def flat_video(path, planes, pix_fmt, aspect=None, **tags):
    """Encode one frame without loss, with pixels of `aspect`.

    `planes` is an array (h, w, 3) of Y, Cb and Cr, even in height and width; `tags` are attributes of the codec.
    """
    height, width = planes.shape[:2]
    values = planes.astype(np.uint16 if pix_fmt.endswith("le") else np.uint8)
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, part in zip(frame.planes, (values[..., 0], values[::2, ::2, 1], values[::2, ::2, 2]), strict=True):
        rows = np.zeros((plane.height, plane.line_size // values.itemsize), values.dtype)
        rows[:, : plane.width] = part
        plane.update(rows.tobytes())
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        frame.pts, frame.time_base = 0, Fraction(1, 24)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path
