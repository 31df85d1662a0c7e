"""Quizzes: what is shown, what is refused, and whether the questions of the book are fair."""

import copy
import json
import re
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tccam import notebook, quizzes
from tccam.errors import TccamError
from tccam.quizzes import HEADINGS, Quiz, core

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # the tools are scripts: they import each other by name

import check_notebooks  # noqa: E402
from check_quizzes import check_quizzes, check_shown, shown  # noqa: E402

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
BOOK = {c: quizzes.load(c) for c in CHAPTERS if (check_notebooks.QUIZZES / f"{c}.json").is_file()}


def option(answer, correct, feedback="It says why, in a sentence."):
    return {"answer": answer, "correct": correct, "feedback": feedback}


ONE = {
    "question": "Where is a map of `stride` 16 read, if $x < 3$ & the object moved?",
    "type": "multiple_choice",
    "answers": [
        option("left", False, "There it was $x > 0$ before."),
        option("right", True, "The flow of 16 pixels & more leads there."),
        option("nowhere", False),
    ],
}
MANY = {
    "question": "Which are even?",
    "type": "many_choice",
    "answers": [option("four", True), option("five", False), option("six", True)],
}
NUMERIC = {
    "question": "What are 48 pixels at stride 16, in cells?",
    "type": "numeric",
    "precision": 3,
    "answers": [
        {"type": "value", "value": 768, "correct": False, "feedback": "You multiplied by the 16."},
        {"type": "value", "value": 3, "correct": True, "feedback": "Pixels divided by the stride."},
        {"type": "range", "range": [-9, 0], "correct": False, "feedback": "Right is not negative."},
        {"type": "default", "feedback": "Divide pixels by the stride."},
    ],
}
GOOD = {"predict": [ONE], "check": [MANY, NUMERIC]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of quizzes, with some for ``some-chapter``."""
    monkeypatch.setattr(core, "_HERE", tmp_path)
    monkeypatch.setattr(check_notebooks, "QUIZZES", tmp_path)
    for kind in ("css", "js"):
        text = (ROOT / "tccam" / "quizzes" / f"quiz.{kind}").read_text(encoding="utf-8")
        (tmp_path / f"quiz.{kind}").write_text(text, encoding="utf-8")
    (tmp_path / "some-chapter.json").write_text(json.dumps(GOOD), encoding="utf-8")
    return tmp_path


def page(*questions):
    return BeautifulSoup(Quiz("Check yourself", list(questions)).html(), "html.parser")


# --- What is shown


def test_quiz_of_a_chapter_has_its_heading(folder):
    for name, heading in HEADINGS.items():
        made = notebook.quiz("some-chapter", name)
        assert made == Quiz(heading, GOOD[name])
        assert made.heading in made.html()


def test_two_runs_give_the_same_bytes():
    first, second = (Quiz("Check yourself", GOOD["check"])._repr_mimebundle_() for _ in range(2))
    assert first == second


def test_without_a_script_everything_is_there_and_explanations_are_folded():
    found = page(ONE, MANY, NUMERIC)
    asked = [p.get_text() for p in found.select(".tq-question > p")]
    assert asked[1:] == [MANY["question"], NUMERIC["question"]]
    options = [item.span.get_text() for item in found.select("li")]
    assert options[:6] == ["left", "right", "nowhere", "four", "five", "six"]
    assert options[6:] == ["3", "768", "-9 to 0", "other numbers"]  # the right one first
    notes = found.select("li > details > p")
    assert len(notes) == len(options)
    assert [note.strong.get_text() for note in notes[:3]] == ["Not quite.", "Right.", "Not quite."]
    assert notes[1].get_text() == "Right. The flow of 16 pixels & more leads there."
    assert not found.select("details[open], input, button, [onclick], [id]")


def test_code_and_formulas_are_marked_and_the_rest_is_escaped():
    asked = page(ONE).select_one(".tq-question > p")
    assert asked.code.get_text() == "stride"
    assert asked.select_one(".math").get_text() == r"\(x < 3\)"
    assert "mathjax_process" in page(ONE).select_one(".tccam-quiz")["class"]
    text = Quiz("<i>", [{**ONE, "question": "<b>no</b> </script>"}]).html()
    assert text.count("</script>") == 1
    assert "<b>" not in text
    assert "<i>" not in text


def test_script_is_small_quiet_and_asks_nobody():
    html = Quiz("Check yourself", []).html()
    assert len(html) < 9_000
    assert not re.search(r"console\.|https?:|fetch\(|import |innerHTML|setTimeout|random", html)


def test_text_form_is_whole_and_plain():
    quiz = Quiz("Check yourself", [ONE, MANY, NUMERIC])
    bundle = quiz._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/markdown", "text/plain"}
    text = bundle["text/plain"]
    assert text == bundle["text/markdown"] == repr(quiz)
    flat = " ".join(text.split())
    for question in (ONE, MANY, NUMERIC):
        assert question["question"] in flat
        for answer in question["answers"]:
            assert answer["feedback"] in flat
    before, after = text.split("Explanations")
    assert "b. right" in before
    assert "Right." not in before
    assert "3" not in before.split("\n3. ")[1].replace("1.", "")  # a number is not given away
    assert "b. right: Right." in after
    assert max(map(len, text.splitlines())) <= 92
    assert text.isascii()  # PDF fonts have it all


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("nowhere", "check"), "chapter: no quizzes for 'nowhere'; there are some for: some-c"),
        (("../some-chapter", "check"), "chapter: no quizzes for"),
        (("some-chapter", "chekc"), "name: some-chapter has predict, check, got 'chekc'"),
    ],
)
def test_unknown_quizzes_are_named(folder, given, message):
    with pytest.raises(TccamError, match=message):
        notebook.quiz(*given)


@pytest.mark.parametrize("text", ["[]", '{"check": {}}', '{"check": ["why"]}', "{", "3"])
def test_damaged_files_are_named(folder, text):
    (folder / "some-chapter.json").write_text(text, encoding="utf-8")
    with pytest.raises(TccamError, match=r"some-chapter\.json: "):
        notebook.quiz("some-chapter", "check")


@pytest.mark.parametrize("change", [{"type": "string"}, {"type": None}, {"answers": []}])
def test_questions_that_cannot_be_shown_are_refused(change):
    with pytest.raises(TccamError, match=r"questions: expected a type of multiple_choice, .* 2"):
        Quiz("Check yourself", [ONE, {**ONE, **change}])


# --- What the lint says


def changed(quiz, number, at=None, **changes):
    made = copy.deepcopy(GOOD)
    where = made[quiz][number]
    (where if at is None else where["answers"][at]).update(changes)
    return made


def test_lint_is_content_with_good_questions():
    assert list(check_quizzes(GOOD)) == []


@pytest.mark.parametrize(
    ("quizzes", "message"),
    [
        ({**GOOD, "chekc": []}, "'chekc' is no quiz: there are predict, check"),
        ({"check": GOOD["check"]}, "predict: 0 questions; a chapter has at least 1"),
        ({**GOOD, "check": [MANY]}, "check: 1 questions; a chapter has at least 2"),
        ({**GOOD, "check": [MANY, MANY]}, r"the same question twice: .Which are even\?"),
        (changed("predict", 0, type="string"), "predict, question 1: type 'string': expected mul"),
        (changed("predict", 0, shuffle=True), "nothing reads shuffle"),
        (changed("predict", 0, 0, hint="No."), "nothing reads hint"),
        (changed("predict", 0, question=" "), "a text is empty"),
        (changed("predict", 0, answers=ONE["answers"][:2]), "2 options; there are at least 3"),
        (changed("predict", 0, 0, correct=True), "2 right answers; multiple_choice has one"),
        (changed("predict", 0, 1, correct=False), "0 right answers; multiple_choice has one"),
        (changed("predict", 0, 1, correct="yes"), "'right' is neither true nor false"),
        (changed("predict", 0, 1, answer="left"), "two of its options are the same"),
        (changed("check", 0, 0, correct=False), "1 right answers; many_choice has at least two"),
        (changed("predict", 0, 0, feedback="Not so."), "feedback of 'left' explains nothing"),
        (changed("predict", 0, 0, feedback="It is 0.37 here, as we saw."), "claims 0.37, which"),
        (changed("predict", 0, 0, feedback="There are 17 of them in all."), "claims 17, which"),
        (changed("predict", 0, 0, feedback="This $x is a formula."), r"a \$ or ` without"),
        (changed("predict", 0, 0, answer="the `warp"), r"a \$ or ` without"),
        (changed("predict", 0, 0, answer="<b>bold</b>"), "texts are no HTML: <b>"),
        (changed("check", 1, 0, correct=True), "2 right answers; a number has one"),
        (changed("check", 1, 3, type="other"), "no feedback of the type 'default'"),
        (changed("check", 1, 3, type="other"), "an answer of the type 'other'"),
        (changed("check", 1, 2, type="value"), "an answer has no value"),
    ],
)
def test_lint_names_what_is_wrong(quizzes, message):
    found = list(check_quizzes(quizzes))
    assert any(re.search(message, sentence) for sentence in found), found


def shows(*names, chapter="some-chapter", outputs=True, tags=("hide-input",)):
    cells = []
    for name in names:
        made = new_code_cell(f'notebook.quiz("{chapter}", "{name}")', metadata={"tags": list(tags)})
        if outputs and name in GOOD:
            html = Quiz(HEADINGS[name], GOOD[name]).html()
            made.outputs = [new_output("execute_result", data={"text/html": html})]
        cells.append(made)
    return new_notebook(cells=[new_code_cell("from tccam import notebook"), *cells])


@pytest.mark.parametrize("outputs", [True, False])
def test_lint_is_content_with_a_chapter_that_shows_its_quizzes_once(outputs):
    made = shows("predict", "check", outputs=outputs)
    assert list(shown(made)) == [(1, "some-chapter", "predict"), (2, "some-chapter", "check")]
    assert list(check_shown("some-chapter", made, GOOD)) == []


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (shows("predict"), (0, "it shows its quiz 'check' 0 times, not once")),
        (shows("predict", "check", "check"), (0, "it shows its quiz 'check' 2 times, not once")),
        (shows("predict", "check", "other"), (3, "some-chapter has no quiz 'other' for this chap")),
        (shows("check", chapter="another"), (1, "another has no quiz 'check' for this chapter")),
        (shows("predict", "check", tags=()), (1, "it shows a quiz: the tag 'hide-input'")),
    ],
)
def test_lint_names_where_chapter_and_quizzes_disagree(made, expected):
    found = [(i, s[: len(expected[1])]) for i, s in check_shown("some-chapter", made, GOOD)]
    assert expected in found


def test_lint_sees_that_a_question_has_changed_since_the_chapter_ran():
    found = check_shown(
        "some-chapter", shows("predict", "check"), changed("check", 0, question="?")
    )
    assert list(found) == [(2, "it shows an older quiz: make notebooks regenerates it")]


def test_lint_reads_files(folder):
    made = shows("predict", "check")
    assert check_notebooks.quizzes_of("some-chapter", made) == []
    (found,) = check_notebooks.quizzes_of("some-chapter", None)
    assert str(found).startswith("tccam/quizzes/some-chapter.json: ")
    assert "no chapter of this name" in found.sentence
    (folder / "some-chapter.json").write_text("{", encoding="utf-8")
    (found,) = check_notebooks.quizzes_of("some-chapter", made)
    assert "not JSON" in found.sentence
    assert check_notebooks.quizzes_of("other", new_notebook()) == []


# --- The questions of the book


def test_every_chapter_has_quizzes_and_shows_them():
    assert sorted(BOOK) == CHAPTERS
    for chapter in CHAPTERS:
        made = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
        assert sorted(name for _, _, name in shown(made)) == ["check", "predict"], chapter


def test_every_question_of_the_book_is_fair():
    assert [(c, s) for c, parts in BOOK.items() for s in check_quizzes(parts)] == []


def test_right_answers_stand_at_all_places():
    places = Counter()
    for parts in BOOK.values():
        for question in (q for part in parts.values() for q in part):
            if question["type"] == "multiple_choice":
                places[[a["correct"] for a in question["answers"]].index(True)] += 1
    assert len(places) >= 3, places
    assert max(places.values()) <= 0.6 * places.total(), places


def test_first_questions_of_the_field_are_among_them():
    """Why a map is small, what a flow of 50 pixels does, what pooling leaves of places."""
    seeds = [
        (chapter, question["question"])
        for chapter, parts in BOOK.items()
        for part in parts.values()
        for question in part
        if question.get("seed")
    ]
    chapters = sorted(chapter for chapter, _ in seeds)
    assert chapters == ["cam-basics", "cam-basics", "optical-flow"]
    for words in ("part", r"\b50\b", "pooling|GAP"):
        assert [text for _, text in seeds if re.search(words, text)], words
