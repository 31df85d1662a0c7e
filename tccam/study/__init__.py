"""Studies: many training runs that answer one question, recorded so that anyone can check them."""

from tccam.study.catalog import STUDIES
from tccam.study.engine import run, verify
from tccam.study.plan import Arm, Study
from tccam.study.results import Comparison, compare, load

__all__ = ["STUDIES", "Arm", "Comparison", "Study", "compare", "load", "run", "verify"]
