const REACH = 3; // cells that a vector may leave the picture by

const render = (context) => explore(context, async ({ root, set, data }) => {
  const [H, W] = data.cells;
  const levels = await unpack(data.maps);
  const box = `${-REACH - 0.5} ${-REACH - 0.5} ${W + 2 * REACH} ${H + 2 * REACH}`;
  let shown;
  const clamp = (value, most) => Math.min(Math.max(value, -most), most);
  const move = (u, v) => set({ flow: [u, v].map((c) => +clamp(c, REACH).toFixed(2)) });

  const field = (title, i) => {
    const input = h("input", { type: "number", step: 0.25, min: -REACH, max: REACH });
    input.onchange = () => move(...shown.flow.map((c, j) => (j === i ? +input.value : c)));
    return { input, element: h("label", { className: "tx-field" }, title, input) };
  };
  const [u, v] = [field("u, to the right", 0), field("v, down", 1)];
  const corners = toggle("align_corners mixed up", (on) => set({ half_cell_shift: on }));
  const panel = (name, title, content) => {
    const picture = h("div", { className: `tx-cells ${name}`, innerHTML: content });
    return h("div", {}, h("div", { className: "tx-title" }, title), picture);
  };
  // SVG that is kept, so that a drag and the focus survive a redraw.
  const cells = (fill) => levels.reduce((all, level, i) =>
    `${all}<rect x="${(i % W) - 0.5}" y="${Math.floor(i / W) - 0.5}" width="1.02" height="1.02" fill="${
      fill(level, i)}" data-cell="${i}" />`, "");
  const color = (level) => `rgb(${[0, 1, 2].map((c) => COLORS[3 * Math.round(level) + c])})`;
  const source = panel("tx-have", "The map that you have: where cells are read",
    `<svg viewBox="${box}">${cells(color)}<g></g>` +
    '<g class="tx-handle" tabindex="0" role="slider" aria-label="Flow vector">' +
    `<circle class="tx-grip" r="${Math.max(1.5, 0.07 * (W + 2 * REACH))}" />` +
    '<circle class="tx-knob" r="0.34" /></g></svg>');
  const target = panel("tx-get", "The map that you get", `<svg viewBox="-0.5 -0.5 ${W} ${H}" tabindex="0" ` +
    'role="application" aria-label="Warped map: arrow keys choose a cell"></svg>');
  const note = h("p", { className: "tx-say" });
  note.setAttribute("aria-live", "polite");
  const panels = h("div", { className: "tx-two" }, source, target);
  panels.style.setProperty("--tx-columns", `${W + 2 * REACH}fr ${W}fr`); // cells of one size
  root.append(
    h("div", { className: "tx-row" }, u.element, v.element, corners.element),
    panels, note,
    h("p", { className: "tx-legend" }, h("span", {}, h("i", { className: "tx-in" }), "valid"),
      h("span", {}, h("i", { className: "tx-out" }), "leaves the picture")));

  const [svg, result] = [source, target].map((part) => part.querySelector("svg"));
  const [marks, handle] = [svg.querySelector("g"), svg.querySelector(".tx-handle")];

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const arrows = (act) => (event) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    act(step, event.shiftKey ? 1 : 0.25);
  };
  handle.onkeydown = arrows(([x, y], by) => move(shown.flow[0] + x * by, shown.flow[1] + y * by));
  result.onkeydown = arrows(([x, y]) => set({ cell: [
    Math.min(Math.max(shown.cell[0] + x, 0), W - 1), Math.min(Math.max(shown.cell[1] + y, 0), H - 1)] }));
  handle.onpointerdown = (event) => {
    handle.setPointerCapture(event.pointerId);
    handle.focus();
    event.preventDefault();
  };
  handle.onpointermove = (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    move(at.x - shown.cell[0], at.y - shown.cell[1]);
  };
  for (const picture of [svg, result]) {
    picture.onclick = ({ target: { dataset } }) => {
      if (dataset.cell) set({ cell: [dataset.cell % W, Math.floor(dataset.cell / W)] });
    };
  }

  return (state) => {
    shown = state;
    const { flow, cell: [x, y], half_cell_shift: shifted } = state;
    const warped = warp(levels, H, W, flow, shifted);
    const at = warped[y * W + x];
    const [tipX, tipY] = [x + flow[0], y + flow[1]];
    [u, v].forEach(({ input }, i) => (input.value = flow[i]));
    corners.show(shifted);

    const length = Math.hypot(...flow);
    const head = length > 1.4 ? `<path class="tx-head" d="M-0.95 -0.3L-0.45 0L-0.95 0.3" transform="translate(${
      tipX} ${tipY}) rotate(${(Math.atan2(flow[1], flow[0]) * 180) / Math.PI})" />` : "";
    marks.innerHTML = warped.map((c) =>
      `<circle class="tx-${c.valid ? "in" : "out"}" cx="${c.x}" cy="${c.y}" r="0.14" />`).join("") +
      at.parts.map((p) => `<rect class="tx-part" x="${p.column - 0.5}" y="${p.row - 0.5}" width="1" height="1" />`)
        .join("") +
      `<rect class="tx-own" x="${x - 0.5}" y="${y - 0.5}" width="1" height="1" />` +
      `<path class="tx-arrow-under" d="M${x} ${y}L${tipX} ${tipY}" /><path class="tx-arrow" d="M${x} ${y}L${
        tipX} ${tipY}" />${head}`;
    handle.setAttribute("transform", `translate(${tipX} ${tipY})`);
    handle.ariaValueNow = flow[0];
    handle.ariaValueMin = -REACH;
    handle.ariaValueMax = REACH;
    handle.ariaValueText = `u ${fixed(flow[0])}, v ${fixed(flow[1])} cells`;

    result.innerHTML = cells((_, i) => (warped[i].valid ? color(255 * warped[i].value) : "var(--tx-void)")) +
      `<path class="tx-hatch" d="${warped.map((c, i) => (c.valid ? ""
        : `M${(i % W) - 0.5} ${Math.floor(i / W) + 0.5}l1 -1`)).join("")}" />` +
      `<rect class="tx-own" x="${x - 0.5}" y="${y - 0.5}" width="1" height="1" />`;
    const sum = at.parts.map((p) => `${fixed(p.weight)} × ${fixed(p.level / 255)}`).join(" + ");
    const places = `Cell (${x}, ${y}) is read at (${fixed(at.x)}, ${fixed(at.y)})`;
    const invalid = warped.filter((c) => !c.valid).length;
    note.textContent = (at.valid ? `${places} = ${sum} = ${fixed(at.value)}.`
      : `${places}, outside the picture: it is invalid, and reads as 0.`) +
      ` ${invalid} of ${H * W} cells are invalid.` +
      (shifted ? " The grid is normalised for align_corners=True and sampled with False, as the " +
        "authors do: even a flow of zero moves the map." : "");
  };
});

export default { render };
