"""3DDFA_V2's networks and files in plain NumPy, from their descriptions: what the converted ones are compared with."""

from __future__ import annotations

import io
import struct
import zipfile

import cv2
import numpy as np

BLOCKS = [("dw2_1", 1), ("dw2_2", 2), ("dw3_1", 1), ("dw3_2", 2), ("dw4_1", 1), ("dw4_2", 2)]
BLOCKS += [(f"dw5_{i}", 1) for i in range(1, 6)] + [("dw5_6", 2), ("dw6", 1)]


def convolve(x, weight, bias=None, stride=1):
    """Convolution (c, h, w) -> (k, h', w') with a border of zeros of half the kernel; float64."""
    side = weight.shape[-1]
    x = np.pad(x, [(0, 0)] + 2 * [(side // 2, side // 2)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))[:, ::stride, ::stride]
    _, h, w = windows.shape[:3]
    columns = windows.transpose(0, 3, 4, 1, 2).reshape(-1, h * w)
    y = (weight.reshape(len(weight), -1).astype(np.float64) @ columns).reshape(-1, h, w)
    return y if bias is None else y + bias[:, None, None]


def convolve_each(x, weight, stride):
    """Depthwise convolution with 3x3 kernels (c, 1, 3, 3)."""
    x = np.pad(x, [(0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("chwij,cij->chw", windows, weight[:, 0].astype(np.float64))


def normalize(state, name, x):
    gamma, beta, mean, variance = (
        state[f"{name}.{part}"].astype(np.float64)[:, None, None]
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def relu(x):
    return np.maximum(x, 0)


def pool(x, stride, reduce, border):
    x = np.pad(x, [(0, 0), (1, 1), (1, 1)], constant_values=border)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::stride, ::stride]
    return reduce(windows, axis=(3, 4))


def mobilenet(state, crop):
    """The 62 whitened numbers of a crop (120, 120, 3) uint8."""
    x = (crop.astype(np.float64).transpose(2, 0, 1) - 127.5) / 128
    x = relu(normalize(state, "bn1", convolve(x, state["conv1.weight"], stride=2)))
    for block, stride in BLOCKS:
        x = relu(normalize(state, f"{block}.bn_dw", convolve_each(x, state[f"{block}.conv_dw.weight"], stride)))
        x = relu(normalize(state, f"{block}.bn_sep", convolve(x, state[f"{block}.conv_sep.weight"])))
    return state["fc_param.weight"].astype(np.float64) @ x.mean(axis=(1, 2)) + state["fc_param.bias"]


def faceboxes(state, image):
    """Scores (n,) and offsets (n, 4) of an image (h, w, 3) uint8."""

    def block(name, x, stride=1):
        return normalize(state, f"{name}.bn", convolve(x, state[f"{name}.conv.weight"], stride=stride))

    def both_signs(x):
        return relu(np.concatenate([x, -x]))

    x = (image.astype(np.float64) - (104, 117, 123)).transpose(2, 0, 1)
    x = pool(both_signs(block("conv1", x, 4)), 2, np.max, -np.inf)
    x = pool(both_signs(block("conv2", x, 2)), 2, np.max, -np.inf)
    for i in (1, 2, 3):
        branch = f"inception{i}.branch"
        one = relu(block(f"{branch}1x1", x))
        two = relu(block(f"{branch}1x1_2", pool(x, 1, np.mean, 0.0)))
        three = relu(block(f"{branch}3x3", relu(block(f"{branch}3x3_reduce", x))))
        four = relu(block(f"{branch}3x3_2", relu(block(f"{branch}3x3_reduce_2", x))))
        x = np.concatenate([one, two, three, relu(block(f"{branch}3x3_3", four))])
    maps = [x]
    for i in (3, 4):
        x = relu(block(f"conv{i}_2", relu(block(f"conv{i}_1", x)), 2))
        maps.append(x)
    scores, offsets = [], []
    for i, x in enumerate(maps):
        place = convolve(x, state[f"loc.{i}.weight"], state[f"loc.{i}.bias"]).transpose(1, 2, 0).reshape(-1, 4)
        kind = convolve(x, state[f"conf.{i}.weight"], state[f"conf.{i}.bias"]).transpose(1, 2, 0).reshape(-1, 2)
        kind = np.exp(kind - kind.max(axis=1, keepdims=True))
        scores.append(kind[:, 1] / kind.sum(axis=1))
        offsets.append(place)
    return np.concatenate(scores), np.concatenate(offsets)


def prior_boxes(height, width):
    """Centre x, centre y, side, as a loop."""
    boxes = []
    for step, sizes in ((32, (32, 64, 128)), (64, (256,)), (128, (512,))):
        for i in range(-(-height // step)):
            for j in range(-(-width // step)):
                for size in sizes:
                    dense = {32: 4, 64: 2}.get(size, 1)
                    at = [k / dense for k in range(dense)] if dense > 1 else [0.5]
                    boxes += [((j + x) * step, (i + y) * step, size) for y in at for x in at]
    return np.array(boxes, dtype=np.float64)


def detect(state, image):
    """Rows x1, y1, x2, y2, score, as behaviour.md says."""
    height, width = image.shape[:2]
    scale = min(1.0, 720 / height)
    scale = min(scale, 1080 / width)
    small = image
    if scale < 1:
        small = cv2.resize(image, (int(scale * width), int(scale * height)), interpolation=cv2.INTER_LINEAR)
    scores, offsets = faceboxes(state, small)
    prior = prior_boxes(*small.shape[:2])
    center = prior[:, :2] + offsets[:, :2] * 0.1 * prior[:, 2:]
    size = prior[:, 2:] * np.exp(offsets[:, 2:] * 0.2)
    boxes = np.concatenate([center - size / 2, center + size / 2], axis=1) / scale
    keep = np.flatnonzero(scores > 0.05)
    order = keep[np.argsort(-scores[keep], kind="stable")][:5000]
    area = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.maximum(high - low + 1, 0).prod(axis=1)
        order = order[common / (area[best] + area[order] - common) < 0.3]
    kept = [k for k in kept[:750] if scores[k] > 0.5]
    return np.column_stack([boxes[kept], scores[kept]])


def square_of_box(box):
    """Left, top, right, bottom."""
    x1, y1, x2, y2 = (float(v) for v in box[:4])
    old = (x2 - x1 + y2 - y1) / 2
    x, y, side = (x1 + x2) / 2, (y1 + y2) / 2 + 0.14 * old, int(1.58 * old)
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def square_of_landmarks(points):
    low, high = np.asarray(points, np.float64).min(axis=0), np.asarray(points, np.float64).max(axis=0)
    (x, y), side = (low + high) / 2, np.sqrt(2) * (high - low).max()
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def crop_at(image, square):
    left, top, right, bottom = (round(v) for v in square)
    height, width = image.shape[:2]
    crop = np.zeros((bottom - top, right - left, 3), np.uint8)
    y, x = np.mgrid[top:bottom, left:right]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    crop[inside] = image[y[inside], x[inside]]
    return cv2.resize(crop, (120, 120), interpolation=cv2.INTER_LINEAR)


def reconstruct(param, square, bases, rows=None):
    """Points (n, 3), as ../shared/upstream/README.md says; z not shifted."""
    param = np.asarray(param, np.float64)
    matrix, coefficients = param[:12].reshape(3, 4), param[12:]
    basis = np.concatenate([bases["w_shp"], bases["w_exp"]], axis=1)
    mean = bases["u"].reshape(-1)
    if rows is not None:
        basis, mean = basis[rows], mean[rows]
    points = (mean + basis.astype(np.float64) @ coefficients).reshape(-1, 3) @ matrix[:, :3].T + matrix[:, 3]
    left, top, right, _ = square
    scale = (right - left) / 120
    x, y, z = points.T
    return np.column_stack([(x - 1) * scale + left, (120 - y) * scale + top, (z - 1) * scale])


# Files, without torch ------------------------------------------------------------------------------------------------


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(values):
    return b"(" + b"".join(number(v) for v in values) + b"t"


def tensor(key, shape, storage="FloatStorage", count=None, strides=None, offset=0, module="torch"):
    """Instructions that make a tensor, as torch writes them."""
    if strides is None:
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    count = int(np.prod(shape)) if count is None else count
    described = b"(" + text("storage") + f"c{module}\n{storage}\n".encode() + text(key) + text("cpu")
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + described + number(count) + b"tQ" + number(offset)
        + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def pickled(body):
    return b"\x80\x02" + body + b"."


def pickled_dict(items):
    return pickled(b"}(" + b"".join(text(key) + value for key, value in items.items()) + b"u")


def zip_file(body, storages, **entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", body)
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def old_file(body, storages, itemsize=4):
    magic = pickled(b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19")
    system = pickled_dict({"little_endian": b"\x88"})
    keys = pickled(b"](" + b"".join(text(key) for key in storages) + b"e")
    data = b"".join(struct.pack("<q", len(data) // itemsize) + data for data in storages.values())
    return magic + pickled(b"M\xe9\x03") + system + body + keys + data


def torch_file(state, layout=zip_file, prefix="module."):
    """A ``.pth`` of named float32 arrays."""
    items = {prefix + name: tensor(str(i), array.shape) for i, (name, array) in enumerate(state.items())}
    storages = {str(i): array.astype("<f4").tobytes() for i, array in enumerate(state.values())}
    body = pickled(b"}(" + text("epoch") + number(3) + text("state_dict") + pickled_dict(items)[2:-1] + b"u")
    return layout(body, storages)
