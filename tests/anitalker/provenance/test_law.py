"""The checklists of three laws: what a marked file has, where it stands, and what a file without marks lacks."""

import json
import re

import pytest

from anitalker.cli import main
from anitalker.media.images import read_picture
from anitalker.provenance.credentials import Generator
from anitalker.provenance.law import LAWS, checklist, checklist_lines
from anitalker.provenance.marks import write_picture
from anitalker.provenance.verify import verify


@pytest.fixture(scope="module")
def marked(tmp_path_factory, example_portrait):
    """A marked picture with a visible label, and its verdict."""
    file = tmp_path_factory.mktemp("law") / "still.png"
    write_picture(file, read_picture(example_portrait), True, Generator("lite"), "zh")
    return file, verify(file)


@pytest.mark.parametrize("law", LAWS)
def test_a_marked_file(law, marked):
    """Everything but a time stamp, which is optional to ask for; each place named holds what it says."""
    file, verdict = marked
    rows, data = checklist(law, verdict), file.read_bytes()
    assert [row["asks"] for row in rows if row["state"] == "lacks"] == (["a trusted time stamp"] if law == "eu" else [])
    places = [match for row in rows for match in re.findall(r"([\w.-]+): bytes (\d+) to (\d+)", row["read_from"])]
    assert len(places) >= 4
    for text, start, end in places:
        assert data[int(start) : int(end)].decode().strip('"') == text
    assert all(row["read_from"] for row in rows if row["state"] == "has" and "no filmed" not in row["value"])


@pytest.mark.parametrize("law", LAWS)
def test_a_file_without_marks(law, example_portrait):
    rows = checklist(law, verify(example_portrait))
    assert not [row for row in rows if row["state"] == "has" and row["asks"] != "marks of inputs are kept"]
    assert f"{sum(row['state'] == 'lacks' for row in rows)} of {len(rows)} are lacking" in checklist_lines(law, rows)[0]


def test_an_icon_is_no_label_of_words(tmp_path, example_portrait):
    """Enough for the EU and California, not for China; what is shown and for how long is told."""
    file = tmp_path / "still.png"
    write_picture(file, read_picture(example_portrait), True, Generator("lite"), style="icon")
    verdict = verify(file)
    states = {law: [row["state"] for row in checklist(law, verdict) if "disclosure" in row["asks"]] for law in LAWS}
    assert states == {"eu": ["has"], "cn": [], "ca": ["has"]}
    assert "it is an icon" in next(row["value"] for row in checklist("cn", verdict) if "explicit" in row["asks"])
    verdict["credentials"]["origin"]["visible_label"] = "de for 5 s"
    values = [row["value"] for law in LAWS for row in checklist(law, verdict) if "language" in row["value"]]
    assert values == ["words, language de, in the frames of the first 5 s"] * 3


def test_the_command(marked, capsys):
    file, verdict = marked
    assert main(["verify", str(file), "--law", "cn", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["law"]
    assert told["name"] == "cn" and told["rows"] == checklist("cn", verdict)
    assert main(["verify", str(file), "--law", "ca"]) == 0
    out = capsys.readouterr().out
    assert "California" in out and "nothing is lacking" in out and "has       22757.3(b)(1)(D)" in out
    assert main(["verify", str(file), "--law", "xx"]) == 2
