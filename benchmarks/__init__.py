"""Benchmarks, each beside its peers or an earlier state in one run; `make help` lists them.

No benchmark trains a challenger, unless FORECAST_CHALLENGER names one: it would share the cores
with what is measured.
"""

import os

from forecasting.threads import limit_blas_threads
from local_stack.environment import NO_CHALLENGER

limit_blas_threads()
# Services inherit what the stack's own contract does not name.
os.environ.setdefault(*NO_CHALLENGER)
