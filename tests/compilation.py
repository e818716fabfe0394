"""Whether kernels are compiled: without it an example takes a hundred times longer."""

import os

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "0"
