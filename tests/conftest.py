"""What all tests share."""

import signal

from hypothesis import settings

# A machine that does something else too is slow now and then, which no test is about.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

# `nohup make test &` ignores both, and every process that a test starts would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
