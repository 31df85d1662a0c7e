"""The same examples in every run: a red test is the fault of a change, not of a draw."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None)
settings.load_profile("repeatable")
