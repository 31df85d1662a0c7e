"""Questions for the reader, in the JSON format of jupyterquiz, and how they are shown.

``tccam/quizzes/<chapter>.json`` is an object of quizzes by name; a quiz is a list of questions. A
:class:`~tccam.quizzes.core.Quiz` shows one as HTML that needs neither a kernel nor a network, and
is complete without its script: questions, options and folded explanations.
"""

from tccam.quizzes.core import HEADINGS, TYPES, Quiz, answers, load, option

__all__ = ["HEADINGS", "TYPES", "Quiz", "answers", "load", "option"]
