"use strict";
// The page's data is one JSON element. Lines of a function are made when it is chosen; rows of the list when they
// scroll into view. Names and code come from the file and are only ever set as text.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const make = (tag, cls, text) => {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text !== undefined) e.textContent = text;
  return e;
};
const bytes = n => n < 1e4 ? n + " B" : n < 1e6 ? (n / 1e3).toFixed(1) + " kB" : (n / 1e6).toFixed(1) + " MB";
const hex = n => "0x" + Number(n).toString(16);

// Light or dark: as the system says, until the button was used.
const dark = matchMedia("(prefers-color-scheme: dark)");
let chosen = null;
const theme = () => document.documentElement.classList.toggle("dark", chosen ?? dark.matches);
dark.addEventListener("change", theme);
$("theme").onclick = () => { chosen = !(chosen ?? dark.matches); theme(); };
theme();

const functions = data.functions;
const byName = new Map(functions.map(f => [f.name, f]));
const sum = key => functions.reduce((n, f) => n + f[key], 0);
$("file").textContent = data.file;
$("summary").textContent = `${data.kind}, ${data.target}: ${functions.filter(f => f.index !== null).length} functions, ` +
  `${bytes(sum("wasm_size"))} of wasm, ${bytes(sum("code_size"))} of machine code`;
if (data.omitted) {
  $("notice").textContent = `${data.omitted} functions without their code: choose with --func`;
}

// The list.
const ROW = 42;
let shown = functions, key = "index", down = false, current = null;
const compare = {
  index: (a, b) => (a.index ?? Infinity) - (b.index ?? Infinity),
  name: (a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0,
  wasm_size: (a, b) => a.wasm_size - b.wasm_size,
  code_size: (a, b) => a.code_size - b.code_size,
  traps: (a, b) => a.traps - b.traps,
};
function update() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(w => w);
  shown = functions.filter(f => words.every(w => f.name.toLowerCase().includes(w) || String(f.index) === w));
  shown.sort((a, b) => (down ? -1 : 1) * (compare[key](a, b) || 0));
  for (const b of $("sort").children) {
    b.classList.toggle("on", b.dataset.key === key);
    b.textContent = b.dataset.key.replace("_size", "") + (b.dataset.key === key ? (down ? " \u2193" : " \u2191") : "");
  }
  $("rows").style.height = shown.length * ROW + "px";
  $("count").textContent = `${shown.length} of ${functions.length} (stubs included)`;
  rows();
}
function rows() {
  const from = Math.max(0, Math.floor($("list").scrollTop / ROW) - 5);
  const to = Math.min(shown.length, from + Math.ceil($("list").clientHeight / ROW) + 10);
  const made = [];
  for (let i = from; i < to; i++) {
    const f = shown[i], row = make("div", "row");
    row.style.top = i * ROW + "px";
    row.classList.toggle("on", f === current);
    row.classList.toggle("empty", f.code === null);
    row.append(make("div", "name", f.name));
    const sizes = make("div", "sizes");
    sizes.append(make("span", "", f.index === null ? "stub" : "#" + f.index));
    if (f.index !== null) sizes.append(make("span", "", "wasm " + bytes(f.wasm_size)));
    sizes.append(make("span", "", "code " + bytes(f.code_size)));
    if (f.traps) sizes.append(make("span", "traps", f.traps + (f.traps === 1 ? " trap" : " traps")));
    if (f.interpreted) sizes.append(make("span", "", "interpreted"));
    row.append(sizes);
    row.title = f.name;
    row.onclick = () => open(f);
    made.push(row);
  }
  $("rows").replaceChildren(...made);
}
$("list").addEventListener("scroll", rows, { passive: true });
new ResizeObserver(rows).observe($("list"));
$("search").oninput = () => { $("list").scrollTop = 0; update(); };
$("sort").onclick = e => {
  const k = e.target.dataset.key;
  if (!k) return;
  if (k === key) down = !down; else { key = k; down = k !== "index" && k !== "name"; }
  $("list").scrollTop = 0;
  update();
};

