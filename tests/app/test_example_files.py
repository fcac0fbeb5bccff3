"""The examples are whole, free and small; their addresses become files, and no other address does."""

import pytest

from app import example_files, examples


@pytest.fixture
def public(tmp_path):
    return frozenset(file.resolve() for file in example_files.publish(tmp_path).iterdir())


def test_every_example_has_its_files(root):
    names = {file.name for file in example_files.FOLDER.iterdir()}
    used = {examples.SAMPLE, examples.POSTER, examples.SPEECH, examples.DRIVING}
    used |= {examples.portrait_file(name) for name in examples.PORTRAITS}
    used |= {example.value for example in examples.EXAMPLES.values() if example.kind not in examples.SPOKEN}
    assert used == names
    notice = (root / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in names)
    assert {example.kind for example in examples.EXAMPLES.values()} == {"speak", "say", "dub", "drive"}
    assert sum((example_files.FOLDER / name).stat().st_size for name in names) < 1_000_000


def test_without_voices_there_are_no_texts():
    assert "German" in examples.example_cards(True) and "German" not in examples.example_cards(False)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:7860/examples/man.webp", "https://a.example/prefix/examples/man.webp"]
)
def test_an_address_of_an_example_becomes_its_file(public, address):
    call = {"data": [{"path": address, "url": address, "meta": {}}, "text"]}
    (picture, text), file = example_files.with_local_examples(call, public)["data"], picture_of(public)
    assert picture == {"path": file, "meta": {}} and text == "text"


def picture_of(public):
    return next(str(file) for file in public if file.name == "man.webp")


@pytest.mark.parametrize("address", ["http://a.example/examples/../secret", "http://a.example/man.webp", "/etc/passwd"])
def test_no_other_address_does(public, address):
    call = {"path": address, "url": address}
    assert example_files.with_local_examples(call, public) == call


@pytest.mark.slow
def test_sample_and_driving_video_are_marked_as_synthetic():
    from anitalker.provenance.verify import verify

    for name in (examples.SAMPLE, examples.DRIVING):
        verdict = verify(example_files.FOLDER / name)
        assert (verdict["made_by"], verdict["state"]) == ("anitalker", "intact")
