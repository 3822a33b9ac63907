"""What all tests need: that Ctrl-C can be pressed, and that no test fails because the machine was slow for a moment."""

import signal

from hypothesis import HealthCheck, settings

# Also where a shell started them in the background without it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis would fail an example that takes 200 ms, and data that are drawn slowly: both tell of the machine.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
