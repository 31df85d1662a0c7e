// What the explorers share: it stands before each of them in one module. Arithmetic, then controls.
// Maps are levels, bytes 0 … 255 for scores 0 … 1, row by row.

/** The pictures that Python packed: bytes (n · h · w), and their size on the picture's grid. */
async function unpack({ bytes, size: [h, w], stride, picture: [H, W] }) {
  const zipped = Uint8Array.from(atob(bytes.split(",")[1]), (c) => c.charCodeAt(0));
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("deflate"));
  const cells = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let i = 0; i < cells.length; i++) if (i % w) cells[i] += cells[i - 1];
  for (let i = 0; i < cells.length; i++) if (i % (h * w) >= w) cells[i] += cells[i - w];
  if (stride === 1) return cells;
  // As tccam.cam.enlarge with a stride: cell i looks at pixel stride · i.
  const levels = new Uint8Array((cells.length / (h * w)) * H * W);
  for (let i = 0; i < levels.length; i++) {
    const picture = Math.floor(i / (H * W)) * h * w;
    const y = Math.min(Math.floor((i / W) % H) / stride, h - 1);
    const x = Math.min((i % W) / stride, w - 1);
    const [top, left] = [Math.floor(y), Math.floor(x)];
    const [bottom, right] = [Math.min(top + 1, h - 1), Math.min(left + 1, w - 1)];
    const at = (row, column) => cells[picture + row * w + column];
    const upper = at(top, left) + (x - left) * (at(top, right) - at(top, left));
    const lower = at(bottom, left) + (x - left) * (at(bottom, right) - at(bottom, left));
    levels[i] = Math.floor(upper + (y - top) * (lower - upper) + 0.501);
  }
  return levels;
}

/** The lowest level that `scores >= threshold` takes in. */
const lowest = (threshold) => Math.ceil(threshold * 255 - 1e-6);

/** How many pixels in the mask, and outside of it, have at least each level. */
function tally(levels, mask) {
  const inside = new Uint32Array(257);
  const outside = new Uint32Array(257);
  for (let i = 0; i < levels.length; i++) (mask[i] ? inside : outside)[levels[i]]++;
  for (let k = 255; k >= 0; k--) {
    inside[k] += inside[k + 1];
    outside[k] += outside[k + 1];
  }
  return { inside, outside };
}

/** As tccam.metrics.frame_iou: 1 where neither has a pixel. */
function iou({ inside, outside }, threshold) {
  const k = lowest(threshold);
  const union = inside[0] + outside[k];
  return union ? inside[k] / union : 1;
}

/** Where tccam.flow.warp reads a cell: the four cells around a place, and their weights. */
function read(levels, h, w, y, x) {
  const [top, left] = [Math.floor(y), Math.floor(x)];
  const parts = [];
  for (const [row, down] of [[top, 1 - y + top], [top + 1, y - top]]) {
    for (const [column, right] of [[left, 1 - x + left], [left + 1, x - left]]) {
      const weight = down * right;
      if (weight > 1e-9 && row >= 0 && row < h && column >= 0 && column < w) {
        parts.push({ row, column, weight, level: levels[row * w + column] });
      }
    }
  }
  return parts;
}

/** As tccam.flow.warp of one map by one vector: for each cell its place, parts, value, valid. */
function warp(levels, h, w, [u, v], shifted) {
  // Normalised for align_corners=True, sampled with False: the grid is stretched about its middle.
  const stretch = (at, n) => (shifted ? (at * n) / Math.max(n - 1, 1) - 0.5 : at);
  const keep = (at, n) => (shifted ? at : Math.min(Math.max(at, 0), n - 1));
  return Array.from({ length: h * w }, (_, i) => {
    const [y, x] = [stretch(Math.floor(i / w) + v, h), stretch((i % w) + u, w)];
    const parts = read(levels, h, w, keep(y, h), keep(x, w));
    const seen = parts.reduce((sum, part) => sum + part.weight, 0);
    const inside = y >= -1e-4 && y <= h - 1 + 1e-4 && x >= -1e-4 && x <= w - 1 + 1e-4;
    const valid = shifted ? seen >= 0.9999 : inside;
    const level = parts.reduce((sum, part) => sum + part.weight * part.level, 0);
    return { y, x, parts, valid, value: valid ? level / 255 : 0 };
  });
}

