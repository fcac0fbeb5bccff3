"""Rows in a file: what goes in comes out, in any order, while more is appended."""

import numpy as np
import pytest

from anitalker.dubbing.spool import Spool


def test_rows_come_back_while_more_are_appended():
    spool, rows = Spool(5), np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    for number, row in enumerate(rows):
        spool.append(row)
        if number % 7 == 0:
            np.testing.assert_array_equal(spool[max(number - 3, 0) : number + 1], rows[max(number - 3, 0) : number + 1])
    assert len(spool) == 40
    np.testing.assert_array_equal(spool[:], rows)
    np.testing.assert_array_equal(spool[35:90], rows[35:])
    assert spool[50:60].shape == (0, 5)


def test_a_row_of_another_width_is_refused():
    with pytest.raises(AssertionError):
        Spool(5).append(np.zeros(4, np.float32))
