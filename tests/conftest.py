"""What all tests need: that Ctrl-C can be pressed, also where a shell started them in the background without it."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
