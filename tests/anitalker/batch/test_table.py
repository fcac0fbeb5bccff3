"""Tables of jobs: what is read, and everything hostile that is refused with its line."""

import json

import pytest

from anitalker.batch.table import MAX_CELL_CHARACTERS, read
from anitalker.config import InputError, RenderOptions


@pytest.fixture
def place(tmp_path, example_portrait, clicks):
    """p.webp and s.wav beside the table."""
    (tmp_path / "p.webp").write_bytes(example_portrait.read_bytes())
    (tmp_path / "s.wav").write_bytes(clicks.read_bytes())
    return tmp_path


def csv_of(place, text, name="jobs.csv"):
    (place / name).write_text(text, encoding="utf-8")
    return read(place / name)


def read_row(place, **cells):
    """A JSON line, right but for what is given."""
    row = {"id": "a", "portrait": "p.webp", "speech": "s.wav", **cells}
    (place / "jobs.jsonl").write_text(json.dumps({key: value for key, value in row.items() if value is not ...}))
    return read(place / "jobs.jsonl")


def test_csv_and_json_lines_are_the_same(place):
    text = "\ufeffid,portrait,speech,seed,still,yaw,frame,size\n"
    text += "a,p.webp,s.wav,3,true,10,crop,720\n\n b2 ,p.webp,s.wav,,,,,\n"
    jobs, invalid = csv_of(place, text.replace(" b2 ", "b2"))
    assert not invalid and [job.line for job in jobs] == [2, 4]
    assert jobs[0].options == RenderOptions(seed=3, still=True, yaw=10.0, frame="crop", size=720)
    assert jobs[1].options == RenderOptions()
    again, _ = read_row(place, seed=3, still=True, yaw=10, frame="crop", size=720)
    assert again[0].options == jobs[0].options
    assert read_row(place, size="original")[0][0].options == RenderOptions(size="original")
    assert again[0].fingerprint("m") == jobs[0].fingerprint("m")


def test_the_fingerprint_follows_contents_not_names(place):
    first = read_row(place)[0][0].fingerprint("model")
    (place / "q.webp").write_bytes((place / "p.webp").read_bytes())
    assert read_row(place, portrait="q.webp")[0][0].fingerprint("model") == first
    assert read_row(place, batch_size=2)[0][0].fingerprint("model") == first
    assert read_row(place)[0][0].fingerprint("other model") != first
    assert read_row(place, seed=1)[0][0].fingerprint("model") != first
    (place / "s.wav").write_bytes((place / "s.wav").read_bytes() + b"\0\0")
    assert read_row(place)[0][0].fingerprint("model") != first


def test_more_pictures_of_a_person(place):
    (place / "q.webp").write_bytes((place / "p.webp").read_bytes())
    job = read_row(place, also="p.webp | q.webp")[0][0]
    assert job.options.also == (str(place / "p.webp"), str(place / "q.webp"))
    assert job.fingerprint("m") != read_row(place)[0][0].fingerprint("m")
    assert job.fingerprint("m") == read_row(place, also="q.webp|p.webp")[0][0].fingerprint("m")  # the same contents
    invalid = read_row(place, also="p.webp|none.webp")[1]
    assert "also is missing" in invalid[0].reason


IDS = [
    "../up",
    "/etc/x",
    "a/b",
    "a\\b",
    "..",
    ".hidden",
    "-o",
    "=cmd()",
    "+1",
    "@x",
    "a\0b",
    "a\nb",
    "",
    " ",
    "a.",
    "CON",
]
IDS += ["nul.txt", "results", "a" * 101, "é" * 101, "a:b", "\u202eabc", "a\u200bb", "C:\\x", "a;b", "$(x)", "a|b"]


@pytest.mark.parametrize("name", IDS)
def test_ids_that_are_no_file_names(place, name):
    jobs, invalid = read_row(place, id=name)
    assert not jobs and len(invalid) == 1 and invalid[0].line == 1
    assert "id" in invalid[0].reason and "\n" not in invalid[0].reason


@pytest.mark.parametrize("name", ["a", "Änne 2", "片山-01", "job.v2", "0_1", 7])
def test_ids_of_any_script(place, name):
    assert read_row(place, id=name)[0][0].id == str(name)


