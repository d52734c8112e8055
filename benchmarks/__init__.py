"""Benchmarks, each beside its peers or an earlier state in one run; `make help` lists them."""

from forecasting.threads import limit_blas_threads

limit_blas_threads()
