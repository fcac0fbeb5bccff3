"""Percentiles and error rates of made-up similarities; which pairs count."""

import numpy as np
import pytest

from scripts.evaluation import identity
from scripts.evaluation.identity import Similarities
from scripts.evaluation.session import MetricNetworks


def test_equal_error_of_known_overlap():
    same, different = np.linspace(0, 1, 1001), np.linspace(-0.6, 0.4, 1001)
    rate, threshold = identity.equal_error(same, different)
    assert rate == pytest.approx(0.2, abs=0.01) and threshold == pytest.approx(0.2, abs=0.01)
    assert identity.equal_error(np.array([0.9, 0.8]), np.array([0.1, 0.2]))[0] == 0


def test_percentiles_between_the_two_distributions():
    known = Similarities(same=np.linspace(0.5, 1, 101), different=np.linspace(0, 0.5, 101))
    np.testing.assert_allclose(known.percentile([0.25, 0.9, -1]), [49.5, 100, 0], atol=1)
    np.testing.assert_allclose(known.percentile_same([0.75, 0.4]), [49.5, 0], atol=1)


def person(name, vectors, clips=None, frames=None):
    vectors = np.asarray(vectors, np.float64)
    count = len(vectors)
    return identity.Person(name, vectors, np.zeros(count) if clips is None else clips, np.arange(count) * 30)


def test_neighbours_in_time_are_no_pair_and_other_clips_are():
    rng = np.random.default_rng(0)
    close = identity.Person("a", np.eye(2), np.zeros(2), np.array([0, 10]))
    assert len(identity.same_pairs(close, rng)) == 0
    two = identity.Person("a", np.eye(2), np.array([0, 1]), np.array([0, 10]))
    assert len(identity.same_pairs(two, rng)) == 1 == len(identity.same_pairs(two, rng, across=True))
    assert len(identity.same_pairs(person("a", np.eye(3)), rng, across=True)) == 0


def test_similarities_of_two_people():
    people = [person("a", [[1, 0], [1, 0]]), person("b", [[0, 1], [0, 1]])]
    known = identity.similarities(people)
    assert known.same.tolist() == [1, 1] and known.different.tolist() == [0] * 4
    result = known.result()
    assert result["equal_error_rate"] == 0 and (result["mean_same"], result["mean_different"]) == (1, 0)


def test_clips_of_one_person_are_gathered():
    embeddings = np.ones((2, 3))
    people = identity.gather(
        [("a", 0, np.arange(2), embeddings), ("b", 1, np.arange(2), embeddings), ("a", 2, np.arange(2), embeddings)]
    )
    assert [p.name for p in people] == ["a", "b"] and people[0].clips.tolist() == [0, 0, 2, 2]


def test_table_of_percentiles():
    known = Similarities(same=np.linspace(0.5, 1, 101), different=np.linspace(0, 1, 101))
    row = identity.identity_report(known, {"made": [np.full(9, value) for value in (0.9, 0.8, 0.2)]})["made"]
    assert row["percentile"] == pytest.approx(79, abs=1.5) and row["percentile_low"] == pytest.approx(20, abs=1.5)
    assert row["interval"][0] < 30 < 79 < row["interval"][1]
    assert row["per_clip"] == pytest.approx([89, 79, 20], abs=1.5)


def test_the_report_says_how_good_the_verifier_is():
    class Known:
        name, config = "planted", {"equal_error": {"val": 0.1}}

    networks = MetricNetworks(verifier=Known(), clips=Similarities(np.ones(3), np.zeros(3)))
    assert networks.about()["verifier"]["clips"]["equal_error_rate"] == 0
    assert MetricNetworks().about() == {}
