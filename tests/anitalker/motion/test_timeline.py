"""Tables of expressions over time: key frames, easing, spellings, and what is refused."""

import json

import pytest
import torch

from anitalker.config import InputError
from anitalker.motion.timeline import read_timeline


def save(folder, text, name="t.csv"):
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_key_frames_are_reached_and_held(tmp_path):
    courses = read_timeline(save(tmp_path, "seconds,happy,Brow Raise\n1,0,.5\n2,1,\n3,.5,-.5\n"), 120)
    assert set(courses) == {"happy", "brow_raise"} and all(course.shape == (120,) for course in courses.values())
    happy, brows = courses["happy"], courses["brow_raise"]
    assert happy[:26].abs().max() == 0 and happy[50] == 1 and happy[75:].min() == happy[75:].max() == 0.5
    torch.testing.assert_close(happy[37:39].mean(), torch.tensor(0.5))  # eased about the middle
    assert happy[27] < 0.02
    assert brows[25] == 0.5 and brows[50].abs() < 1e-6 and brows[75] == -0.5  # an empty cell is no key frame


def test_json_and_what_spreadsheets_write(tmp_path):
    rows = [{"seconds": 0, "smile": 0.25}, {"seconds": 1.5, "smile": 1}]
    first = read_timeline(save(tmp_path, json.dumps(rows), "t.json"), 40)
    second = read_timeline(save(tmp_path, "Seconds;Smile\n0;0,25\n1,5;1\n"), 40)
    torch.testing.assert_close(first["smile"], second["smile"])
    single = read_timeline(save(tmp_path, "seconds,sad\n2,.7\n"), 3)["sad"]
    torch.testing.assert_close(single, torch.full((3,), 0.7))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seconds,wink\n0,1\n", "timeline has 'wink'; allowed are seconds, neutral, happy"),
        ("smile\n1\n", "needs a header with `seconds`"),
        ("seconds,smile,smile\n0,1,1\n", "each once"),
        ("seconds,smile\n,1\n", "row 2: it lacks seconds"),
        ("seconds,smile\n1,1\n1,0\n", "1 seconds follow 1"),
        ("seconds,smile\n0,2\n", "smile is '2'; allowed is -1 to 1"),
        ("seconds,happy\n0,-1\n", "happy is '-1'; allowed is 0 to 1"),
        ("seconds,happy\n-1,1\n", "seconds is '-1'"),
        ("seconds,happy\n0,x\n", "happy is 'x'"),
        ("seconds,happy\n0,nan\n", "happy is 'nan'"),
        ("seconds,happy\n0,1,2\n", "3 fields in 2 columns"),
        ("seconds\n0\n", "has no strengths"),
        ("", "timeline is empty"),
    ],
)
def test_wrong_tables(tmp_path, text, words):
    with pytest.raises(InputError) as refusal:
        read_timeline(save(tmp_path, text), 10)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["{}", "[1]", "[", "null", "[" * 100_000])
def test_wrong_json(tmp_path, text):
    with pytest.raises(InputError, match="is no JSON list of objects"):
        read_timeline(save(tmp_path, text, "t.json"), 10)


def test_other_files(tmp_path):
    for name, words in (("t.txt", "ends in .csv or .json"), ("none.csv", "timeline is missing")):
        if name == "t.txt":
            save(tmp_path, "seconds,happy\n0,1\n", name)
        with pytest.raises(InputError, match=words):
            read_timeline(tmp_path / name, 10)
