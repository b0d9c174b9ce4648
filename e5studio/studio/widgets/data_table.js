// Writes props.value as a table that sorts. Gradio provides element, trigger, props, watch; make.js make.
const view = element.querySelector(".e5-table");
const markedOnly = element.querySelector(".e5-best-only");
const isMarkedOnly = markedOnly.querySelector("input");
// Measuring thousands of rows would hold up the page, so the next are added when they are nearly in sight.
const ROWS_AT_ONCE = 100;
let table = null;
let waiting = [];
let revision = 0;
let sorting = { column: 0, isDescending: false };

const isNumber = (column) => !["text", "word"].includes(column.kind);

function compare(a, b) {
  const { column, isDescending } = sorting;
  if (column === null) return a.index - b.index;
  const [one, other] = [a.cells[column], b.cells[column]];
  const order = table.columns[column].kind === "word" ? String(one).localeCompare(String(other)) : one - other;
  return (isDescending ? -order : order) || a.index - b.index;
}

function heading({ title, hint, ...column }, index) {
  const button = make("button", "e5-table-sort", title);
  button.type = "button";
  button.title = hint;
  button.addEventListener("click", () => sortBy(index));
  const cell = make("th", isNumber(column) ? "e5-number" : "", button);
  cell.scope = "col";
  if (sorting.column === index) cell.setAttribute("aria-sort", sorting.isDescending ? "descending" : "ascending");
  return cell;
}

function sortBy(index) {
  const isSame = sorting.column === index;
  sorting = { column: index, isDescending: isSame ? !sorting.isDescending : Boolean(table.columns[index].is_best_high) };
  write();
  view.querySelectorAll(".e5-table-sort")[index].focus();
}

function textCell([label, text]) {
  const body = make("div", "e5-clip", make("b", "", label), " " + text);
  body.title = text;
  return make("td", "", body);
}

const fixed = (number, digits) => (Math.round(number * 10 ** digits) / 10 ** digits + 0).toFixed(digits).replace("-", "\u2212");

function cell(value, column, isMarked) {
  if (value === null) return make("td", "");
  if (column.kind === "text") return textCell(table.texts[column.texts][value]);
  if (column.kind === "word") return make("td", "", value);
  if (column.kind === "percent") return make("td", "e5-number", fixed(value, value < 9.95 ? 1 : 0) + "%");
  if (column.kind === "whole") return make("td", "e5-number", String(value));
  const node = make("td", "e5-number", make("span", "e5-score", (column.is_signed && value > 0 ? "+" : "") + fixed(value, column.digits ?? 1)));
  if (isMarked && column.kind === "score") node.append(make("span", "e5-best", "best"));
  return node;
}

function pickOf(cells) {
  if (table.pick === "cell") return { kind: "cell", row: cells[0], column: cells[1] };
  return { kind: "point", label: table.texts[0][cells[0]][0] };
}

function row({ cells, isMarked }) {
  const node = make("tr", isMarked ? "e5-row-best" : "");
  node.append(...cells.map((value, index) => cell(value, table.columns[index], isMarked)));
  if (table.pick === "none") return node;
  node.addEventListener("click", () => trigger("pick", pickOf(cells)));
  node.tabIndex = -1;
  return node;
}

function write() {
  view.replaceChildren();
  view.hidden = !table;
  markedOnly.hidden = !table?.marked_only || table.rows.every((each) => each.isMarked) || !table.rows.some((each) => each.isMarked);
  if (!table) return;
  markedOnly.querySelector("span").textContent = table.marked_only;
  view.setAttribute("aria-label", table.caption);
  const head = make("tr", "", ...table.columns.map(heading));
  waiting = table.rows.filter((each) => !isMarkedOnly.checked || each.isMarked).sort(compare);
  const whole = make("table", "", make("caption", "e5-hidden", table.caption), make("thead", "", head), make("tbody"));
  whole.setAttribute("aria-rowcount", waiting.length + 1);
  view.append(whole);
  view.scrollTop = 0;
  writeMore();
}

function writeMore() {
  view.querySelector("tbody").append(...waiting.splice(0, ROWS_AT_ONCE).map(row));
}

function writeAhead() {
  const isNear = view.scrollTop + 2 * view.clientHeight > view.scrollHeight;
  if (waiting.length && isNear) writeMore();
}

// Arrows move from row to row, Enter picks.
function move(event) {
  const row = event.target.closest("tbody tr");
  if (event.key === "Enter" && row) return row.click();
  const steps = { ArrowDown: row ? row.nextElementSibling : view.querySelector("tbody tr"), ArrowUp: row?.previousElementSibling };
  if (!steps[event.key]) return;
  event.preventDefault();
  steps[event.key].focus();
}

async function update() {
  const current = (revision += 1);
  const value = await opened(props.value).catch(() => null); // the plot beside it says why
  if (current !== revision) return;
  const marked = new Set(value?.marked);
  const rows = value?.rows?.map((cells, index) => ({ cells, index, isMarked: marked.has(index) }));
  table = rows ? { ...value, rows } : null;
  sorting = { column: table?.order === "given" ? null : 0, isDescending: false };
  isMarkedOnly.checked = Boolean(table && table.is_marked_only);
  write();
}

isMarkedOnly.addEventListener("change", write);
view.addEventListener("keydown", move);
view.addEventListener("scroll", writeAhead, { passive: true });
watch("value", update);
update();