ROWS = {
    "no portrait": ({"portrait": None}, "lacks portrait"),
    "no sound": ({"speech": None}, "gives none of"),
    "two sources": ({"text": "hello"}, "gives speech and text"),
    "missing file": ({"speech": "none.wav"}, "speech is missing"),
    "a folder": ({"portrait": "."}, "portrait is a folder"),
    "a path with NUL": ({"portrait": "p\0.webp"}, "portrait is missing"),
    "sound as portrait": ({"portrait": "s.wav"}, "portrait has no pictures"),
    "picture as speech": ({"speech": "p.webp"}, "no sound"),
    "sound as video": ({"speech": None, "video": "s.wav"}, "no pictures"),
    "an address": ({"speech": "http://localhost/s.wav"}, "speech is missing"),
    "number out of range": ({"steps": 0}, "1 to 200"),
    "no number": ({"seed": "x"}, "a whole number"),
    "a fraction": ({"seed": 1.5}, "a whole number"),
    "truth as number": ({"seed": True}, "a whole number"),
    "NaN": ({"yaw": float("nan")}, "-60 to 60"),
    "a huge number": ({"seed": 10**400}, "seed"),
    "neither true nor false": ({"still": "maybe"}, "true and false"),
    "a list": ({"face": [1]}, "no plain value"),
    "a huge field": ({"text": "x" * (MAX_CELL_CHARACTERS + 1), "speech": None}, "at most 20,000"),
    "an unknown choice": ({"frame": "half"}, "full, crop"),
    "an unknown name": ({"speed": 2}, "unknown names ['speed']"),
}


@pytest.mark.parametrize("row", ROWS)
def test_bad_lines(place, row):
    cells, words = ROWS[row]
    jobs, invalid = read_row(place, **cells)
    assert not jobs and words in invalid[0].reason, invalid


TABLES = {
    "no header": ("a,p.webp,s.wav\n", "unknown columns"),
    "missing columns": ("id,speech\na,s.wav\n", "lacks portrait"),
    "no source": ("id,portrait\na,p.webp\n", "none of speech, text, video"),
    "a column twice": ("id,portrait,speech,id\n", "twice"),
    "nothing but a header": ("id,portrait,speech\n", "no lines"),
    "an unknown column": ("id,portrait,speech,model\na,p.webp,s.wav,x\n", "unknown columns ['model']"),
    "damaged quotes in the header": ('"id\n', "lacks id"),
}


@pytest.mark.parametrize("table", TABLES)
def test_bad_tables(place, table):
    text, words = TABLES[table]
    with pytest.raises(InputError) as error:
        csv_of(place, text)
    assert words in str(error.value)


def test_tables_that_are_none(place):
    (place / "x.txt").write_text("id")
    (place / "x.csv").write_bytes(b"id,portrait,speech\n\xff\x81,p.webp,s.wav\n")
    (place / "x.jsonl").write_bytes(b'{"id": "\xff"}\n')
    for name, words in (
        ("x.txt", "ends in .csv, .tsv or .jsonl"),
        ("x.csv", "is not text"),
        ("x.jsonl", "is not text"),
        ("none.csv", "missing"),
    ):
        with pytest.raises(InputError, match=words):
            read(place / name)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_tables_as_spreadsheets_save_them(place, separator, encoding, caplog):
    """Separators and encodings of Excel, capital headers with spaces, a comma in a number."""
    rows = [["ID", "Portrait", " Speech", "Batch Size", "LIPS"], ["Zoë-é", "p.webp", "s.wav", "2", '"0,8"']]
    text = "".join(separator.join(cells) + "\r\n" for cells in rows)
    (place / "jobs.csv").write_bytes(text.encode(encoding))
    jobs, invalid = read(place / "jobs.csv")
    assert not invalid and jobs[0].id == "Zoë-é"
    assert jobs[0].options == RenderOptions(batch_size=2, lips=0.8)
    assert [record.getMessage().split(":")[0] for record in caplog.records] == (
        ["table of jobs is not UTF-8"] if encoding == "cp1252" else []
    )


