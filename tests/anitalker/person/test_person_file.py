"""Person files: what is in them, that nothing in them is trusted, and that they speak in place of a portrait."""

import io
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from anitalker.config import InputError, RenderOptions
from anitalker.motion.manner import Manner
from anitalker.person import person_file
from anitalker.person.person_file import MAX_BYTES, check_consent, read_person
from anitalker.provenance.credentials import Generator, build_manifest


def test_a_file_holds_these_tensors_and_no_more(make_person, talker, traits):
    """No other pixels of the person than the portrait and the references are in it."""
    path = make_person()
    tensors = load_file(path)
    sizes = {key: tuple(value.shape) for key, value in tensors.items() if key != "portrait"}
    assert sizes == {
        "references.patches": (2, 128, 128, 3),
        "references.landmarks": (2, 468, 3),
        "references.motion": (2, 20),
        "neutral": (468, 3),
        "manner.rest": (20,),
        "mouth.exit.bias": tuple(talker.model.mouth.exit.bias.shape),
        "lips.weight": (14, 160),
        "lips.bias": (14,),
    }
    assert tensors["portrait"].dtype == torch.uint8 and tensors["portrait"].ndim == 1
    assert path.stat().st_size <= MAX_BYTES


def test_what_is_written_is_read(make_person, traits, picture):
    person = read_person(make_person())
    assert person.consent == "Ada Lovelace" and person.facts == {"date": "2026-11-28"}
    assert np.abs(person.portrait.astype(int) - picture).mean() < 2
    assert (person.traits.patches == traits.patches).all() and (person.traits.neutral == traits.neutral).all()
    manner = person.traits.manner
    assert (manner.lips, manner.head, manner.blink_seconds) == (1.4, 0.5, 2.5)
    assert torch.equal(manner.rest, traits.manner.rest)


@pytest.mark.slow
def test_a_face_takes_what_the_file_tells(talker, picture, make_person, traits):
    plain, own = talker.portrait(picture).faces[0], talker.portrait(make_person()).faces[0]
    assert own.mouth.references.patches.shape[1] == 3 and own.manner.lips == 1.4
    assert own.synthesizer is not talker.model.mouth and own.generator is not talker.model.generator
    assert talker.model.mouth.exit.bias.equal(plain.synthesizer.exit.bias)
    assert torch.allclose(own.synthesizer.exit.bias, plain.synthesizer.exit.bias + 0.2, atol=1e-3)
    neutral = talker.model.space.neutral(own.landmarks, own.motion)[0]
    before = talker.model.space.neutral(own.landmarks, plain.motion)[0]
    assert (neutral - traits.neutral).norm() < (before - traits.neutral).norm()
    small = talker.resized(talker.portrait(make_person()), 128)
    assert small.faces[0].manner.lips == 1.4 and small.consent == "Ada Lovelace"


@pytest.mark.slow
def test_speech_moves_in_the_person_s_manner(talker, make_person, traits):
    options, speech = RenderOptions(seed=1), np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    wide = talker.portrait(make_person())
    usual = talker.portrait(make_person(traits=replace(traits, manner=Manner(), lips={})))
    features = talker.model.speech_features(torch.tensor(speech))
    own, other = (talker.model.generate_motion(features, p.faces[0], options, 1)[:, :20] for p in (wide, usual))
    assert torch.equal(own[0], other[0])  # the portrait's own code
    projection = talker.model.subspaces.lips
    spread = [((m[10:] - m[10:].mean(0)) @ projection).std() for m in (own, other)]
    assert spread[0] > 1.2 * spread[1]
    head = [float((m[10:, :3] - m[0, :3]).abs().mean()) for m in (own, other)]
    assert head[0] < 0.75 * head[1]


def test_a_file_of_another_model_speaks_by_its_portrait_alone(talker, make_person, caplog):
    portrait = talker.portrait(make_person(model="0" * 64))
    assert portrait.faces[0].mouth.references.patches.shape[1] == 1 and portrait.faces[0].manner.lips == 1
    assert portrait.consent == "Ada Lovelace"
    assert "was made for other weights than those of model lite: only its portrait is used" in caplog.text


