"""Named expressions move what they name, keep speech readable, and take strengths over time."""

import math

import pytest
import torch

from anitalker.config import EMOTIONS, EXPRESSIONS, POSE_SIZE, InputError, RenderOptions
from anitalker.motion import expressions
from anitalker.motion.expressions import Expressions


@pytest.fixture(scope="module")
def model():
    from anitalker.pipeline import load

    return load("lite", "cpu").model


@pytest.fixture(scope="module")
def named(model) -> Expressions:
    return model.expressions


def distances(model, change) -> dict[str, float]:
    """The distances of all expressions in the average face under a change of its code, in face heights."""
    rest = torch.zeros(1, change.shape[1])
    neutral = model.space.canonical[None]
    landmarks = neutral + (change[0, POSE_SIZE:] @ model.space.directions.T).reshape(1, -1, 3)
    assert change[0, :POSE_SIZE].abs().max() == 0 == rest.abs().max()

    kinds = {**expressions.DISTANCES, "gap": (expressions.LIP_GAP,)}
    return {name: float(expressions.measure(terms, landmarks)) for name, terms in kinds.items()}


def test_names_are_those_of_the_options():
    assert set(expressions.DISTANCES) == set(EXPRESSIONS) and tuple(expressions.EMOTIONS) == EMOTIONS
    assert {name for parts in expressions.EMOTIONS.values() for name in parts} <= set(EXPRESSIONS)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_changes_what_it_names_and_no_lip_gap(model, named, name):
    rest, strong, weak = (distances(model, named.change({name: value})) for value in (0, 1, -0.5))
    wanted = expressions.STRONG * float(named.sizes[named.names.index(name)])
    assert strong[name] - rest[name] == pytest.approx(wanted, rel=0.3)
    assert weak[name] - rest[name] == pytest.approx(-wanted / 2, rel=0.3)
    assert abs(strong["gap"] - rest["gap"]) < (0.1 if name == "jaw_open" else 0.006)


def test_strengths_are_read_from_codes(named):
    for name in EXPRESSIONS:
        strengths = named.read(named.change({name: 0.5}))[0]
        assert float(strengths[list(expressions.DISTANCES).index(name)]) == pytest.approx(0.5, rel=0.15)
    assert named.read(torch.zeros(2, 20)).abs().max() == 0


def test_emotions_are_sums_and_neutral_is_nothing(named):
    assert named.change({"neutral": 1.0}).abs().max() == 0
    half = {name: 0.5 * value for name, value in expressions.EMOTIONS["happy"].items()}
    torch.testing.assert_close(named.change({"happy": 0.5}), named.change(half))
    more = named.change({"happy": 0.5, "smile": 0.2})
    torch.testing.assert_close(more, named.change({**half, "smile": half["smile"] + 0.2}))
    changes = {name: named.change({name: 1.0}) for name in EMOTIONS}
    spread = named.spread.float()
    assert all((change[0, POSE_SIZE:] / spread).norm() < 8 for change in changes.values())


def test_strengths_over_time(named):
    course = named.change({"smile": torch.tensor([0.0, 0.5, 1.0]), "brow_raise": 0.3})
    assert course.shape == (3, 20)
    torch.testing.assert_close(course[2:], named.change({"smile": 1.0, "brow_raise": 0.3}))


def test_shut_lids_and_lips_stay_shut(model, named):
    rest = torch.zeros(1, 20)
    blink = torch.tensor(model.generator.config.blink).reshape(-1, 20)
    shut = blink[blink.abs().sum(1).argmax()][None]
    change = named.change({"surprised": 1.0})

    def lids(code):
        return float(code[0, POSE_SIZE:] @ named._readers[0])

    def gap(code):
        return float(code[0, POSE_SIZE:] @ named._readers[1])

    opened = lids(named.apply(rest, change, rest))
    closed = lids(named.apply(shut, change, rest))
    assert opened > 0.25 * named.opening
    assert closed - lids(shut) < 0.4 * opened
    assert abs(gap(named.apply(rest, change, rest))) < 5e-4  # lips that rest are shut
    speech = torch.zeros(1, 20)
    speech[:, POSE_SIZE:] = named._writers[1] * 0.08
    assert gap(named.apply(speech, change, rest)) > 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"emotion": "merry"}, "emotion is 'merry'; allowed are neutral, happy"),
        ({"emotion": "happy:2"}, "emotion is 2.0; allowed is 0 to 1"),
        ({"emotion": "happy:much"}, "emotion has the strength 'much'"),
        ({"emotion": "happy:nan"}, "emotion is nan"),
        ({"expression": "smile"}, "allowed is NAME=STRENGTH"),
        ({"expression": "smile=.4,wink=1"}, "expression is 'wink'"),
        ({"expression": "smile=-1.5"}, "expression smile is -1.5; allowed is -1 to 1"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(InputError, match=words.replace(".", r"\.")):
        RenderOptions(**options)


def test_options_are_read():
    assert RenderOptions(emotion="sad", expression="smile=.4, brow_raise=-.2").expressions == {
        "sad": 1.0,
        "smile": 0.4,
        "brow_raise": -0.2,
    }
    assert RenderOptions(emotion="happy:0.5").expressions == {"happy": 0.5}
    assert RenderOptions().expressions == {}


def test_an_emotion_takes_the_place_of_the_portrait_s_own_look(model):
    start = torch.zeros(1, 20)
    start[:, POSE_SIZE:] = 0.1
    eyes = start @ model.subspaces.eyes
    held = start.expand(3, -1)
    neutral = model.scale_motion(held, start, RenderOptions(emotion="neutral"))
    torch.testing.assert_close(neutral @ model.subspaces.eyes, torch.zeros(3, 20), atol=2e-3, rtol=0)
    torch.testing.assert_close(neutral @ model.subspaces.lips, held @ model.subspaces.lips, atol=1e-2, rtol=0)
    half = model.scale_motion(held, start, RenderOptions(emotion="neutral:0.5"))
    torch.testing.assert_close(half @ model.subspaces.eyes, eyes.expand(3, -1) / 2, atol=2e-3, rtol=0)
    smiling = model.scale_motion(held, start, RenderOptions(expression="smile=.4"))
    assert float((smiling @ model.subspaces.eyes - eyes).norm()) < float(eyes.norm())


def test_motion_takes_them_and_no_others_change(model, tmp_path):
    start, motion = torch.zeros(1, 20), torch.zeros(50, 20)
    plain = model.scale_motion(motion, start, RenderOptions())
    assert plain.abs().max() == 0
    happy = model.scale_motion(motion, start, RenderOptions(emotion="happy"))
    assert happy[:, :POSE_SIZE].abs().max() == 0
    torch.testing.assert_close(happy[:1], happy[-1:])
    table = tmp_path / "t.csv"
    table.write_text("seconds,happy\n0,0\n1,1\n")
    timed = model.scale_motion(motion, start, RenderOptions(timeline=str(table)))
    assert timed[0].abs().max() == 0
    torch.testing.assert_close(timed[-1], happy[-1])
    size = timed.norm(dim=1)
    assert (size.diff() > -1e-6).all() and math.isclose(size[-1], happy[0].norm(), rel_tol=1e-4)
