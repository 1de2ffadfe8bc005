import cv2
import numpy as np
import pytest

from tddfa.datasets.boxes import load_folder, load_voc, load_wider, read_voc


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))
    return path


def annotation(*objects, head=""):
    body = "".join(
        f"<object><name>face</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for x1, y1, x2, y2, difficult in objects
    )
    return f"{head}<annotation><filename>x.jpg</filename>{body}</annotation>"


def test_folder_of_lines(tmp_path):
    for name, text in (("b", "1 2 3 4\n\n5.5 6 7 8 0.9\n"), ("a", ""), ("lonely", "1 2 3 4")):
        (tmp_path / f"{name}.txt").write_text(text)
        if name != "lonely":
            write_image(tmp_path / f"{name}.jpg")
    first, second = load_folder(tmp_path)
    assert first.path.name == "a.jpg"
    assert first.xyxy.shape == (0, 4)
    assert second.xyxy.tolist() == [[1, 2, 3, 4], [5.5, 6, 7, 8]]
    assert second.ignored.tolist() == [False, False]


@pytest.mark.parametrize("text", ["1 2 3", "1 2 3 four", "1 2 nan 4", "30 20 10 40", "30 20 40 20"])
def test_damaged_lines_are_named(tmp_path, text):
    (tmp_path / "a.txt").write_text(f"1 2 3 4\n{text}\n")
    write_image(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.txt, line 2: expected 'x1 y1 x2 y2'"):
        load_folder(tmp_path)


def test_a_missing_folder_is_empty(tmp_path):
    assert load_folder(tmp_path / "none") == load_voc(tmp_path) == load_wider(tmp_path) == []


@pytest.mark.parametrize("folder", ["", "voc"])
@pytest.mark.parametrize(("images", "labels"), [("JPEGImages", "Annotations"), ("images", "annotations")])
def test_voc(tmp_path, folder, images, labels):
    root = tmp_path / folder
    write_image(root / images / "x.png")
    (root / labels).mkdir(parents=True)
    (root / labels / "x.xml").write_text(annotation((1, 2, 30, 40, 0), (5, 6, 7, 8, 1)))
    (actual,) = load_voc(tmp_path)
    assert actual.path == root / images / "x.png"
    assert actual.xyxy.tolist() == [[1, 2, 30, 40], [5, 6, 7, 8]]
    assert actual.ignored.tolist() == [False, True]


def test_voc_with_suffixes_in_upper_case(tmp_path):
    write_image(tmp_path / "JPEGImages/x.png").rename(tmp_path / "JPEGImages/x.JPG")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/x.xml").write_text(annotation((1, 2, 30, 40, 0)))
    assert [image.path.name for image in load_voc(tmp_path)] == ["x.JPG"]


def test_folder_of_voc_annotations(tmp_path):
    write_image(tmp_path / "x.jpg")
    (tmp_path / "x.xml").write_text(annotation((1, 2, 30, 40, 0)))
    assert load_folder(tmp_path)[0].xyxy.tolist() == [[1, 2, 30, 40]]


LAUGHS = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;&x;">]>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (annotation((1, 2, 3, 4, 0), head=LAUGHS), "document type"),
        (annotation(head='<!DOCTYPE a SYSTEM "file:///etc/passwd">'), "document type"),
        (annotation((1, 2, "", 4, 0)), "could not convert"),
        (annotation((1, 2, "inf", 4, 0)), "bndbox"),
        ("<annotation><object></object></annotation>", "bndbox"),
        ("<annotation>", "not an annotation"),
        ("", "not an annotation"),
        ("\0\1", "not an annotation"),
    ],
)
def test_xml_that_is_refused(tmp_path, text, message):
    label = tmp_path / "x.xml"
    label.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_voc(label, tmp_path / "x.jpg")
    assert str(label) in str(caught.value)


def test_the_message_quotes_little_of_a_long_number(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(annotation(("9" * 5000, 0, 5, 5, 0)))
    with pytest.raises(ValueError, match=r"a\.xml: .*object 1: expected a bndbox .*, got \['999") as caught:
        read_voc(path, tmp_path / "a.jpg")
    assert len(str(caught.value)) < 1000


def test_xml_that_is_too_large(tmp_path):
    label = tmp_path / "x.xml"
    label.write_text(annotation() + " " * (1 << 21))
    with pytest.raises(ValueError, match="at most"):
        read_voc(label, tmp_path / "x.jpg")


@pytest.fixture
def list_of(tmp_path):
    def write(text):
        label = tmp_path / "wider_face_split/wider_face_val_bbx_gt.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(text)
        for name in ("0--Parade/a.jpg", "1--Crowd/b.jpg"):
            write_image(tmp_path / "WIDER_val/images" / name)
        return load_wider(tmp_path)

    return write


def test_wider(list_of):
    actual = list_of(
        "0--Parade/a.jpg\n2\n10 20 30 40 0 0 0 0 0 0 \n1 2 3 4 2 0 0 1 0 0\n"
        "0--Parade/not there.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n"
        "1--Crowd/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n"
    )
    assert [boxes.path.name for boxes in actual] == ["a.jpg", "b.jpg"]
    assert actual[0].xyxy.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]]
    assert actual[0].ignored.tolist() == [False, True]
    assert actual[1].xyxy.shape == (0, 4)


def test_wider_boxes_without_a_size_are_dropped(list_of):
    assert list_of("0--Parade/a.jpg\n2\n1 2 0 4 0 0 0 0 0 0\n1 2 3 4 0 0 0 0 0 0\n")[0].xyxy.tolist() == [[1, 2, 4, 6]]


def test_wider_image_without_the_line_of_zeros(list_of):
    actual = list_of("0--Parade/a.jpg\n0\n1--Crowd/b.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n")
    assert [len(boxes.xyxy) for boxes in actual] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("../../secret.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n", "line 1: expected the name of an image"),
        ("/etc/passwd\n1\n", "line 1"),
        ("a.jpg\nmany\n", "line 2: expected the number of faces"),
        ("a.jpg\n" + "9" * 5000 + "\n", "line 2: expected the number of faces, got .9{80}.$"),
        ("a.jpg\n", "line 2"),
        ("a.jpg\n99999999\n", "line 2"),
        ("a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "line 4: expected 10 numbers"),
        ("a.jpg\n1\n1 2 3 4\n", "line 3: expected 10 numbers"),
    ],
)
def test_damaged_lists_are_named(list_of, text, message):
    with pytest.raises(ValueError, match=message):
        list_of(text)