/** As tccam.puzzle.merge: picture b of `count`, whose tiles (h × w each) lie tile by tile. */
function merge(levels, pieces, count, b, h, w) {
  const side = Math.sqrt(pieces);
  const whole = new Uint8Array(pieces * h * w);
  for (let n = 0; n < pieces; n++) {
    for (let row = 0; row < h; row++) {
      const from = ((n * count + b) * h + row) * w;
      const [down, right] = [Math.floor(n / side) * h + row, (n % side) * w];
      whole.set(levels.subarray(from, from + w), down * side * w + right);
    }
  }
  return whole;
}

const distance = (one, other) => one.map((level, i) => Math.abs(level - other[i]));
const mean = (numbers) => numbers.reduce((sum, n) => sum + n, 0) / numbers.length;

// --- Page parts

const h = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const fixed = (number, digits = 2) => number.toFixed(digits).replace("-", "−");

/** What anywidget gives to `render`, for a page that has no kernel. */
function pageModel(values) {
  const heard = [];
  return {
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      heard.filter(([event]) => event === `change:${name}`).forEach(([, call]) => call());
    },
    on: (event, call) => heard.push([event, call]),
    off: (event, call) => heard.splice(0, heard.length, ...heard.filter(([, c]) => c !== call)),
    save_changes() {},
  };
}

/** Builds an explorer once, and draws it whenever its state changes, here or in Python. */
async function explore({ model, el }, build) {
  const root = h("form", { className: "tccam-explorer", ariaLabel: model.get("data").alt });
  root.dataset.lmSuppressShortcuts = ""; // JupyterLab's single keys
  root.onsubmit = (event) => event.preventDefault();
  const set = (change) => {
    model.set("state", { ...model.get("state"), ...change });
    model.save_changes();
  };
  const draw = await build({ root, set, data: model.get("data") });
  const redraw = () => draw(model.get("state"));
  model.on("change:state", redraw);
  redraw();
  el.replaceChildren(root);
  return () => model.off("change:state", redraw);
}

/** One of a few names. */
function choice(title, names, pick, colors = []) {
  const inputs = names.map((name, i) =>
    h("input", { type: "radio", name: title, value: name, onchange: () => pick(name, i) }));
  const labels = inputs.map((input, i) => {
    const chip = colors[i] ? [h("i", { style: `background:${colors[i]}` })] : [];
    return h("label", {}, input, h("span", {}, ...chip, names[i]));
  });
  const element = h("fieldset", { className: "tx-choice" }, h("legend", {}, title),
    h("div", {}, ...labels));
  return { element, show: (name) => inputs.forEach((i) => (i.checked = i.value === String(name))) };
}

/** On or off. */
function toggle(title, flip) {
  const input = h("input", { type: "checkbox", onchange: () => flip(input.checked) });
  input.setAttribute("role", "switch");
  const element = h("label", { className: "tx-toggle" }, input, h("span", {}), title);
  return { element, show: (on) => (input.checked = on) };
}

/** A slider that carries curves: each `{ values in [0, 1], color, strong }`. */
function slider(title, last, step, slide) {
  const input = h("input", { type: "range", min: 0, max: last, step, ariaLabel: title });
  input.oninput = () => slide(+input.value);
  const curves = h("div", { className: "tx-curves", ariaHidden: "true" });
  const element = h("div", { className: "tx-slider" }, curves, input);
  const line = ({ values, color, strong }) => {
    const points = values.map((v, i) => `${i / Math.max(values.length - 1, 1)},${1 - v}`).join(" ");
    const area = strong ? `<polygon points="0,1 ${points} 1,1" fill="${color}" />` : "";
    return `${area}<polyline points="${points}" stroke="${color}" opacity="${strong ? 1 : 0.3}" />`;
  };
  const show = (value, text, lines = []) => {
    input.value = value;
    input.ariaValueText = text;
    element.style.setProperty("--at", last ? value / last : 0);
    element.classList.toggle("tx-curved", lines.length > 0);
    curves.innerHTML = `<svg viewBox="0 0 1 1" preserveAspectRatio="none">${
      lines.map(line).join("")}</svg>`;
  };
  return { element, show };
}