def test_credentials_name_who_agreed():
    manifest = build_manifest(Generator("lite", consent="Ada Lovelace"), "out.mp4")
    assert manifest["assertions"][1]["data"]["consent"] == "Ada Lovelace"
    assert "consent" not in build_manifest(Generator("lite"), "out.mp4")["assertions"][1]["data"]


def rewritten(path, target, change=lambda tensors, config: None):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    tensors = load_file(path)
    change(tensors, config)
    save_file(tensors, target, {"config": json.dumps(config)})
    return target


def too_many(tensors, config):
    for key in [key for key in tensors if key.startswith("references.")]:
        tensors[key] = tensors[key][:1].repeat(9, *[1] * (tensors[key].ndim - 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, c: c.update(kind="model"), "is no person file"),
        (lambda t, c: c.update(format=9), "has format 9; known is 1"),
        (lambda t, c: c.update(consent=" "), "consent is missing"),
        (lambda t, c: t.update(frames=torch.zeros(3)), "holds 'frames' of .* which belongs to none"),
        (lambda t, c: t.update({"neutral": torch.zeros(5, 3)}), "holds 'neutral' of"),
        (lambda t, c: t["neutral"].fill_(float("nan")), "NaN or infinity in 'neutral'"),
        (lambda t, c: c["manner"].update(lips=float("inf")), "no number"),
        (lambda t, c: c["manner"].pop("head"), "is damaged"),
        (lambda t, c: t.pop("neutral"), "is damaged"),
        (lambda t, c: t.update(portrait=torch.zeros(900, dtype=torch.uint8)), "damaged portrait"),
        (too_many, "9. references; allowed are up to 8"),
    ],
)
def test_forged_files_are_one_line(make_person, tmp_path, change, message):
    path = rewritten(make_person(), tmp_path / "forged.safetensors", change)
    with pytest.raises(InputError, match=message) as caught:
        read_person(path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_weights_that_do_not_fit_are_one_line(talker, make_person, tmp_path):
    path = rewritten(
        make_person(), tmp_path / "a.safetensors", lambda t, c: t.update({"mouth.entry.bias": torch.zeros(3)})
    )
    with pytest.raises(InputError, match="mouth weights that do not fit its model"):
        talker.portrait(path)
    path = rewritten(make_person(), tmp_path / "b.safetensors", lambda t, c: t.update({"lips.bias": torch.zeros(3)}))
    with pytest.raises(InputError, match="lip layer that does not fit its model"):
        talker.portrait(path)


def test_code_in_a_file_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "code.safetensors"
    path.write_bytes(pickle.dumps(Code()))
    with pytest.raises(InputError, match="is no safetensors file"):
        read_person(path)
    assert not (tmp_path / "ran").exists()


def test_a_large_file_is_refused_unread(tmp_path):
    path = tmp_path / "large.safetensors"
    path.write_bytes(bytes(MAX_BYTES + 1))
    with pytest.raises(InputError, match=f"allowed are {MAX_BYTES}"):
        read_person(path)


def test_a_large_portrait_is_compressed_until_it_fits(monkeypatch):
    monkeypatch.setattr(person_file, "PORTRAIT_BYTES", 20_000)
    noise = np.random.default_rng(0).integers(0, 255, (120, 120, 3), np.uint8)
    assert Image.open(io.BytesIO(person_file._jpeg(noise))).size == (120, 120)
    assert len(person_file._jpeg(noise)) <= 20_000


@pytest.mark.parametrize("consent", [None, "", "  ", "a" * 201, "bell\x07"])
def test_consent_is_one_line_of_letters(consent):
    with pytest.raises(InputError, match="consent"):
        check_consent(consent)


def test_a_batch_takes_a_person_file_as_portrait(make_person, make_wav, tmp_path):
    from anitalker.batch import table

    person, speech = make_person(), make_wav(tmp_path / "speech.wav", np.zeros(800))
    (tmp_path / "jobs.csv").write_text(f"id,portrait,speech\na,{person},{speech}\nb,{speech},{speech}\n", "utf-8")
    jobs, invalid = table.read(tmp_path / "jobs.csv")
    assert [job.portrait for job in jobs] == [str(person)] and [row.id for row in invalid] == ["b"]
