"""The simulated cluster against what can be worked out by hand."""

import pytest

from scripts.simulate_cluster import Cluster, simulate


def test_one_worker_does_one_job_after_another():
    cluster = Cluster(workers=1, jobs=50, spread=0)
    expected = 50 * (cluster.job() + cluster.driver) + cluster.start + cluster.model / cluster.storage
    assert simulate(cluster)["seconds"] == pytest.approx(expected, rel=1e-3)


def test_many_workers_are_that_much_faster_until_something_is_shared():
    one, many = (simulate(Cluster(workers=n, jobs=200 * n)) for n in (1, 20))
    assert many["jobs_per_second"] == pytest.approx(20 * one["jobs_per_second"], rel=0.05)
    slow = simulate(Cluster(workers=20, jobs=2000, driver=1.0))
    assert slow["jobs_per_second"] == pytest.approx(1.0, rel=0.02) and slow["driver_busy"] > 0.98


def test_storage_bounds_the_rate():
    slow = Cluster(workers=50, jobs=2000, storage=1e6)
    assert simulate(slow)["jobs_per_second"] <= 1e6 / (slow.read + slow.write)