// Code.
const WASM = /(-?0x[0-9a-fA-F.p+-]+|[-+]?\b\d[\d.e+_]*\b)|(?<=^\s*)([a-z][a-z0-9_.]*)/g;
const ASM = /(#?-?\b0x[0-9a-f]+\b|#-?\d+\b|\b\d+\b)|^([a-z][a-z0-9.]*)|\b([re]?[abcd][xhl]|[re]?[sd]il?|[re]?[sb]pl?|r\d+[dwb]?|[xyz]mm\d+|[xwvqdsbh]\d+(?:\.\d*[bhsd])?|[xw]zr|sp|fp|lr)\b/g;
function coloured(text, pattern, classes) {
  const out = make("span", "t");
  let at = 0;
  for (const m of text.matchAll(pattern)) {
    const i = classes.findIndex((_, n) => m[n + 1]);
    if (i < 0) continue;
    if (m.index > at) out.append(text.slice(at, m.index));
    out.append(make("span", classes[i], m[0]));
    at = m.index + m[0].length;
  }
  out.append(text.slice(at));
  return out;
}
// Neighbours get hues that are far apart.
const hue = n => (n * 137.508 + 210) % 360;

// Lines go into blocks that the browser lays out when they come near the window.
function fill(pane, lines) {
  const blocks = [];
  for (let i = 0; i < lines.length; i += 200) {
    const block = make("div", "block");
    block.style.containIntrinsicSize = `auto ${Math.min(200, lines.length - i) * 19.4}px`;
    block.append(...lines.slice(i, i + 200));
    blocks.push(block);
  }
  pane.replaceChildren(...blocks);
  pane.scrollTop = pane.scrollLeft = 0;
}

let lines = new Map(), hot = null, pinned = [];
function open(f, keepHash) {
  current = f;
  lines = new Map();
  hot = null;
  pinned = [];
  const title = $("title");
  title.replaceChildren(make("code", "", f.name + (f.type ? " " + f.type : "")));
  const about = [f.index === null ? "stub" : "function " + f.index];
  if (f.index !== null) about.push(`${f.wasm_size} bytes of wasm`);
  about.push(`${f.code_size} bytes of machine code`);
  if (f.wasm_size && !f.interpreted) about.push(`${(f.code_size / f.wasm_size).toFixed(1)} \u00d7`);
  if (f.traps) about.push(`${f.traps} can trap`);
  if (f.interpreted) about.push("left to the interpreter: the code is the stub that has it run");
  title.append(make("span", "about", about.join(", ")));
  document.title = f.name + " \u2014 " + data.file;
  if (!keepHash) history.replaceState(null, "", "#" + (f.index ?? encodeURIComponent(f.name)));
  if (f.code === null) {
    $("code").replaceChildren(make("div", "message", "The code of this function is not in this page, which would be too large. " +
      `Make one with it: wasmc inspect ${data.file} --func ${f.index ?? f.name} --html OUT`));
    $("wasm").replaceChildren();
    rows();
    return;
  }
  const code = decode(f);
  const order = new Map();
  for (const c of code) if (c.wasm !== null && !order.has(c.wasm)) order.set(c.wasm, 0);
  [...order.keys()].sort((a, b) => a - b).forEach((w, i) => order.set(w, i));
  const line = (w, ...parts) => {
    const l = make("div", "l");
    l.append(...parts);
    if (order.has(w)) {
      l.classList.add("c");
      l.style.setProperty("--h", hue(order.get(w)).toFixed(0));
      l.dataset.w = w;
      if (!lines.has(String(w))) lines.set(String(w), []);
      lines.get(String(w)).push(l);
    }
    return l;
  };
  let at = f.wasm_offset;
  const wasm = (f.wasm ?? "").split("\n").filter(l => l).map(l => {
    const [, distance, indent, text] = l.match(/^(\d+)\|(\d+)\|(.*)$/);
    at += Number(distance);
    return { at, indent: Number(indent), text };
  });
  const indent = Math.min(...wasm.slice(0, 100).map(w => w.indent));
  if (wasm.length) {
    fill($("wasm"), wasm.map(w => line(w.at, make("span", "o", hex(w.at)),
      coloured(" ".repeat(Math.min(60, Math.max(0, w.indent - indent))) + w.text, WASM, ["n", "k"]))));
  } else {
    $("wasm").replaceChildren(make("div", "message", f.index === null ? "A stub: made by wasmc, from no wasm instruction." : "The module was left out of this artifact."));
  }
  fill($("code"), code.map(c => {
    const l = line(c.wasm, make("span", "o", hex(c.at)), raw(c.bytes), coloured(c.text, ASM, ["n", "k", "r"]));
    if (c.target) {
      const [place, distance] = c.target.split("+"), to = functions[place];
      const link = make("a", "target", to.name + (distance ? "+" + distance : ""));
      link.onclick = e => { e.stopPropagation(); open(to); };
      l.lastChild.append(link);
    }
    if (c.trap) l.lastChild.append(make("span", "trap", "\u25b2 " + data.traps[c.trap]));
    return l;
  }));
  rows();
}

function raw(bytes) {
  const e = make("span", "b", bytes.match(/../g)?.join(" ") ?? "");
  e.title = e.textContent;
  return e;
}

// The instructions of a function: offsets follow from the bytes, wasm offsets stand where they change.
function decode(f) {
  let at = f.code_offset, wasm = null;
  return f.code.split("\n").filter(l => l).map(l => {
    const [bytes, from, trap, target] = l.split("|", 4), text = l.split("|").slice(4).join("|");
    if (from) wasm = from === "-" ? null : Number(from);
    const c = { at, bytes, wasm, trap, target, text };
    at += bytes.length / 2;
    return c;
  });
}

// Hovering shows what belongs together; a click brings the other side into view.
function light(w) {
  if (w === hot) return;
  for (const l of lines.get(hot) ?? []) l.classList.remove("hot");
  hot = w;
  for (const l of lines.get(hot) ?? []) l.classList.add("hot");
}
$("panes").addEventListener("mouseover", e => light(e.target.closest(".l")?.dataset.w ?? null));
$("panes").addEventListener("mouseleave", () => light(null));
$("panes").addEventListener("click", e => {
  const l = e.target.closest(".l.c");
  for (const p of pinned) p.classList.remove("pin");
  pinned = l ? lines.get(l.dataset.w) ?? [] : [];
  for (const p of pinned) p.classList.add("pin");
  if (!l) return;
  const here = l.closest("section");
  const other = pinned.find(p => p.closest("section") !== here);
  other?.scrollIntoView({ block: "center", inline: "nearest" });
});

function fromHash() {
  const h = decodeURIComponent(location.hash.slice(1));
  return functions.find(f => String(f.index) === h) ?? byName.get(h);
}
addEventListener("hashchange", () => { const f = fromHash(); if (f && f !== current) open(f, true); });
addEventListener("keydown", e => {
  if (e.key === "/" && e.target !== $("search")) { e.preventDefault(); $("search").focus(); return; }
  if (e.key !== "ArrowDown" && e.key !== "ArrowUp") return;
  if (!$("list").contains(e.target) && e.target !== $("search")) return;
  e.preventDefault();
  const at = shown.indexOf(current) + (e.key === "ArrowDown" ? 1 : -1);
  if (!shown[at]) return;
  open(shown[at]);
  const list = $("list"), top = at * ROW;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
});

update();
const largest = functions.filter(f => f.code !== null && f.index !== null).sort((a, b) => b.code_size - a.code_size)[0];
const first = fromHash() ?? largest ?? functions[0];
if (first) open(first, true);
else $("wasm").replaceChildren(make("div", "message", "There are no functions here."));