def test_separators_in_quotes(place):
    jobs, _ = csv_of(place, 'id;portrait;text\na;p.webp;"Hello, you; there"\n', "jobs.tsv")
    assert jobs[0].source == "Hello, you; there"
    _, invalid = csv_of(place, "id;portrait;text\na;p.webp;b;c\n")
    assert "quote semicolons" in invalid[0].reason


def test_lines_keep_their_numbers(place):
    """More fields than columns, an id that came before in other letters, CSV's own limit, a broken quote."""
    big = "x" * 200_000
    text = f"id,portrait,speech\na,p.webp,s.wav,=cmd()\nb,p.webp,s.wav\nB,p.webp,s.wav\nc,p.webp,{big}\n"
    jobs, invalid = csv_of(place, text)
    assert [job.id for job in jobs] == ["b"]
    assert [row.line for row in invalid] == [2, 4, 5]
    assert "4 fields in 3 columns" in invalid[0].reason and "line 3" in invalid[1].reason


def test_not_json(place):
    (place / "jobs.jsonl").write_text('{"id": 1\n[1]\n"a"\n' + "[" * 100_000 + "\n")
    jobs, invalid = read(place / "jobs.jsonl")
    assert not jobs and [row.line for row in invalid] == [1, 2, 3, 4]


@pytest.mark.slow
def test_ten_thousand_lines(place):
    """Files are looked at and hashed once, however many lines name them."""
    rows = "".join(f"j{n},p.webp,s.wav,{n}\n" for n in range(10_000))
    jobs, invalid = csv_of(place, "id,portrait,speech,seed\n" + rows)
    assert len(jobs) == 10_000 and not invalid
    assert len({job.fingerprint("m") for job in jobs}) == 10_000


def test_subtitles_and_aspect(place):
    """The path is relative to the table, the fingerprint follows the contents."""
    (place / "t.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHello\n")
    job = read_row(place, subtitles="t.srt", aspect="9:16")[0][0]
    assert (job.options.subtitles, job.options.aspect) == (str(place / "t.srt"), "9:16")
    before = job.fingerprint("m")
    (place / "t.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nGoodbye\n")
    assert read_row(place, subtitles="t.srt", aspect="9:16")[0][0].fingerprint("m") != before
    assert "GIF has no tracks" in read_row(place, subtitles="t.srt", subtitles_as="track", format="gif")[1][0].reason
    (place / "t.srt").write_text("Hello")
    assert "subtitles have 0 texts" in read_row(place, subtitles="t.srt")[1][0].reason
    assert "aspect is '4:3'; allowed are 9:16, 1:1, 16:9" in read_row(place, aspect="4:3")[1][0].reason


def test_backgrounds(place):
    """Words and colours stay; a file's path is relative to the table, and the fingerprint follows its contents."""
    assert read_row(place, background="#00ff00")[0][0].options.background == "#00ff00"
    (place / "beach.webp").write_bytes((place / "p.webp").read_bytes())
    job = read_row(place, background="beach.webp")[0][0]
    assert job.options.background == str(place.resolve() / "beach.webp")
    before = job.fingerprint("m")
    (place / "beach.webp").write_bytes((place / "p.webp").read_bytes() + b" ")
    assert read_row(place, background="beach.webp")[0][0].fingerprint("m") != before
    assert read_row(place, background="transparent", format="webm")[0][0].output_name == "a.webm"
    assert "MP4 has no transparency" in read_row(place, background="transparent")[1][0].reason
    assert "background is 'blurry'; allowed are keep" in read_row(place, background="blurry")[1][0].reason
    assert "background" in read_row(place, background="s.wav")[1][0].reason


def test_formats(place):
    """The name of the output follows; the fingerprint of an MP4 stays what it was."""
    job = read_row(place, format=".GIF")[0][0]
    assert (job.format, job.output_name) == ("gif", "a.gif")
    assert read_row(place)[0][0].output_name == "a.mp4"
    assert (
        job.fingerprint("m")
        != read_row(place)[0][0].fingerprint("m")
        == read_row(place, format="mp4")[0][0].fingerprint("m")
    )
    assert "format is 'avi'; allowed are mp4, mov, webm, gif, webp" in read_row(place, format="avi")[1][0].reason
    assert "codec is hevc, but WebM has its own" in read_row(place, format="webm", codec="hevc")[1][0].reason
