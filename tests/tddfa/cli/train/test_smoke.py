import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from tddfa.cli import main  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
def test_a_network_trained_on_rendered_heads_aligns_others(tmp_path, capsys):
    # the status is 0 if the loss fell and the exported network aligns held-out heads better than at the start
    assert main(["train", "regressor", "--smoke", "--out", str(tmp_path)]) == 0
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in logged if line["part"] == "train"]
    assert losses[-1] < 0.8 * losses[0]
    printed = capsys.readouterr().out.split("NME of held-out heads ")[1]
    before, after = (float(text.split("%")[0]) for text in printed.split(" -> "))
    assert after < 0.8 * before


@pytest.mark.slow
def test_a_score_trained_on_rendered_heads_tells_right_from_wrong(tmp_path, capsys):
    # the status is 0 if the loss fell, the score is right on other heads, and the landmarks stayed
    assert main(["train", "score", "--smoke", "--out", str(tmp_path)]) == 0
    assert "other outputs equal to the bit" in capsys.readouterr().out
    assert (tmp_path / "regressor.onnx").is_file()
