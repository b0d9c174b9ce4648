// Draws props.value with plotly.js. Given by Gradio: element, trigger, props, watch; by plotly_view.py: PALETTES,
// COLOUR_KEYS.
const Plotly = window.Plotly; // captured: another component of the page may load another plotly.js
const drawing = element.querySelector(".e5-plot-drawing");
const tip = element.querySelector(".e5-plot-tip");
const fault = element.querySelector(".e5-plot-fault");
const pointer = { x: 0, y: 0 };
let figure = null;
let revision = 0;
let drawn = null; // the revision that is drawn, or being drawn
let isNarrow = null;
let cell = null;
let pressed = null;
let picked = null;
let pickedAt = null; // the pointer, which does not hover again while only the plot moves below it
let columnWidth = 0; // in pixels, once the plot is drawn
let numberSize = null; // of the numbers in the cells; 0 where there is no room for them

const SMALLEST_NUMBER = 9;
const SMALLEST_HEADING = 44;
const CELL_PADDING = 6;
const NAME_GAP = 10; // between the names of columns; a saved picture has wider names of rows, and so narrower columns
const NAME_HEIGHT = 15; // and so the width of one that stands upright
const LONGEST_CLICK = 6; // pixels that the pointer may move

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function overlay(base, patch) {
  if (!isObject(base) || !isObject(patch)) return patch === undefined ? base : patch;
  const merged = { ...base };
  for (const key of Object.keys(patch)) merged[key] = overlay(base[key], patch[key]);
  return merged;
}

// The colour of a token such as "@ink" or "@group:3"; a list of colours becomes a scale of equal steps.
function colourOf(token, palette) {
  if (typeof token !== "string" || !token.startsWith("@")) return token;
  const colour = token.slice(1).split(":").reduce((part, key) => part[key], palette);
  return Array.isArray(colour) ? colour.map((stop, step) => [step / (colour.length - 1), stop]) : colour;
}

// Tokens stand at keys of colours only; at other keys are texts, which may look like tokens.
function paint(part, palette) {
  for (const [key, value] of Object.entries(part)) {
    if (ArrayBuffer.isView(value)) continue;
    if (COLOUR_KEYS.includes(key)) part[key] = Array.isArray(value) ? value.map((each) => colourOf(each, palette)) : colourOf(value, palette);
    else if (value !== null && typeof value === "object") paint(value, palette);
  }
}

function build() {
  const palette = PALETTES[document.body.classList.contains("dark") ? "dark" : "light"];
  const narrow = isNarrow ? figure.narrow : {};
  const page = {
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(element).fontFamily, color: palette.ink },
    hovermode: "closest",
    uirevision: revision,
  };
  const fixed = figure.zoom ? {} : { dragmode: false, xaxis: { fixedrange: true }, yaxis: { fixedrange: true } };
  const layers = [page, fixed, narrow.layout];
  const data = figure.data.map((trace, index) => overlay(trace, (narrow.data || [])[index]));
  // Plotly writes into what it is given.
  const built = structuredClone({ data, layout: layers.reduce(overlay, figure.layout) });
  paint(built, palette);
  for (const trace of (figure.numbers || []).map((index) => built.data[index])) {
    trace.visible = numberSize !== 0;
    if (numberSize) trace.textfont.size = numberSize;
  }
  if (figure.headings && columnWidth) Object.assign(built.layout.xaxis, columnTicks());
  built.layout.shapes = [...(built.layout.shapes || []), ...frameOfPicked(palette.ink)];
  return built;
}

const pen = document.createElement("canvas").getContext("2d");

// In the page's font or that of a saved picture, whichever is wider.
function widthOf(text, style) {
  const widths = [getComputedStyle(element).fontFamily, "sans-serif"].map((family) => {
    pen.font = `${style} ${family}`;
    return pen.measureText(text.replace(/<[^>]*>/g, "")).width;
  });
  return Math.max(...widths);
}

// The size at which every number fits into its cell as it is drawn; 0 where none is large enough to read.
function fittingSize() {
  const largest = figure.data[figure.numbers[0]].textfont.size;
  const texts = new Set(figure.numbers.flatMap((index) => figure.data[index].text));
  const widest = Math.max(1, ...[...texts].map((text) => widthOf(text, `bold ${largest}px`)));
  const { xaxis, yaxis } = drawing._fullLayout;
  const [width, height] = [xaxis, yaxis].map((axis) => Math.abs(axis.d2p(1) - axis.d2p(0)) - CELL_PADDING);
  const size = Math.floor(Math.min(largest, (largest * width) / widest, height));
  return size < SMALLEST_NUMBER ? 0 : size;
}

