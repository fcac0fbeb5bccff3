"""numpy on processors without gradient, torch elsewhere."""

import numpy as np
import torch

from anitalker.runtime.arrays import is_on_host, library, on_host


def test_arrays_are_numpys_where_no_gradient_is_asked_for():
    plain, learned = torch.rand(3), torch.rand(3, requires_grad=True)
    (array,) = on_host(plain.bfloat16())
    assert library(array) is np and array.dtype == np.float32
    assert all(library(x) is torch for x in on_host(plain, learned)) and not is_on_host(plain, learned)
    with torch.no_grad():
        assert library(on_host(plain, learned)[1]) is np
    assert not is_on_host(torch.rand(3, device="meta"))