/** Play, and a slider over the frames of a clip. It starts only when asked to. */
function scrubber(count, set, noun = "frame", wait = 120) {
  let [frame, timer] = [0, null];
  const button = h("button", { type: "button", className: "tx-play" });
  const output = h("output", { ariaLive: "off" });
  const bar = slider(noun, count - 1, 1, (k) => {
    stop();
    set({ frame: k });
  });
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "▶";
    button.ariaLabel = "Play";
  };
  button.onclick = () => {
    if (timer) return stop();
    button.textContent = "❚❚";
    button.ariaLabel = "Pause";
    timer = setInterval(() => {
      if (button.isConnected) set({ frame: (frame + 1) % count });
      else stop();
    }, wait);
  };
  stop();
  const element = h("div", { className: "tx-scrubber" }, button, bar.element, output);
  const show = (k, text, lines) => {
    frame = k;
    output.textContent = `${noun} ${k} of ${count - 1}`;
    bar.show(k, `${output.textContent}${text ? `, ${text}` : ""}`, lines);
  };
  return { element, show };
}

// Magma at 17 levels; between them it is straight.
const MAGMA = "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf"
  .match(/../g).map((byte) => parseInt(byte, 16));
const COLORS = Uint8ClampedArray.from({ length: 768 }, (_, i) => {
  const [at, channel] = [Math.floor(i / 3) / 255 * 16, i % 3];
  const from = Math.min(Math.floor(at), 15);
  const [low, high] = [MAGMA[from * 3 + channel], MAGMA[from * 3 + 3 + channel]];
  return low + (at - from) * (high - low);
});

/** Levels as a picture in the book's colours; `strength` as in tccam.viz.heat, 0 for opaque. */
function heat(levels, h_, w, strength = 0.75) {
  const canvas = h("canvas", { width: w, height: h_ });
  const image = new ImageData(w, h_);
  levels.forEach((level, i) => {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = COLORS[3 * level + c];
    image.data[4 * i + 3] = strength ? 255 * strength * Math.sqrt(level / 255) : 255;
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** The borders between the pixels that are in and those that are not, as an SVG path. */
function border(inside, h_, w) {
  let path = "";
  for (let i = 0; i < h_ * w; i++) {
    const [y, x] = [Math.floor(i / w), i % w];
    if (x && inside(i) !== inside(i - 1)) path += `M${x} ${y}v1`;
    if (y && inside(i) !== inside(i - w)) path += `M${x} ${y}h1`;
  }
  return path;
}

/** A sheet of frames; `draw(context, k)` paints one over the whole canvas, or a part of it. */
async function frames({ sheet, columns, rows }) {
  const image = new Image();
  image.src = sheet;
  await image.decode();
  const [w, height] = [image.naturalWidth / columns, image.naturalHeight / rows];
  const draw = (context, k, [x, y, a, b] = [0, 0, 1, 1]) => {
    const { width, height: tall } = context.canvas;
    context.drawImage(image, ((k % columns) + x) * w, (Math.floor(k / columns) + y) * height,
      a * w, b * height, 0, 0, width, tall);
  };
  return { w, h: height, draw };
}

/** A picture with maps over it and outlines over those; `label` is for who cannot see it. */
function stage(height, w, label) {
  const canvas = h("canvas", { width: w, height });
  const lines = h("div", { className: "tx-lines" });
  const element = h("div", { className: "tx-stage", ariaLabel: label }, canvas, lines);
  element.setAttribute("role", "img");
  element.style.aspectRatio = `${w} / ${height}`;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const outline = (paths, rows, columns) => {
    lines.innerHTML = `<svg viewBox="0 0 ${columns} ${rows}" preserveAspectRatio="none">${
      Object.entries(paths).map(([name, d]) => `<path class="tx-under" d="${d}" />` +
        `<path class="tx-${name}" d="${d}" />`).join("")}</svg>`;
  };
  const lay = (map) => context.drawImage(map, 0, 0, w, height);
  return { element, canvas, context, outline, lay };
}
