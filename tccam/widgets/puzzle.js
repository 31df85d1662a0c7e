const render = (context) => explore(context, async ({ root, set, data }) => {
  const { pieces, count, scale, cells: [H, W] } = data;
  const [pictures, ...packed] = await Promise.all([frames(data.frames), ...data.maps.map(unpack)]);
  const side = (p) => Math.sqrt(p);
  const map = (p, b) =>
    merge(packed[pieces.indexOf(p)], p, count, b, H / side(p), W / side(p));
  const gaps = (p, b) => distance(map(1, b), map(p, b));
  // Cells that touch a cut: with h cells a tile, the last and the first of each.
  const edge = (at, cells, whole) => (at % cells === 0 && at > 0) || (at % cells === cells - 1 && at < whole - 1);
  const cut = (p) => Array.from({ length: H * W }, (_, i) =>
    p > 1 && (edge(Math.floor(i / W), H / side(p), H) || edge(i % W, W / side(p), W)));
  const all = pieces.map((p) => Array.from({ length: count }, (_, b) => (mean([...gaps(p, b)]) / 255) * scale));
  const peak = Math.max(...all.flat()) || 1;

  const number = choice("Tiles", pieces.map(String), (name) => set({ pieces: +name }));
  const merged = toggle("merged", (on) => set({ merged: on }));
  const tiles = h("div", { className: "tx-tiles", ariaLabel: `${data.alt}: maps of its tiles` });
  tiles.setAttribute("role", "img");
  tiles.style.aspectRatio = `${pictures.w} / ${pictures.h}`;
  const whole = stage(pictures.h, pictures.w, `${data.alt}: map of the whole picture`);
  const gap = stage(H, W, "Where the two maps differ");
  const note = h("p", { className: "tx-note" });
  const score = h("output", { className: "tx-number", ariaLive: "off" });
  const time = scrubber(count, set, "picture", 700);
  const panel = (title, ...parts) =>
    h("div", {}, h("div", { className: "tx-title" }, title), ...parts);
  const caption = h("span");
  root.append(
    h("div", { className: "tx-row" }, number.element, merged.element),
    h("div", { className: "tx-three" }, panel("Map of the whole", whole.element),
      panel(caption, tiles), panel("|whole − merged|", gap.element)),
    h("div", { className: "tx-read" }, score, note), time.element,
    h("p", { className: "tx-note" }, "Curve: mean |whole − merged| of each picture"));

  /** The pieces of the picture, each with its part of the map; made anew for another number. */
  const cutUp = (p) => {
    tiles.style.gridTemplate = `repeat(${side(p)}, 1fr) / repeat(${side(p)}, 1fr)`;
    tiles.replaceChildren(...Array.from({ length: p }, () =>
      h("canvas", { width: pictures.w / side(p), height: pictures.h / side(p) })));
  };

  return ({ frame: b, pieces: p, merged: joined }) => {
    number.show(p);
    merged.show(joined);
    tiles.classList.toggle("tx-merged", joined);
    caption.textContent = joined ? "Maps of the tiles, merged" : "Maps of the tiles";
    if (tiles.childElementCount !== p) cutUp(p);
    pictures.draw(whole.context, b);
    whole.lay(heat(map(1, b), H, W));
    const [n, layer] = [side(p), heat(map(p, b), H, W)];
    [...tiles.children].forEach((canvas, i) => {
      const [x, y, context] = [(i % n) / n, Math.floor(i / n) / n, canvas.getContext("2d")];
      context.imageSmoothingEnabled = false;
      pictures.draw(context, b, [x, y, 1 / n, 1 / n]);
      context.drawImage(layer, x * W, y * H, W / n, H / n, 0, 0, canvas.width, canvas.height);
    });
    const [off, near] = [gaps(p, b), cut(p)];
    gap.context.drawImage(heat(off, H, W, 0), 0, 0);
    const lines = Array.from({ length: n - 1 }, (_, i) =>
      `M${((i + 1) * W) / n} 0V${H}M0 ${((i + 1) * H) / n}H${W}`).join("");
    gap.outline({ cut: lines }, H, W);
    score.textContent = fixed(all[pieces.indexOf(p)][b], 3);
    const total = mean([...off]);
    const beside = mean([...off].map((level, i) => level * near[i]));
    note.textContent = p === 1 ? "mean |whole − merged|: one tile is the picture itself"
      : `mean |whole − merged|; ${total ? Math.round((100 * beside) / total) : 0}% of it lies beside ` +
        `a cut, in ${Math.round(100 * mean(near.map(Number)))}% of the cells`;
    time.show(b, `difference ${score.textContent}`, all.map((values, i) =>
      ({ values: values.map((v) => v / peak), color: "currentColor", strong: pieces[i] === p })));
  };
});

export default { render };
