"""What must be settled before any test imports numpy or starts a process."""

import os

from threadpoolctl import threadpool_limits

from forecast_assets.settings import Settings
from forecasting.threads import BLAS_THREADS, limit_blas_threads
from local_stack.environment import NO_CHALLENGER
from streaming_job.broker_access import BrokerAccess
from streaming_job.settings import SparkSettings, StreamSettings

# The real parts that tests start share the cores too.
limit_blas_threads()
# A benchmark peer brings a pytest plugin that has imported numpy by now.
threadpool_limits(limits=int(BLAS_THREADS), user_api="blas")
# A comparison of recipes takes minutes; the tests that are about it name a challenger themselves.
os.environ.setdefault(*NO_CHALLENGER)
# Java's second compiler pays off in minutes; the tests' streams live shorter.
os.environ.setdefault("SPARK_DRIVER_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

# The settings are what a test makes them, whether or not a stack of its user's runs beside it.
for settings in (Settings, SparkSettings, StreamSettings, BrokerAccess):
    settings.model_config["env_file"] = None
