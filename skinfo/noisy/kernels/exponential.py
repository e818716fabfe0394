"""Two to a power, so written that loops over it run in vector registers; numba's own does not."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.extending import overload

from skinfo._numba import NO_NAN, kernel

# Polynomials nearest to 2^f on [-1/2, 1/2] in relative error: 8e-13 in double precision, 7e-8 in
# single.
_D0 = 0.9999999999997611
_D1 = 0.6931471805465146
_D2 = 0.2402265069888062
_D3 = 0.055504109393405505
_D4 = 0.009618128542804165
_D5 = 0.0013333452063573434
_D6 = 0.00015403851796865937
_D7 = 1.530973704177843e-05
_D8 = 1.3175846287736467e-06
_S0 = np.float32(1.0000000716546718)
_S1 = np.float32(0.6931469670643613)
_S2 = np.float32(0.2402211972388181)
_S3 = np.float32(0.055507132741496844)
_S4 = np.float32(0.00967554133277695)
_S5 = np.float32(0.0013276471781934647)
# Adding these rounds to an integer and leaves it in the lowest bits.
_ROUND_DOUBLE = 6755399441055744.0
_ROUND_SINGLE = np.float32(12582912.0)
# Exponents are kept within these: denormal numbers are slow, and beyond the other end are no bits.
_LIMIT_DOUBLE = 1000.0
_LIMIT_SINGLE = np.float32(100.0)


def exp2(x):
    """Two to the power x, to 1e-12 (2e-7 in single precision); |x| is cut at 1000 (100)."""
    return np.exp2(min(max(x, -_LIMIT_DOUBLE), _LIMIT_DOUBLE))


@kernel(NO_NAN, inline=True)
def _exp2_double(x):
    x = min(max(x, -_LIMIT_DOUBLE), _LIMIT_DOUBLE)
    rounded = x + _ROUND_DOUBLE
    f = x - (rounded - _ROUND_DOUBLE)
    p = _D8 * f + _D7
    p = p * f + _D6
    p = p * f + _D5
    p = p * f + _D4
    p = p * f + _D3
    p = p * f + _D2
    p = p * f + _D1
    p = p * f + _D0
    exponent = np.float64(rounded).view(np.int64) << 52
    return np.int64(np.float64(p).view(np.int64) + exponent).view(np.float64)


@kernel(NO_NAN, inline=True)
def _exp2_single(x):
    x = min(max(x, -_LIMIT_SINGLE), _LIMIT_SINGLE)
    rounded = x + _ROUND_SINGLE
    f = x - (rounded - _ROUND_SINGLE)
    p = _S5 * f + _S4
    p = p * f + _S3
    p = p * f + _S2
    p = p * f + _S1
    p = p * f + _S0
    exponent = np.int32(np.float32(rounded).view(np.int32) << np.int32(23))
    return np.int32(np.float32(p).view(np.int32) + exponent).view(np.float32)


@overload(exp2, jit_options={"forceinline": True, "fastmath": NO_NAN})
def _exp2_of(x):
    if x == types.float32:
        return lambda x: _exp2_single(x)
    return lambda x: _exp2_double(x)
