"""The command that runs studies: it lists them all, and knows no others."""

import pytest

from scripts import study


def test_every_study_is_listed_with_what_it_asks(capsys):
    assert study.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(study.STUDIES)
    assert {"seams", "sharpness", "compose_pictures", "measure_marks", "measure_motion"} <= set(study.STUDIES)
    assert all(len(line.split()) > 5 for line in lines)


@pytest.mark.parametrize("name", study.STUDIES)
def test_a_study_tells_its_options(name, capsys):
    with pytest.raises(SystemExit) as caught:
        study.main([name, "--help"])
    assert caught.value.code == 0 and f"python -m scripts.study {name}" in capsys.readouterr().out


def test_an_unknown_study_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        study.main(["astrology"])
    assert caught.value.code == 2 and "sharpness" in capsys.readouterr().err
