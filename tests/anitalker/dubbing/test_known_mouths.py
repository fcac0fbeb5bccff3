"""Mouths from beside the video: whose they are, which of them serve, and what is refused."""

import numpy as np
import pytest

from anitalker.config import InputError, RenderOptions
from anitalker.dubbing import job
from anitalker.dubbing.known_mouths import MAX_REFERENCES, KnownMouth, by_person, with_known
from anitalker.dubbing.references import Reference
from anitalker.media.writer import VideoWriter
from tests.conftest import mean_face


class People:
    """Two people whose embeddings have nothing in common."""

    def embedding(self, person):
        return np.eye(3, dtype=np.float32)[person]


def reference(opening: float, name: float = 0) -> Reference:
    points = mean_face() * 0.5 + np.float32([0.5, 0.4, 0])
    points[14] = points[13] + np.float32([0, opening * 0.5, 0])
    return Reference(np.zeros((128, 128, 3), np.uint8), points, np.full(20, name, np.float32))


def mouth(embedding, *references, name="ada.png"):
    return KnownMouth(name, np.float32(embedding), references)


def test_each_file_goes_to_the_person_whom_it_resembles(caplog):
    wide, shut = reference(0.2), reference(0.0)
    given = by_person([mouth([0.1, 0.9, 0], wide), mouth([0.1, 0.8, 0], shut)], People(), [1, 0, 0])
    assert given == {1: [wide, shut]} and not caplog.text
    assert by_person([], People(), [0]) == {}


def test_a_doubtful_file_is_told_and_that_of_nobody_refused(caplog):
    assert list(by_person([mouth([0.3, 0.1, 0], reference(0))], People(), [0, 1])) == [0]
    assert "also may show somebody else than person 0 of the video: 'ada.png'" in caplog.text
    with pytest.raises(InputError, match=r"also shows nobody of the video: 'ada.png'; give a picture of somebody"):
        by_person([mouth([0.1, 0.1, 0.9], reference(0))], People(), [0, 1])


def test_known_ones_serve_where_the_video_shows_no_such_opening():
    filmed, same, wide = reference(0.0), reference(0.001, 1), reference(0.2, 2)
    assert with_known([filmed], [same, wide]) == [filmed, wide]
    assert with_known([filmed], []) == [filmed]
    assert len(with_known([filmed], [wide] * 20)) == MAX_REFERENCES


@pytest.mark.slow
def test_a_dub_takes_pictures_of_its_people(talker, film, speech, example_portrait, tmp_path):
    video = tmp_path / "film.mp4"
    with VideoWriter(video, 360, 220, None) as writer:
        for frame in film([60 + t for t in range(8)]):
            writer.write(frame)
    seen = []
    dubbed_frames = job.dubbed_frames

    def spy(*arguments):
        seen.append(arguments[-1])
        return dubbed_frames(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "dubbed_frames", spy)
        options = RenderOptions(size="original", marks=False, also=(str(example_portrait),))
        talker.dub(video, speech[1], tmp_path / "out.mp4", options)
    assert [len(references) for references in seen[0].values()] == [1]
    with pytest.raises(InputError, match="also is missing"):
        talker.dub(video, speech[1], tmp_path / "b.mp4", RenderOptions(also=("none.png",)))
    assert not (tmp_path / "b.mp4").exists()
