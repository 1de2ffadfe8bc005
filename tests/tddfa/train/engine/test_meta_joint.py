import pytest

torch = pytest.importorskip("torch")

from tddfa.train.engine.meta_joint import look_ahead  # noqa: E402


class Point(torch.nn.Module):
    """A parameter, and a buffer that counts."""

    def __init__(self):
        super().__init__()
        self.at = torch.nn.Parameter(torch.tensor([4.0, 0.0]))
        self.register_buffer("seen", torch.tensor(0))


def right(point):
    def loss(batch):
        point.seen += 1
        return batch * point.at[0] ** 2

    return loss


def wrong(point):
    def loss(batch):
        point.seen += 1
        return batch * (point.at[1] - 5) ** 2

    return loss


def setup(**objectives):
    point = Point()
    optimizer = torch.optim.AdamW(point.parameters(), lr=0.5)
    made = {name: function(point) for name, function in objectives.items()}
    return point, optimizer, made, lambda: float(point.at.detach().norm())


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_the_better_objective_is_followed_whichever_comes_first(order):
    functions = {"good": right, "bad": wrong}
    point, optimizer, objectives, judge = setup(**{name: functions[name] for name in order})
    winner, errors = look_ahead(point, optimizer, objectives, [1.0, 1.0, 1.0], judge)
    assert winner == "good"
    assert errors["good"] < 4 < errors["bad"]
    assert judge() == pytest.approx(errors["good"])
    assert int(point.seen) == 3, "buffers are those of the winner's steps alone"


def test_it_ends_where_three_plain_steps_end():
    point, optimizer, objectives, judge = setup(bad=wrong, good=right)
    look_ahead(point, optimizer, objectives, [1.0, 2.0, 3.0], judge)
    other, plain, functions, _ = setup(good=right)
    for batch in (1.0, 2.0, 3.0):
        plain.zero_grad()
        functions["good"](batch).backward()
        plain.step()
    assert torch.equal(point.at, other.at)
    # the optimiser's moments too: the next step is the same
    for each, opt in ((point, optimizer), (other, plain)):
        opt.zero_grad()
        right(each)(1.0).backward()
        opt.step()
    assert torch.equal(point.at, other.at)


def test_an_error_that_is_nan_never_wins():
    point, optimizer, objectives, _ = setup(first=right, second=wrong)
    errors = iter([float("nan"), 7.0])
    winner, _ = look_ahead(point, optimizer, objectives, [1.0], lambda: next(errors))
    assert winner == "second"


def test_nan_for_all_is_an_error_and_changes_nothing():
    point, optimizer, objectives, _ = setup(first=right)
    with pytest.raises(ValueError, match="got NaN for first"):
        look_ahead(point, optimizer, objectives, [1.0], lambda: float("nan"))
    assert point.at.tolist() == [4, 0]


def test_no_objectives_are_refused():
    point, optimizer, _, judge = setup()
    with pytest.raises(ValueError, match="objectives: expected at least one"):
        look_ahead(point, optimizer, {}, [1.0], judge)


def test_gradients_can_be_clipped():
    point, optimizer, objectives, judge = setup(good=right)
    seen = []
    look_ahead(point, optimizer, objectives, [1.0, 1.0], judge, lambda: seen.append(float(point.at.grad.norm())))
    assert len(seen) == 2 and seen[0] == 8
