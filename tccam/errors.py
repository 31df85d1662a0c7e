"""The error that bad input gets."""

__all__ = ["TccamError"]


class TccamError(ValueError):
    """Input that cannot be used: the message names the file or argument, and what was expected."""
