"""The call /avatar: a program gets the person file, which it may give as a portrait; errors are one line."""

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from anitalker.person.person_file import read_person


@pytest.fixture
def client(page):
    client = Client(page.url, verbose=False)
    yield client
    client.close()


@pytest.mark.slow
def test_a_program_gets_the_file_and_gives_it_as_a_portrait(client, quick_tune, film, clicks):
    file, facts, status = client.predict(files=[handle_file(film)], consent="Ada Lovelace", api_name="/avatar")
    assert read_person(file).consent == facts["consent"] == "Ada Lovelace"
    assert facts["seconds"] == 24.0 and "Done" in status and file.endswith("film.safetensors")
    video, facts, *_ = client.predict(
        portrait=handle_file(file), recording=handle_file(clicks), steps=1, api_name="/speak"
    )
    assert (facts["width"], facts["height"]) == (128, 128) and video.endswith(".mp4")
    assert any("was made for other weights" in words and "/" not in words for words in facts["warnings"])


@pytest.mark.parametrize(
    ("consent", "given", "message"),
    [
        ("  ", "film", "nobody is named who agreed"),
        ("a" * 201, "film", "allowed are up to 200"),
        ("Ada", None, "there is no video yet"),
        ("Ada", "clicks", "has no pictures; give a video that shows a face"),
    ],
)
def test_what_cannot_be_used_is_one_line(client, quick_tune, request, consent, given, message):
    files = [handle_file(request.getfixturevalue(given))] if given else None
    with pytest.raises(AppError, match=message):
        client.predict(files=files, consent=consent, api_name="/avatar")
    assert quick_tune.calls == []
