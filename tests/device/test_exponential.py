import math
import subprocess
import sys

import numpy as np
import pytest
from reader import POWERS as DOCUMENTED
from reader import exponential

from edgernn.exponential import POWERS, exponentiate


def exponentials(x):
    y = np.array(x, np.float64)
    exponentiate(y)
    return y


@pytest.mark.parametrize("low", [-1e-9, -0.02, -1.0, -30.0, -665.0])
def test_it_is_the_exponential(low):
    x = np.random.default_rng(0).uniform(low, 0, 5000)
    expected = np.array([math.exp(value) for value in x])  # which is itself up to one unit off
    assert np.max(np.abs(exponentials(x) - expected) / np.spacing(expected)) <= 2


def test_the_ends():
    x = [0.0, -0.0, -5e-324, -1e-310, -1e-17, -665.42, -665.43, -700.0, -745.2, -1e9, -1e300, -np.inf]
    expected = [1.0] * 5 + [math.exp(-665.42)] + [0.0] * 6
    np.testing.assert_allclose(exponentials(x), expected, rtol=3e-16, atol=0)


def test_it_never_rises_where_its_argument_falls():
    """Also where one part of the table ends and the next begins."""
    ends = -(np.arange(3000) + 0.5) * math.log(2) / 64
    near = np.concatenate(
        [ends, np.nextafter(ends, 0), np.nextafter(ends, -np.inf), np.arange(3000) * -math.log(2) / 64]
    )
    near.sort()
    assert np.all(np.diff(exponentials(near)) >= -np.spacing(exponentials(near[1:])))


def test_it_is_the_documents():
    assert list(POWERS) == DOCUMENTED
    random = np.random.default_rng(1)
    x = np.concatenate([-random.uniform(0, 700, 3000), -(10.0 ** random.uniform(-20, 4, 3000)), [0.0, -np.inf]])
    assert exponentials(x).tolist() == [exponential(float(value)) for value in x]


@pytest.mark.parametrize("shape", [(0,), (1,), (4097,), (3, 5000), (2, 0)])
def test_arrays_of_any_size_are_replaced_in_place(shape):
    x = -np.random.default_rng(2).uniform(0, 40, shape)
    one_by_one = [exponentials([value])[0] for value in x.ravel()[::97]]
    exponentiate(x)
    assert x.ravel()[::97].tolist() == one_by_one
    assert x.shape == shape


def test_the_powers_are_correctly_rounded():
    """A number is the nearest to a root if the root lies between the middles to its neighbours."""
    for part, power in enumerate(POWERS[1:], 1):
        whole = int(math.ldexp(power, 54))  # in units of half a last place
        assert (whole - 1) ** 64 < 1 << (54 * 64 - part) < (whole + 1) ** 64


FLUSHING = """
import sys
import numpy as np
from edgernn.exponential import exponentiate
from edgernn.runtime import Model

def bits():
    x = np.concatenate([-np.random.default_rng(0).uniform(0, 700, 20000), -(10.0 ** np.arange(-320, 4))])
    exponentiate(x)
    return x.tobytes()

before = bits()
Model.load(sys.argv[1])
assert np.float64(1e-300) * np.float64(1e-15) == 0, "subnormal numbers are not rounded to zero"
assert bits() == before
"""


def test_subnormal_numbers_that_become_zero_change_nothing(bundle):
    """The first session of onnxruntime makes the processor round them, as other processors do by themselves."""
    subprocess.run([sys.executable, "-c", FLUSHING, bundle], check=True)