// As `plot_text` of charts/figure.py escapes.
const escaped = (text) => text.replace(/[&<>$]/g, (character) => `&#${character.charCodeAt(0)};`);

// The names of columns, with words where there is room; upright where they would touch, and then as many as fit.
function columnTicks() {
  const names = figure.headings.map(([name]) => name);
  const isLevel = Math.max(...names.map((name) => widthOf(name, "bold 12px"))) <= columnWidth - NAME_GAP;
  const step = isLevel ? 1 : Math.ceil(NAME_HEIGHT / columnWidth);
  const texts = isLevel && columnWidth >= SMALLEST_HEADING ? figure.headings.map(heading) : names;
  const tickvals = [...names.keys()].filter((column) => column % step === 0);
  return { tickangle: isLevel ? 0 : -90, tickvals, ticktext: tickvals.map((column) => texts[column]) };
}

// A column's name, and below it as many words of its text as two lines hold.
function heading([name, text]) {
  const lines = [];
  let rest = text.replace(/\s+/g, " ").trim();
  while (rest && lines.length < 2) {
    let end = rest.length;
    while (end > 1 && widthOf(rest.slice(0, end) + "…", "11px") > columnWidth - NAME_GAP) end -= 1;
    const space = end < rest.length ? rest.lastIndexOf(" ", end) : end;
    end = space > 0 ? space : end;
    lines.push(rest.slice(0, end));
    rest = rest.slice(end).trimStart();
  }
  if (rest) lines[lines.length - 1] += "…";
  return [name, ...lines.map((line) => `<span style="font-size: 11px">${escaped(line)}</span>`)].join("<br>");
}

// The width of a cell is known only once it is drawn.
async function fitWords() {
  if (!figure?.headings) return; // or the plot was emptied meanwhile
  const drawnWidth = drawing.clientWidth;
  const { xaxis } = drawing._fullLayout;
  const width = Math.abs(xaxis.d2p(1) - xaxis.d2p(0));
  const size = figure.numbers?.length ? fittingSize() : numberSize;
  if (size !== numberSize || width !== columnWidth) {
    [numberSize, columnWidth] = [size, width];
    const { data, layout } = build();
    await Plotly.react(drawing, data, layout, config());
  }
  drawing.dataset.fitted = String(drawnWidth);
}

function frameOfPicked(color) {
  if (!picked) return [];
  const [row, column] = picked;
  const corners = { x0: column - 0.5, x1: column + 0.5, y0: row - 0.5, y1: row + 0.5 };
  return [{ type: "rect", ...corners, line: { color, width: 3, dash: "dot" } }];
}

function pick(point) {
  const target = targetOf(point);
  if (!target) return;
  hideTip(); // it would cover what the click brings
  pickedAt = { ...pointer };
  trigger("pick", target);
  if (target.kind !== "cell") return;
  picked = point.pointNumber;
  Plotly.relayout(drawing, { shapes: build().layout.shapes });
}

function config() {
  return {
    responsive: false, // the observer below does it, for hidden tabs too
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    scrollZoom: figure.zoom, // with Ctrl, see below
    displayModeBar: figure.zoom,
    modeBarButtonsToRemove: ["toImage", "select2d", "zoom2d", "autoScale2d", "zoom3d", "resetCameraLastSave3d", "hoverClosest3d"].concat(
      figure.hover.kind === "cells" ? ["lasso2d"] : [],
    ),
  };
}

// Whether there is room for short names only beside the cells, not for texts.
const isTight = () => drawing.clientWidth < 460;

const heightOf = ({ height, narrow }) => (isNarrow && narrow.height) || height;

async function draw() {
  hideTip();
  element.classList.toggle("e5-plot-empty", !figure);
  if (!figure || !drawing.isConnected || drawing.clientWidth === 0) return;
  isNarrow = isTight();
  const isNew = drawn !== revision;
  drawn = revision;
  drawing.style.height = heightOf(figure) + "px";
  drawing.style.minWidth = `min(${figure.width}px, 100cqw)`;
  drawing.setAttribute("aria-label", figure.label);
  const { data, layout } = build();
  const isFirst = !drawing.on;
  await Plotly.react(drawing, data, layout, config());
  await fitWords();
  if (isFirst) listen();
  if (isNew && figure?.is_stand_in) trigger("stand_in"); // somebody looks at it
}

