const render = (context) => explore(context, async ({ root, set, data }) => {
  const { names, classes, colors, count, picture: [H, W] } = data;
  const [clip, masks, ...maps] = await Promise.all(
    [frames(data.frames), data.masks && unpack(data.masks), ...data.maps.map(unpack)]);
  const frame = (bytes, k) => bytes.subarray(k * H * W, (k + 1) * H * W);
  const levels = (m, c, k) => frame(maps[m], c * count + k);

  const sides = ["left", "right"].map((side) => ({
    side,
    view: stage(H, W, data.alt),
    tag: h("span", { className: `tx-tag tx-${side}`, ariaHidden: "true" }),
    pick: choice(side === "left" ? "Left" : "Right", names, (name) => set({ [side]: name }), colors),
  }));
  const [left, right] = sides;
  right.view.element.ariaHidden = "true"; // the same picture
  const kind = choice("Map of", classes, (name) => set({ class: name }));
  const wipe = h("input", { type: "range", min: 0, max: 1, step: 0.01, ariaLabel: "Wipe" });
  wipe.oninput = () => set({ wipe: +wipe.value });
  const both = h("div", { className: "tx-wipe" },
    right.view.element, left.view.element, left.tag, right.tag, wipe);
  both.style.aspectRatio = `${W} / ${H}`;
  const number = h("output", { ariaLive: "off" });
  const time = scrubber(count, set);
  kind.element.hidden = classes.length < 2;
  root.append(
    h("div", { className: "tx-split" }, both,
      h("div", { className: "tx-side" }, left.pick.element, right.pick.element, kind.element)),
    time.element,
    h("p", { className: "tx-note" }, "Curve and number: mean |left − right| of each frame: ", number));

  let drawn, gaps;
  return (state) => {
    const [k, c] = [state.frame, classes.indexOf(state.class)];
    const [one, other] = sides.map(({ side }) => names.indexOf(state[side]));
    const pair = [one, other, c].join();
    if (pair !== drawn) {
      gaps = Array.from({ length: count },
        (_, t) => mean(distance(levels(one, c, t), levels(other, c, t))) / 255);
      drawn = pair;
    }
    for (const [i, { side, view, tag, pick }] of sides.entries()) {
      pick.show(state[side]);
      tag.replaceChildren(h("i", { style: `background:${colors[[one, other][i]]}` }), state[side]);
      clip.draw(view.context, k);
      view.lay(heat(levels([one, other][i], c, k), H, W));
      const mask = masks && frame(masks, k);
      view.outline(masks ? { mask: border((p) => mask[p] > 0, H, W) } : {}, H, W);
    }
    kind.show(state.class);
    wipe.value = state.wipe;
    wipe.ariaValueText = `${Math.round(100 * state.wipe)}% ${state.left}, the rest ${state.right}`;
    both.style.setProperty("--at", state.wipe);
    number.textContent = fixed(gaps[k], 3);
    const peak = Math.max(...gaps) || 1;
    time.show(k, `difference ${number.textContent}`,
      [{ values: gaps.map((gap) => gap / peak), color: "currentColor", strong: true }]);
  };
});

export default { render };
