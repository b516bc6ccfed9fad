"""What all tests share."""

import os
import signal
import sysconfig

from hypothesis import settings

# A machine that does something else too is slow now and then, which no test is about.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")

# `nohup make test &` ignores both, and every process that a test starts would inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# As in an activated environment, so that messages suggest `study ...` wherever tests are started.
os.environ["PATH"] = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", "")))
os.environ.pop("UV_RUN_RECURSION_DEPTH", None)
