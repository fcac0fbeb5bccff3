"""Portraits, recordings and drivers that carry credentials: these are kept in the credentials of what is made."""

import json

import numpy as np
import pytest

from anitalker.config import RenderOptions
from anitalker.media.images import read_picture
from anitalker.provenance.credentials import Generator, read_credentials, sign_file, with_credentials
from anitalker.provenance.identity import signing_identity
from anitalker.provenance.marks import write_picture


@pytest.fixture(scope="module")
def portrait(tmp_path_factory, example_portrait):
    """A portrait that was generated, and says so."""
    file = tmp_path_factory.mktemp("inputs") / "generated.png"
    write_picture(file, read_picture(example_portrait), False, Generator("other"))
    return file


def test_which_files_have_credentials(portrait, example_portrait, clicks):
    assert with_credentials([portrait, example_portrait, str(portrait), clicks]) == (portrait,)


def test_inputs_of_something_new(portrait, tmp_path):
    """Created by a model, from an input; the manifest of the input is kept whole."""
    import c2pa

    out = tmp_path / "out.png"
    write_picture(out, np.full((64, 64, 3), 90, np.uint8), False, Generator("lite", inputs=(portrait,)))
    credentials = read_credentials(out)
    assert credentials.status == "intact" and credentials.ingredients == ("generated.png",)
    assert credentials.source_type.endswith("/trainedAlgorithmicMedia")
    with open(out, "rb") as stream:
        told = json.loads(c2pa.Reader.try_create("image/png", stream).json())
    (kept,) = told["manifests"][told["active_manifest"]]["ingredients"]
    assert kept["relationship"] == "inputTo" and kept["active_manifest"] in told["manifests"]


def test_a_recording_with_credentials(clicks, tmp_path):
    signed = tmp_path / "speech.wav"
    sign_file(clicks, signed, Generator("voice"), signing_identity(), "speech.wav")
    assert read_credentials(signed).status == "intact" and with_credentials([signed]) == (signed,)


@pytest.mark.slow
def test_the_pipeline_names_them(talker, portrait, clicks, tmp_path):
    out = tmp_path / "out.mp4"
    talker.render(portrait, clicks, out, RenderOptions(steps=1, frame="crop"))
    assert read_credentials(out).ingredients == ("generated.png",)
