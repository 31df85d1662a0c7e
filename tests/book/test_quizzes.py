"""Quizzes in a reader's browser: every one of the built pages, and one of each kind by hand."""

import re

import pytest
from test_pages import FAINT, ROOT, VENDORED  # it puts the tools on the path

from tccam import quizzes
from tccam.quizzes import Quiz

assert ROOT
from browser import new_context  # noqa: E402

CHAPTERS = sorted(path.stem for path in (ROOT / "tccam" / "quizzes").glob("*.json"))
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A quiz</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>:root {{ color-scheme: light dark }} body {{ margin: 0; background: Canvas }}</style>
<body><main class="bd-article"><h1>A quiz</h1>{content}</main></body></html>"""
ONE = {
    "question": "Where to?",
    "type": "multiple_choice",
    "answers": [
        {"answer": "left", "correct": False, "feedback": "It came from there."},
        {"answer": "right " * 30, "correct": True, "feedback": "So the flow says."},
        {"answer": "nowhere", "correct": False, "feedback": "It moves, after all."},
    ],
}
MANY = {
    "question": "Which are even?",
    "type": "many_choice",
    "answers": [
        {"answer": "four", "correct": True, "feedback": "It is two twos."},
        {"answer": "five", "correct": False, "feedback": "One is left over."},
        {"answer": "six", "correct": True, "feedback": "It is three twos."},
    ],
}
NUMERIC = {
    "question": "How many cells?",
    "type": "numeric",
    "precision": 2,
    "answers": [
        {"type": "value", "value": 3.125, "correct": True, "feedback": "Divided by the stride."},
        {"type": "value", "value": 800, "correct": False, "feedback": "You multiplied."},
        {"type": "range", "range": [-10, 0], "correct": False, "feedback": "That is left."},
        {"type": "default", "feedback": "Try to divide."},
    ],
}
SMALL = """() => [...document.querySelectorAll(".tccam-quiz :is(label, button)")]
  .filter((e) => e.getClientRects().length)
  .filter((e) => Math.min(e.offsetHeight, e.offsetWidth) < 44).map((e) => e.outerHTML)"""


@pytest.fixture
def show(browser, tmp_path):
    """Open a page with quizzes and no network; in the end, not a word is in its console."""
    opened, said = [], []

    def look(*questions, width=1000, dark=False):
        page = tmp_path / "page.html"
        content = Quiz("Check yourself", list(questions)).html()
        page.write_text(PAGE.format(content=content), encoding="utf-8")
        context, _ = new_context(browser, width)
        context.unroute("**/*")
        context.set_offline(True)
        opened.append(context)
        tab = context.new_page()
        tab.emulate_media(color_scheme="dark" if dark else "light")
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda r: said.append(r.url) if not r.url.startswith("file:") else None)
        tab.goto(page.as_uri())
        return tab

    yield look
    for context in opened:
        context.close()
    assert said == []


def told(tab, number=0):
    """What a question says now, a line for each explanation."""
    shown = tab.locator(".tccam-quiz [role=status]").nth(number).locator("p:visible")
    return [" ".join(text.split()) for text in shown.all_inner_texts()]


def test_click_tells_at_once_and_another_click_tries_again(show):
    tab = show(ONE)
    group = tab.get_by_role("group", name="Where to?", exact=True)
    assert told(tab) == []
    group.get_by_label("left").check()
    assert told(tab) == ["✗ Not quite. It came from there."]
    group.get_by_label("right right").check()
    assert told(tab) == ["✓ Right. So the flow says."]
    group.get_by_label("nowhere").check()
    assert told(tab) == ["✗ Not quite. It moves, after all."]
    assert tab.get_by_role("button").count() == 0


def test_keys_walk_through_the_options_and_enter_decides(show):
    tab = show(ONE, MANY)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    assert told(tab) == ["✗ Not yet. Choose an answer first."]
    tab.keyboard.press("ArrowDown")
    assert tab.get_by_label("right right").is_checked()
    assert told(tab) == []  # who walks past an option has not chosen it
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert told(tab) == ["✗ Not quite. It moves, after all."]
    tab.keyboard.press("ArrowUp")
    assert told(tab) == []
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Check"
    tab.keyboard.press("Space")
    assert told(tab) == ["✓ Right. So the flow says."]
    tab.get_by_label("right right").focus()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    assert tab.get_by_label("four").is_checked()
    assert told(tab, 1) == []


def test_space_on_an_option_decides(show):
    tab = show(ONE)
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    assert told(tab) == ["✗ Not quite. It came from there."]


def test_several_answers_are_checked_together(show):
    tab = show(MANY)
    button = tab.get_by_role("button", name="Check")
    button.click()
    assert told(tab) == ["✗ Not yet. Choose an answer first."]
    tab.get_by_label("four").check()
    assert told(tab) == []
    button.click()
    assert told(tab) == ["✓ Right. It is two twos.", "✗ Not yet. There is more to find."]
    tab.get_by_label("five").check()
    tab.get_by_label("six").check()
    tab.keyboard.press("Enter")
    assert told(tab) == [
        "✓ Right. It is two twos.",
        "✗ Not quite. One is left over.",
        "✓ Right. It is three twos.",
        "✗ Not yet. Not all that you chose belongs here.",
    ]
    tab.get_by_label("five").uncheck()
    button.click()
    assert told(tab)[-1] == "✓ Right. These are all of them."


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("3.125", "✓ Right. Divided by the stride."),
        (" 3,1 ", "✓ Right. Divided by the stride."),
        ("800", "✗ Not quite. You multiplied."),
        ("−3", "✗ Not quite. That is left."),
        ("0", "✗ Not quite. That is left."),
        ("3.3", "✗ Not quite. Try to divide."),
        ("50/16", "✗ Not yet. Type a number."),
        ("", "✗ Not yet. Type a number."),
    ],
)
def test_numbers_are_read_as_people_type_them(show, typed, expected):
    tab = show(NUMERIC)
    tab.get_by_label("Your number").fill(typed)
    assert told(tab) == []
    tab.get_by_label("Your number").press("Enter")
    assert told(tab) == [expected]


@pytest.mark.parametrize("dark", [False, True])
def test_there_is_no_barrier_before_and_after_an_answer(show, axe, dark):
    tab = show(ONE, MANY, NUMERIC, dark=dark)
    tab.evaluate(axe)

    def found():
        violations = tab.evaluate("axe.run()")["violations"]
        return [(v["id"], v["nodes"][0]["html"]) for v in violations], tab.evaluate(FAINT)

    assert found() == ([], [])
    for option in ("left", "right right"):
        tab.get_by_label(option).check()
        for name in ("four", "five"):
            tab.get_by_label(name).check()
        for button in tab.get_by_role("button", name="Check").all():
            button.click()
        assert len(told(tab, 1)) == 3
        assert found() == ([], [])


def test_what_is_said_is_heard(show):
    status = show(ONE).locator(".tccam-quiz [role=status]")
    assert status.count() == 1
    assert status.evaluate("(e) => e.getClientRects().length > 0")  # there before it speaks


@pytest.mark.parametrize("width", [360, 1000])
def test_fingers_find_their_targets_and_nothing_is_too_wide(show, width):
    tab = show(ONE, MANY, NUMERIC, width=width)
    tab.get_by_label("left").check()
    assert tab.evaluate(SMALL) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    size = "(e) => getComputedStyle(e).fontSize + getComputedStyle(e).textAlign"
    assert tab.locator("legend").first.evaluate(size) == "16pxleft"
    assert tab.locator("label").first.evaluate(size) == "16pxleft"


def test_nothing_moves(show):
    tab = show(ONE)
    moving = """() => [...document.querySelectorAll(".tccam-quiz *")]
      .map((e) => getComputedStyle(e))
      .filter((s) => s.transitionDuration !== "0s" || s.animationName !== "none").length"""
    assert tab.evaluate(moving) == 0


def test_without_a_script_explanations_are_folded(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(content=Quiz("Check yourself", [ONE]).html()), encoding="utf-8")
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    note = tab.get_by_text("It came from there.")
    assert tab.get_by_text("left", exact=True).is_visible()
    assert not note.is_visible()
    tab.get_by_text("Explanation").first.click()
    assert note.is_visible()
    context.close()


# --- The built pages


@pytest.fixture
def visit(browser):
    """Open a built page where nothing but this machine answers; in the end, nothing complained."""
    opened, errors, asked = [], [], []

    def look(url, theme="light", width=1280):
        context, elsewhere = new_context(browser, width, theme)
        if url.startswith("file:"):
            context.unroute("**/*")
            context.set_offline(True)
        opened.append(context)
        asked.append(elsewhere)
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        tab.goto(url, wait_until="load")
        return tab

    yield look
    for context in opened:
        context.close()
    # What a network or, on pages from a disk, the theme would have read is not the quizzes' doing.
    theirs = ("ERR_FAILED", "CORS policy", "ERR_INTERNET_DISCONNECTED")
    assert [error for error in errors if not any(part in error for part in theirs)] == []
    assert not VENDORED or asked == [[]]


def plain(text):
    """The pieces of a text that are neither code nor formulas, without spaces."""
    pieces = re.split(r"`[^`]*`|\$[^$]*\$", text)
    return [squeezed for piece in pieces if (squeezed := "".join(piece.split()))]


@every_chapter
def test_every_answer_of_a_page_gives_its_explanation(visit, address, chapter):
    tab = visit(f"{address}/notebooks/{chapter}.html")
    expected = quizzes.load(chapter)
    order = tab.locator(".tccam-quiz .tq-title").all_inner_texts()
    assert sorted(order) == sorted(quizzes.HEADINGS[name] for name in expected)
    names = [name for title in order for name, text in quizzes.HEADINGS.items() if text == title]
    questions = [question for name in names for question in expected[name]]
    forms = tab.locator(".tccam-quiz form")
    assert forms.count() == len(questions)
    for number, question in enumerate(questions):
        form = forms.nth(number)
        for index, answer in enumerate(question["answers"]):
            if question["type"] == "numeric":
                if "value" not in answer:
                    continue
                form.get_by_label("Your number").fill(str(answer["value"]))
                form.get_by_label("Your number").press("Enter")
            else:
                form.locator("input").nth(index).check()
                if question["type"] == "many_choice":
                    form.get_by_role("button", name="Check").click()
            verdict = "✓ Right." if answer["correct"] else "✗ Not quite."
            said = [text for text in told(tab, number) if text.startswith(verdict)]
            pieces = plain(answer["feedback"])
            assert any(all(p in "".join(s.split()) for p in pieces) for s in said), answer
            if question["type"] == "many_choice":
                form.locator("input").nth(index).uncheck()


@every_chapter
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_answered_by_keys_and_have_no_barrier_then(visit, address, axe, chapter, theme):
    tab = visit(f"{address}/notebooks/{chapter}.html", theme, width=390)
    forms = tab.locator(".tccam-quiz form")
    for number in range(forms.count()):
        field = forms.nth(number).locator("input").first
        field.focus()
        kind = field.get_attribute("type")
        tab.keyboard.press("Digit1" if kind == "text" else "Space")
        tab.keyboard.press("Enter")
        (first, *_) = told(tab, number)
        assert first.startswith(("✓ Right.", "✗ Not"))
    tab.evaluate(axe)
    found = tab.evaluate("axe.run('.tccam-quiz', { resultTypes: ['violations'] })")["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate(SMALL) == []
