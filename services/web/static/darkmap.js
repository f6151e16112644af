// The dark map: the drawing of the page is moved and zoomed in place, and the address follows.
"use strict";
const box = document.querySelector("[data-ccd]");
const svg = box.querySelector("svg"), pic = svg.querySelector(".pic"), under = document.querySelector("#under");
const cross = svg.querySelector(".cross"), part = document.querySelector("#pixel");
const flags = [...document.querySelectorAll(".flags [name=bits]")];
const view = JSON.parse(box.dataset.ccd);
const within = (first, size) => Math.min(Math.max(Math.round(first), -512), 512 - size);
const size = () => 1024 / view.zoom;

function place(name, href) {
  let el = svg.querySelector(`.${name}`);
  if (!href) return el?.remove();
  if (!el) {
    el = document.createElementNS(svg.namespaceURI, "image");
    el.setAttribute("class", name);
    (pic ?? svg.firstElementChild).after(el);
  }
  for (const [key, value] of Object.entries({ x: 0, y: 0, width: 1024, height: 1024, href })) el.setAttribute(key, value);
}

// What the address of every link and form of the page is to say from now on.
function show() {
  const n = size(), bits = flags.reduce((sum, f) => sum + (f.checked ? Number(f.value) : 0), 0);
  view.row0 = within(view.row0, n);
  view.col0 = within(view.col0, n);
  svg.setAttribute("viewBox", `${view.col0 + 512} ${512 - view.row0 - n} ${n} ${n}`);
  svg.classList.toggle("whole", n > svg.clientWidth);
  const x = view.col + 512, y = 511 - view.row;
  cross.setAttribute("d", `M${x}.5 0V${y}m0 1V1024M0 ${y}.5H${x}m1 0H1024M${x} ${y}h1v1h-1z`);
  for (const [step, can] of Object.entries({
    in: view.zoom < 64, out: view.zoom > 1, left: view.col0 > -512, right: view.col0 < 512 - n, down: view.row0 > -512, up: view.row0 < 512 - n,
  })) document.querySelector(`[data-step=${step}]`).hidden = !can;
  const say = url => {
    for (const [key, value] of Object.entries(view)) url.searchParams.set(key, value);
    url.searchParams.delete("bits");
    if (bits) url.searchParams.set("bits", bits);
    return url;
  };
  history.replaceState(null, "", say(new URL(location)));
  document.querySelectorAll("a[data-keep]").forEach(a => { a.href = say(new URL(a.href)); });
  document.querySelectorAll(".flags [type=hidden], .map .w5").forEach(f => { f.value = view[f.name] ?? f.value; });
  return bits;
}
function showFlags() {
  const bits = show();
  place("over", bits && box.dataset.flags ? `${box.dataset.flags}&bits=${bits}` : "");
}
function zoom(factor, row = view.row0 + size() / 2, col = view.col0 + size() / 2) {
  const to = Math.min(Math.max(view.zoom * factor, 1), 64), shrink = view.zoom / to;
  view.row0 = row - (row - view.row0) * shrink;  // what is under the pointer stays there
  view.col0 = col - (col - view.col0) * shrink;
  view.zoom = to;
  show();
}
const steps = {
  in: () => zoom(2), out: () => zoom(0.5), left: () => move(0, -0.5), right: () => move(0, 0.5),
  up: () => move(0.5, 0), down: () => move(-0.5, 0),
};
function move(up, right) {
  view.row0 += up * size();
  view.col0 += right * size();
  show();
}

// Values: loaded once, when the pointer first asks for one.
let values, asked;
async function load() {
  asked ??= fetch(box.dataset.values).then(r => r.ok ? r.arrayBuffer() : Promise.reject(r.status));
  values = new Float32Array(await asked);
}
const number = value => isNaN(value) ? "–" : value.toFixed(1).replace("-", "−").replace(/\B(?=(\d{3})+\.)/g, value >= 1e4 ? "\u202f" : "");
function at(e) {
  const frame = svg.getBoundingClientRect(), n = size();
  return {
    row: Math.min(Math.max(Math.floor(view.row0 + n * (frame.bottom - e.clientY) / frame.height), -512), 511),
    col: Math.min(Math.max(Math.floor(view.col0 + n * (e.clientX - frame.left) / frame.width), -512), 511),
  };
}
function read(e) {
  const { row, col } = at(e), value = values?.[(row + 512) * 1024 + col + 512];
  const where = `Row ${row}, column ${col}`.replaceAll("-", "−");
  under.textContent = value === undefined ? where : `${where}: ${number(value)} e⁻/s`;
  if (box.dataset.values) load().catch(() => { under.textContent = `${where}; the values could not be loaded`; });
}
async function choose({ row, col }) {
  Object.assign(view, { row, col });
  show();
  const url = new URL(box.dataset.pixel, location);
  url.searchParams.set("row", row);
  url.searchParams.set("col", col);
  const r = await fetch(url);
  if (r.ok && view.row === row && view.col === col) part.innerHTML = await r.text();
}

// Pointer: move reads, drag moves, click chooses, wheel zooms.
let drag;
svg.addEventListener("pointerdown", e => {
  drag = { x: e.clientX, y: e.clientY, row0: view.row0, col0: view.col0, far: false };
  svg.setPointerCapture(e.pointerId);
});
svg.addEventListener("pointermove", e => {
  if (!drag) return read(e);
  const scale = size() / svg.clientWidth, right = e.clientX - drag.x, down = e.clientY - drag.y;
  drag.far ||= Math.hypot(right, down) > 4;
  if (!drag.far) return;
  view.row0 = drag.row0 + down * scale;
  view.col0 = drag.col0 - right * scale;
  show();
});
svg.addEventListener("pointerup", e => {
  if (drag && !drag.far) choose(at(e));
  drag = null;
});
svg.addEventListener("pointercancel", () => { drag = null; });
svg.addEventListener("wheel", e => {
  e.preventDefault();
  const { row, col } = at(e);
  zoom(e.deltaY < 0 ? 2 : 0.5, row + 0.5, col + 0.5);
}, { passive: false });
document.querySelectorAll("a[data-step]").forEach(a => a.addEventListener("click", e => {
  e.preventDefault();
  steps[a.dataset.step]();
}));
flags.forEach(f => f.addEventListener("change", showFlags));

// Blink: the other calibration in turn with this one, slower than what flashes.
const blink = document.querySelector("[data-blink-button]");
if (box.dataset.blink) {
  let timer;
  blink.hidden = false;
  blink.addEventListener("click", () => {
    blink.setAttribute("aria-pressed", !timer);
    if (timer) { timer = clearInterval(timer); return place("turn", ""); }
    const turn = () => place("turn", svg.querySelector(".turn") ? "" : box.dataset.blink);
    turn();
    timer = setInterval(turn, 800);
  });
}

// From here on the whole picture instead of the part that the page came with.
svg.querySelectorAll("a").forEach(a => a.remove());
box.classList.add("live");
const whole = box.dataset.pic;
if (pic && whole) {
  const ready = new Image();
  ready.onload = () => place("pic", whole);
  ready.src = whole;
}
showFlags();
addEventListener("resize", show);
