const NEAR = " + neighbours";

const render = (context) => explore(context, async ({ root, set, data }) => {
  const { names, classes, colors, count, picture: [H, W] } = data;
  const [clip, masks, ...maps] = await Promise.all(
    [frames(data.frames), unpack(data.masks), ...data.maps.map(unpack)]);
  const frame = (bytes, k) => bytes.subarray(k * H * W, (k + 1) * H * W);
  const levels = (m, c, k) => frame(maps[m], c * count + k);
  const known = {};
  const tallies = (m, c) => (known[[m, c]] ??= Array.from({ length: count },
    (_, k) => tally(levels(m, c, k), frame(masks, k))));

  const methods = names.filter((n) => !n.endsWith(NEAR) || !names.includes(n.slice(0, -NEAR.length)));
  const base = (name) => (methods.includes(name) ? name : name.slice(0, -NEAR.length));
  let shown;
  const pick = (method, near) =>
    set({ method: near && names.includes(method + NEAR) ? method + NEAR : method });
  const method = choice("Method", methods, (name) => pick(name, shown.method !== base(shown.method)),
    methods.map((name) => colors[names.indexOf(name)]));
  const near = toggle("with neighbours", (on) => pick(base(shown.method), on));
  const kind = choice("Map of", classes, (name) => set({ class: name }));
  const view = stage(H, W, data.alt);
  const number = h("output", { className: "tx-number", ariaLive: "off" });
  const note = h("p", { className: "tx-note" });
  const level = h("output", { ariaLive: "off" });
  const threshold = slider("Threshold", 1, 0.01, (t) => set({ threshold: t }));
  const time = scrubber(count, set);
  const legend = h("p", { className: "tx-legend" });
  legend.innerHTML = '<span><i class="tx-mask"></i>mask</span>' +
    '<span><i class="tx-found"></i>map ≥ threshold</span>';

  root.append(
    h("div", { className: "tx-row" }, method.element, near.element, kind.element),
    h("div", { className: "tx-split" }, h("div", {}, view.element, legend),
      h("div", { className: "tx-side" },
        h("div", {}, h("span", { className: "tx-title" }, "IoU with the mask"), number, note),
        h("div", { className: "tx-grow" },
          h("div", { className: "tx-title" }, h("span", {}, "Threshold"), level),
          threshold.element, h("p", { className: "tx-note" }, "Curve: mean IoU of the frames with a mask")))),
    time.element,
    h("p", { className: "tx-note" }, "Curve: IoU of each frame at this threshold; ",
      "the method shown in full, the others faint"));
  kind.element.hidden = classes.length < 2;

  // Without a mask a frame counts 1 when nothing is found: a mean of those rewards an empty mask.
  const told = Array.from({ length: count }, (_, k) => frame(masks, k).some((v) => v > 0));
  const overall = (values) => mean(told.includes(true) ? values.filter((_, k) => told[k]) : values);

  return (state) => {
    shown = state;
    const [m, c] = [names.indexOf(state.method), classes.indexOf(state.class)];
    const { frame: k, threshold: t } = state;
    const curve = (of) => names.map((name, i) =>
      ({ values: of(tallies(i, c)), color: colors[i], strong: i === m }));
    const each = curve((frames_) => frames_.map((found) => iou(found, t)));
    const all = curve((frames_) => Array.from({ length: 101 },
      (_, i) => overall(frames_.map((found) => iou(found, i / 100)))));
    method.show(base(state.method));
    near.show(state.method !== base(state.method));
    near.element.hidden = !names.includes(base(state.method) + NEAR);
    kind.show(state.class);

    const [map, mask] = [levels(m, c, k), frame(masks, k)];
    clip.draw(view.context, k);
    view.lay(heat(map, H, W));
    view.outline({ found: border((i) => map[i] >= lowest(t), H, W),
      mask: border((i) => mask[i] > 0, H, W) }, H, W);
    number.textContent = fixed(each[m].values[k]);
    note.textContent = `this frame; mean ${fixed(overall(each[m].values))} of the frames with a mask`;
    level.textContent = fixed(t);
    const last = (line) => line.sort((a, b) => a.strong - b.strong); // on top of the others
    const score = `IoU ${number.textContent}`;
    threshold.show(t, `${fixed(t)}, ${score}`, last(all));
    time.show(k, score, last(each));
  };
});

export default { render };
