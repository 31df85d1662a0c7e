
// Make a form of each question that is none yet. Without this script it is a list to unfold.
{
  const make = (tag, fields, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const sign = (correct) => {
    const made = make("span", {}, correct ? "✓ " : "✗ ");
    made.setAttribute("aria-hidden", "true");
    return made;
  };
  const number = (text) => (text.trim() ? Number(text.replace(",", ".").replace("−", "-")) : NaN);

  const form = (question) => {
    const { type, precision } = question.dataset;
    const typed = type === "numeric";
    const legend = make("legend", {}, ...question.querySelector("p").childNodes);
    const says = make("div", {});
    says.setAttribute("role", "status");
    const answers = [...question.querySelectorAll("li")].map((item) => {
      const note = item.querySelector("details p");
      const correct = item.dataset.correct === "true";
      note.dataset.correct = correct;
      note.hidden = true;
      note.querySelector("strong").prepend(sign(correct));
      const input = make("input", {
        type: type === "many_choice" ? "checkbox" : "radio",
        name: "answer",
      });
      const label = make("label", {}, input, item.firstElementChild);
      return { correct, note, input, label, from: item.dataset.from, to: item.dataset.to };
    });
    const sum = make("p", { hidden: true });
    says.append(...answers.map((answer) => answer.note), sum);
    const field = make("input", { type: "text", inputMode: "decimal", autocomplete: "off" });
    const rows = typed ? [make("label", {}, "Your number", field)] : answers.map((a) => a.label);
    const button = make("button", { type: "submit", hidden: type === "multiple_choice" }, "Check");
    const made = make("form", {}, make("fieldset", {}, legend, ...rows), button, says);

    const tell = (correct, text) => {
      sum.dataset.correct = correct;
      const word = correct ? "Right." : "Not yet.";
      sum.replaceChildren(make("strong", {}, sign(correct), word), ` ${text}`);
      sum.hidden = false;
    };
    const clear = () => {
      sum.hidden = true;
      for (const { note, label } of answers) {
        note.hidden = true;
        delete label.dataset.verdict;
      }
    };
    const show = ({ correct, note, label }) => {
      note.hidden = false;
      label.dataset.verdict = correct;
    };
    const judge = () => {
      clear();
      if (typed) {
        const round = (value) => Number(precision ? value.toPrecision(precision) : value);
        const value = number(field.value);
        if (Number.isNaN(value)) return tell(false, "Type a number.");
        const fits = ({ from, to }) =>
          from === to ? round(value) === round(Number(from)) : from <= value && value <= to;
        const found =
          answers.find((answer) => answer.from !== undefined && fits(answer)) ||
          answers.find((answer) => answer.from === undefined);
        return found ? show(found) : tell(false, "Try another number.");
      }
      const chosen = answers.filter((answer) => answer.input.checked);
      if (!chosen.length) return tell(false, "Choose an answer first.");
      chosen.forEach(show);
      if (type === "multiple_choice") return (button.hidden = true);
      const missing = answers.filter((a) => a.correct && !a.input.checked).length;
      const wrong = chosen.filter((a) => !a.correct).length;
      if (!wrong && !missing) return tell(true, "These are all of them.");
      return tell(false, wrong ? "Not all that you chose belongs here." : "There is more to find.");
    };

    // Arrows only move through the options: who uses them decides with Enter or the button.
    let moving = false;
    made.addEventListener("keydown", (event) => (moving = event.key.startsWith("Arrow")));
    made.addEventListener("pointerdown", () => (moving = false));
    made.addEventListener("input", () => {
      clear();
      if (type !== "multiple_choice") return;
      if (moving) button.hidden = false;
      else judge();
    });
    made.addEventListener("submit", (event) => {
      event.preventDefault();
      judge();
    });
    return made;
  };

  for (const question of document.querySelectorAll(".tccam-quiz .tq-question")) {
    question.replaceWith(form(question));
  }
}