function listen() {
  drawing.on("plotly_hover", (event) => {
    if (pickedAt?.x !== pointer.x || pickedAt?.y !== pointer.y) showTip(event.points[0], event.event);
  });
  drawing.on("plotly_unhover", hideTip);
  drawing.on("plotly_click", (event) => figure.hover.kind === "points" && pick(event.points[0]));
  drawing.on("plotly_selected", (event) => {
    if (event && figure.hover.kind === "points") trigger("gather", { labels: event.points.map((point) => targetOf(point)?.label).filter(Boolean) });
  });
}

const MOST_LINES = 40;

// What the short names in a picture stand for, a line each: nobody can point at them any longer.
function namedLines(width) {
  const { kind, rows, columns, traces } = figure.hover;
  const texts = new Map((kind === "cells" ? [...rows, ...columns] : traces.flat()).map(([label, text]) => [label, text]));
  texts.delete("");
  const fits = (line) => widthOf(line, "11px") < width - 72;
  const lines = [...texts].slice(0, MOST_LINES).map(([label, text]) => {
    let words = text.replace(/\s+/g, " ").trim();
    if (!fits(label + words)) {
      while (words && !fits(label + words + "\u2026")) words = words.slice(0, -1);
      words += "\u2026";
    }
    return `<b>${escaped(label)}</b>  ${escaped(words)}`;
  });
  return texts.size > MOST_LINES ? [...lines, `and ${texts.size - MOST_LINES} more`] : lines;
}

// The picture as it is on the screen, with the page behind it, a title above it, and its texts below.
function save(format) {
  if (!figure || !drawing.on) return;
  const { data, layout } = build();
  const page = getComputedStyle(element.closest(".e5-panel") || document.body).backgroundColor;
  Object.assign(layout, { paper_bgcolor: page, plot_bgcolor: page });
  layout.font.family = "sans-serif"; // a picture holds no fonts of the page, and others are wider
  const id = element.closest("[id^=e5-]")?.id ?? "e5-plot";
  const filename = [id, ...(figure.title?.match(/[\p{L}\p{N}.]+/gu) ?? [])].join("-").slice(0, 80);
  const size = { width: drawing.clientWidth, height: heightOf(figure) };
  if (figure.title) {
    const position = { x: 0.01, y: 0.99, yanchor: "top", yref: "container", automargin: true };
    layout.title = { text: escaped(figure.title), font: { size: 14 }, ...position };
    size.height += 36;
  }
  const lines = namedLines(size.width);
  if (lines.length) {
    const below = figure.hover.kind === "cells" ? 12 : 40; // a map has the name of its axis there
    const shift = { xshift: 10 - drawing._fullLayout._size.l, yshift: -below }; // from the corner of the plot
    const corner = { xref: "paper", yref: "paper", x: 0, y: 0, xanchor: "left", yanchor: "top", ...shift };
    const note = { text: lines.join("<br>"), align: "left", showarrow: false, font: { size: 11 }, ...corner };
    layout.annotations = [...(layout.annotations || []), note];
    layout.margin = { ...layout.margin, b: below + 16 * lines.length + 8 };
    size.height += layout.margin.b;
  }
  Plotly.downloadImage({ data, layout }, { format, filename, scale: format === "png" ? 2 : 1, ...size });
}

// Cells may be drawn in another order than that of the texts on the page.
function cellAt([row, column]) {
  const { row_places, column_places } = figure.hover;
  return { kind: "cell", row: row_places ? row_places[row] : row, column: column_places ? column_places[column] : column };
}

function targetOf(point) {
  const index = point.pointNumber;
  if (figure.hover.kind === "cells") return cellAt(index);
  const known = (figure.hover.traces[point.curveNumber] || [])[index];
  return known ? { kind: "point", label: known[0] } : null;
}

function named([label, text, doubt]) {
  const lines = make("div", "e5-plot-tip-text", make("b", "", label), " " + text);
  lines.dir = "auto";
  return doubt ? make("div", "", lines, make("div", "e5-doubt", doubt)) : lines;
}

function tipLines(point) {
  const target = targetOf(point);
  if (!target) return [];
  if (target.kind === "point") return [named(figure.hover.traces[point.curveNumber][point.pointNumber])];
  const { rows, columns, unit, digits, is_signed, values } = figure.hover;
  const [drawnRow, drawnColumn] = point.pointNumber;
  const value = values ? values[drawnRow][drawnColumn] : point.z; // the colours may stand for something else
  if (value === null || !Number.isFinite(Number(value))) return []; // no score, as of a text with itself
  const sign = is_signed && value > 0 ? "+" : "";
  const score = make("strong", "", sign + Number(value).toFixed(digits ?? 1).replace("-", "\u2212"));
  return [make("div", "e5-plot-tip-score", score, " " + unit), named(rows[drawnRow]), named(columns[drawnColumn])];
}

