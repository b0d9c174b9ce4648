// Writes props.value as a table that sorts. Gradio provides element, trigger, props, watch; make.js make.
const view = element.querySelector(".e5-table");
const showAll = element.querySelector(".e5-show-all");
const note = element.querySelector(".e5-table-note");
const copying = element.querySelector(".e5-table-copy");
// Measuring thousands of rows would hold up the page, so the next are added when they are nearly in sight.
const ROWS_AT_ONCE = 100;
let table = null;
let waiting = [];
let listed = []; // the rows that are shown, in their order
let revision = 0;
let isWhole = false;
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
  view.querySelectorAll(".e5-table-sort")[Math.max(0, index - isGrouped())].focus();
}

function clipped([label, text, doubt]) {
  const body = make("div", "e5-clip", make("b", "", label), doubt ? make("span", "e5-doubt", " ! ") : " ", text);
  body.title = doubt ? `${doubt}\n\n${text}` : text;
  body.dir = "auto";
  return body;
}

// A share of almost all must not be taken for certainty.
function share(value) {
  const bar = make("span", "e5-share-bar");
  bar.style.setProperty("--e5-share", value + "%");
  return make("span", "e5-share", bar, value > 99 ? ">99%" : value < 1 ? "<1%" : Math.round(value) + "%");
}

const fixed = (number, digits) => (Math.round(number * 10 ** digits) / 10 ** digits + 0).toFixed(digits).replace("-", "\u2212");

function cell(value, column, isMarked) {
  if (value === null) return make("td", "");
  if (column.kind === "text") return make("td", "", clipped(table.texts[column.texts][value]));
  if (column.kind === "share") return make("td", "e5-number", share(value));
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
  node.append(...cells.map((value, index) => cell(value, table.columns[index], isMarked)).slice(isGrouped() ? 1 : 0));
  if (table.pick === "none") return node;
  node.addEventListener("click", () => trigger("pick", pickOf(cells)));
  node.tabIndex = -1;
  return node;
}

const isGrouped = () => table.is_grouped && sorting.column === 0;

// The row above those of one text.
function groupRow(text) {
  const cell = make("th", "", clipped(text));
  cell.colSpan = table.columns.length - 1;
  cell.scope = "rowgroup";
  return make("tr", "e5-table-group", cell);
}

function write() {
  view.replaceChildren();
  view.hidden = copying.hidden = !table;
  note.textContent = table?.note ?? "";
  showAll.hidden = !table?.first?.length || table.first.length === table.rows.length;
  if (!table) return;
  const first = new Set(table.first);
  showAll.textContent = isWhole ? "Show the first only" : `Show all ${table.rows.length.toLocaleString("en")}`;
  view.setAttribute("aria-label", table.caption);
  const head = make("tr", "", ...table.columns.map(heading).slice(isGrouped() ? 1 : 0));
  waiting = table.rows.filter((each) => isWhole || !first.size || first.has(each.index)).sort(compare);
  listed = [...waiting];
  const whole = make("table", "", make("caption", "e5-hidden", table.caption), make("thead", "", head), make("tbody"));
  whole.setAttribute("aria-rowcount", waiting.length + 1);
  view.append(whole);
  view.scrollTop = 0;
  writeMore();
}

function writeMore() {
  const body = view.querySelector("tbody");
  for (const each of waiting.splice(0, ROWS_AT_ONCE)) {
    const text = each.cells[0];
    if (isGrouped() && body.dataset.last !== String(text)) body.append(groupRow(table.texts[table.columns[0].texts][text]));
    body.dataset.last = text;
    body.append(row(each));
  }
}

// What a cell says, without its bar or its mark, and with the minus that spreadsheets know.
function plain(value, column) {
  const text = column.kind === "text" && value !== null ? table.texts[column.texts][value].slice(0, 2).join(" ") : cell(value, column).textContent;
  return text.replace(/\s+/g, " ").trim().replace(/^\u2212/, "-");
}

const FORMS = {
  // A word of a file may begin as a formula does.
  tsv: (rows) => rows.map((row) => row.map((text) => (/^[=@]|^[-+](?![\d.,]+%?$)/.test(text) ? `'${text}` : text)).join("\t")),
  markdown: ([head, ...rows]) => {
    const lines = [head, head.map((_, index) => (isNumber(table.columns[index]) ? "--:" : "---")), ...rows];
    return lines.map((row, index) => `| ${row.map((text) => (index === 1 ? text : text.replace(/[\\`*_{}[\]<>|#]/g, "\\$&"))).join(" | ")} |`);
  },
};

function copy(event) {
  const { form } = event.target.dataset;
  if (!form) return;
  const rows = listed.map(({ cells }) => cells.map((value, index) => plain(value, table.columns[index])));
  copyText(event.target, FORMS[form]([table.columns.map(({ title }) => title), ...rows]).join("\n"));
}

function writeAhead() {
  const isNear = view.scrollTop + 2 * view.clientHeight > view.scrollHeight;
  if (waiting.length && isNear) writeMore();
}

// Arrows move from row to row, Enter picks.
function move(event) {
  const row = event.target.closest("tbody tr");
  if (event.key === "Enter" && row) return row.click();
  const rows = [...view.querySelectorAll("tbody tr[tabindex]")];
  const steps = { ArrowDown: rows[rows.indexOf(row) + 1], ArrowUp: row && rows[rows.indexOf(row) - 1] };
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
  isWhole = false;
  write();
}

showAll.addEventListener("click", () => {
  isWhole = !isWhole;
  write();
});
copying.addEventListener("click", copy);
view.addEventListener("keydown", move);
view.addEventListener("scroll", writeAhead, { passive: true });
watch("value", update);
update();
