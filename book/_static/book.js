// Definitions of terms as cards, and names that the theme leaves out.
(() => {
  const WAIT = { show: 120, hide: 200 }; // milliseconds: time to cross from a term to its card
  const GAP = 6;
  let link = null;
  let card = null;
  let timer = null;

  const place = () => {
    if (!card) return;
    const word = link.getClientRects()[0];
    const { width, height } = card.getBoundingClientRect();
    const below = word.bottom + GAP + height <= innerHeight || word.top < height + GAP;
    const left = Math.min(word.left, document.documentElement.clientWidth - width - 12);
    card.style.left = `${Math.max(12, left)}px`;
    card.style.top = `${below ? word.bottom + GAP : word.top - GAP - height}px`;
  };
  const hide = () => {
    clearTimeout(timer);
    if (card) card.hidden = true;
    link = card = null;
  };
  const show = (found) => {
    clearTimeout(timer);
    if (link === found) return;
    hide();
    link = found;
    card = document.getElementById(found.getAttribute("aria-describedby"));
    if (!card) return;
    card.hidden = false;
    place();
  };
  const later = (action, wait) => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
  const term = (event) => event.target.closest?.("a.term[aria-describedby]");

  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "touch") return; // a tap follows the link
    const found = term(event);
    if (found) later(() => show(found), WAIT.show);
    else if (event.target.closest?.(".term-card")) clearTimeout(timer);
    else if (!card) clearTimeout(timer);
    else if (link !== document.activeElement) later(hide, WAIT.hide);
  });
  document.addEventListener("focusin", (event) => {
    const found = term(event);
    if (found?.matches(":focus-visible")) show(found);
  });
  document.addEventListener("focusout", (event) => term(event) && hide());
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", place, { passive: true, capture: true });
  addEventListener("resize", place);

  const nameThings = () => {
    document.querySelector(".bd-sidebar-primary")?.setAttribute("role", "complementary");
    document.querySelector(".bd-sidebar-primary")?.setAttribute("aria-label", "Book");
    for (const button of document.querySelectorAll(".search-button-field")) {
      button.removeAttribute("aria-label"); // it has words
    }
    for (const button of document.querySelectorAll(".admonition-title > .toggle-button")) {
      button.setAttribute("aria-label", `Show or hide: ${button.parentElement.textContent.trim()}`);
    }
  };
  // The button of the colours says which ones are on.
  const MODES = { light: "Light", dark: "Dark", auto: "System Settings" };
  const nameMode = () => {
    const mode = document.documentElement.dataset.mode;
    for (const button of document.querySelectorAll(".theme-switch-button")) {
      button.setAttribute("aria-label", `Color mode: ${MODES[mode] ?? MODES.auto}`);
    }
  };
  // What is wider than its box fades at the side where it goes on (custom.css). Code can be scrolled
  // by keys, also when it was folded at first; of tables the theme takes care.
  const SCROLLS = ".bd-article pre, .bd-article .pst-scrollable-table-container, .bd-article div.math";
  const fade = (box) => {
    const room = box.scrollWidth - box.clientWidth;
    box.classList.toggle("goes-on", room > 1 && box.scrollLeft < room - 1);
  };
  const reachable = new ResizeObserver((boxes) => {
    for (const { target } of boxes) {
      if (target.matches("pre")) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
      fade(target);
    }
  });
  const start = () => {
    nameThings();
    for (const box of document.querySelectorAll(SCROLLS)) {
      reachable.observe(box);
      box.addEventListener("scroll", () => fade(box), { passive: true });
    }
    nameMode();
    new MutationObserver(nameMode).observe(document.documentElement, {
      attributeFilter: ["data-mode"],
    });
  };
  if (document.readyState === "complete") start();
  else addEventListener("load", start);
})();
