"""Benchmarks that measure this project and its peers in one run; `make help` lists them.

A benchmark trains a challenger only if FORECAST_CHALLENGER names one or if the training is part of
what it measures. Otherwise the training would share the cores with the measured work.
"""

import os

from forecasting.threads import limit_blas_threads
from local_stack.environment import NO_CHALLENGER

limit_blas_threads()
# Services inherit the variables that the stack's own contract does not name.
os.environ.setdefault(*NO_CHALLENGER)
