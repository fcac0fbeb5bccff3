"""Codes of the oracle against the labels that they were made of."""

import pytest

from scripts.evaluation import code_accuracy


def test_codes_of_the_oracle_agree_with_the_labels(fakes):
    known = fakes.clip()
    result = code_accuracy.run(fakes.session(fakes.Oracle(known), [known]))["codes"]
    assert result["pose_r2"]["yaw"] == pytest.approx(1)
    assert result["lip_r"] == pytest.approx(1, abs=1e-5)
