"""The error that bad input gets."""

from collections.abc import Mapping, Sequence
from typing import get_args, get_type_hints

__all__ = ["TccamError", "check_choices", "check_limits", "check_types"]


class TccamError(ValueError):
    """Input that cannot be used: the message names the file or argument, and what was expected."""


def check_limits(config: object, limits: Mapping[str, tuple[float, float]]) -> None:
    """Refuse numbers of a configuration that are out of their limits.

    Args:
        config: a dataclass whose fields have defaults; where that is whole, so must the value be.
        limits: field → smallest and largest value, both allowed.

    Raises:
        TccamError: names the field, what was expected and what was found.

    Example:
        >>> from dataclasses import make_dataclass
        >>> check_limits(make_dataclass("Config", [("steps", int, 0)])(), {"steps": (1, 100)})
        Traceback (most recent call last):
        ...
        tccam.errors.TccamError: Config.steps: expected 1 … 100, got 0
    """
    kind = type(config)
    for field, (low, high) in limits.items():
        value, name = getattr(config, field), f"{kind.__name__}.{field}"
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise TccamError(f"{name}: expected {low} … {high}, got {value!r}")
        if isinstance(getattr(kind, field), int) and not isinstance(value, int):
            raise TccamError(f"{name}: expected a whole number, got {value!r}")


def check_types(config: object) -> None:
    """Refuse what is no text, no truth value or no whole number where a configuration asks for it.

    Numbers within limits are the business of :func:`check_limits`.

    Args:
        config: a dataclass.

    Raises:
        TccamError: names the field, what was expected and what was found.

    Example:
        >>> from dataclasses import make_dataclass
        >>> check_types(make_dataclass("Config", [("pad", bool, 1)])())
        Traceback (most recent call last):
        ...
        tccam.errors.TccamError: Config.pad: expected bool, got 1
    """
    for field, hint in get_type_hints(type(config)).items():
        value, kinds = getattr(config, field), get_args(hint) or (hint,)
        # Exactly: to Python, True is a whole number.
        if hint in (bool, str, str | None, int | None) and type(value) not in kinds:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise TccamError(f"{type(config).__name__}.{field}: expected {expected}, got {value!r}")


def check_choices(config: object, choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse names in a configuration that are none of those on offer.

    Args:
        config: a dataclass.
        choices: field → the names it may have.

    Raises:
        TccamError: names the field, what was expected and what was found.

    Example:
        >>> from dataclasses import make_dataclass
        >>> config = make_dataclass("Config", [("mode", str, "min")])()
        >>> check_choices(config, {"mode": ("max", "mean")})
        Traceback (most recent call last):
        ...
        tccam.errors.TccamError: Config.mode: expected one of max, mean; got 'min'
    """
    for field, allowed in choices.items():
        value = getattr(config, field)
        if value not in allowed:
            raise TccamError(
                f"{type(config).__name__}.{field}: expected one of {', '.join(allowed)}; "
                f"got {value!r}"
            )