function showTip(point, event) {
  const lines = tipLines(point);
  if (!lines.length) return hideTip();
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const at = event && event.clientX !== undefined ? { x: event.clientX, y: event.clientY } : pointer;
  const { width, height } = tip.getBoundingClientRect();
  const left = at.x + 16 + width > innerWidth ? at.x - 16 - width : at.x + 16;
  const top = at.y + 16 + height > innerHeight ? at.y - 16 - height : at.y + 16;
  tip.style.left = Math.max(8, Math.min(left, innerWidth - width - 8)) + "px";
  tip.style.top = Math.max(8, top) + "px";
}

// Plotly sends no event for a hover by a program, so the tip for the keyboard computes its position itself.
function middleOf([row, column]) {
  const { xaxis, yaxis } = drawing._fullLayout;
  const frame = drawing.getBoundingClientRect();
  return { clientX: frame.left + xaxis._offset + xaxis.d2p(column), clientY: frame.top + yaxis._offset + yaxis.d2p(row) };
}

// The cell below the pointer. Plotly loses a click while it draws the frame of the cell that was picked before.
function cellBelow(event) {
  if (!drawing.on || figure?.hover.kind !== "cells" || !event.isPrimary || event.button !== 0) return null;
  if (event.target.closest?.(".modebar")) return null;
  const { xaxis, yaxis } = drawing._fullLayout;
  const frame = drawing.getBoundingClientRect();
  const column = Math.round(xaxis.p2d(event.clientX - frame.left - xaxis._offset));
  const row = Math.round(yaxis.p2d(event.clientY - frame.top - yaxis._offset));
  return row in figure.hover.rows && column in figure.hover.columns ? [row, column] : null;
}

function press(event) {
  const below = cellBelow(event);
  pressed = below && { cell: below, x: event.clientX, y: event.clientY };
}

function release(event) {
  const [from, to] = [pressed, cellBelow(event)];
  pressed = null;
  if (!from || !to || Math.hypot(event.clientX - from.x, event.clientY - from.y) > LONGEST_CLICK) return;
  if (String(from.cell) === String(to)) pick({ pointNumber: to });
}

function hideTip() {
  tip.hidden = true;
}

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function walk(event) {
  if (!figure || figure.hover.kind !== "cells") return;
  const { rows, columns } = figure.hover;
  if (event.key === "Enter" && cell) pick({ pointNumber: cell });
  const step = STEPS[event.key];
  if (!step) return;
  event.preventDefault();
  const from = cell || [step[0] < 0 ? rows.length : -step[0], step[1] < 0 ? columns.length : -step[1]];
  const clamp = (value, size) => Math.max(0, Math.min(size - 1, value));
  cell = [clamp(from[0] + step[0], rows.length), clamp(from[1] + step[1], columns.length)];
  showTip({ pointNumber: cell, z: drawing._fullData[0].z[cell[0]][cell[1]] }, middleOf(cell));
}

async function update() {
  const own = (revision += 1);
  const value = await opened(props.value).catch((error) => ({ fault: error.message }));
  if (own !== revision) return; // another value has come since
  figure = value && value.data ? value : null;
  fault.textContent = (value && value.fault) || "";
  cell = picked = numberSize = null;
  columnWidth = 0;
  requestAnimationFrame(draw); // when what stands beside it has taken its room
}

// The wheel alone scrolls the page.
drawing.addEventListener("wheel", (event) => event.ctrlKey || event.metaKey || event.stopPropagation(), { capture: true, passive: true });
element.addEventListener("pointermove", (event) => Object.assign(pointer, { x: event.clientX, y: event.clientY }));
drawing.addEventListener("pointerdown", press, { capture: true });
addEventListener("pointerup", release, { capture: true }); // Plotly lays a cover over the page meanwhile
drawing.addEventListener("keydown", walk);
drawing.addEventListener("blur", hideTip);
element.addEventListener("e5-save", (event) => save(event.detail));
addEventListener("scroll", hideTip, { passive: true });
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
new ResizeObserver(() => {
  if (!figure || drawing.clientWidth === 0) return;
  if (drawn !== revision || isNarrow !== isTight()) draw(); // a figure may have come while its tab was closed
  else if (drawing.on) Plotly.Plots.resize(drawing).then(fitWords);
}).observe(element);
watch("value", update);
update();
