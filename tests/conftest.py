"""What must be settled before any test imports numpy or starts a process."""

import os

from forecast_assets.settings import Settings
from streaming_job.settings import StreamSettings

# The real parts that tests start share the cores, and BLAS threads wait by spinning: with two of
# them a busy machine of two cores needs ten times the processor time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Java's second compiler pays off in minutes; the tests' brokers and streams live shorter.
os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")

# The settings are what a test makes them, whether or not a stack of its user's runs beside it.
for settings in (Settings, StreamSettings):
    settings.model_config["env_file"] = None
