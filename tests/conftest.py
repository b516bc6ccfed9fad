"""What all tests share."""

from hypothesis import settings

# A machine that does something else too is slow now and then, which no test is about.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")
