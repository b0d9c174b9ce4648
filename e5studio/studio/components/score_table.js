// Writes props.value as a sortable table. Given by Gradio: element, trigger, props, watch.
const place = element.querySelector(".e5-table");
const bestOnly = element.querySelector(".e5-best-only");
const isBestOnly = bestOnly.querySelector("input");
let table = null;
let sorting = { column: 0, isDescending: false };

function make(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children); // strings become text nodes, so no text turns into mark-up
  return node;
}

// A row is [query, passage, score, rank, share]: two positions and three numbers.
function compare(a, b) {
  const { column, isDescending } = sorting;
  const sign = isDescending ? -1 : 1;
  return sign * (a[column] - b[column]) || a[0] - b[0] || a[3] - b[3];
}

function heading(title, hint, column) {
  const button = make("button", "e5-table-sort", title);
  button.type = "button";
  button.title = hint;
  button.addEventListener("click", () => sortBy(column));
  const cell = make("th", column > 1 ? "e5-number" : "", button);
  cell.scope = "col";
  if (sorting.column === column) cell.setAttribute("aria-sort", sorting.isDescending ? "descending" : "ascending");
  return cell;
}

function sortBy(column) {
  const isSame = sorting.column === column;
  sorting = { column, isDescending: isSame ? !sorting.isDescending : column === 2 || column === 4 };
  write();
  place.querySelectorAll(".e5-table-sort")[column].focus();
}

function textCell([label, text]) {
  const body = make("div", "e5-clip", make("b", "", label), " " + text);
  body.title = text;
  return make("td", "", body);
}

const tenths = (score) => (Math.round(score * 10) / 10 + 0).toFixed(1).replace("-", "\u2212");

function scoreCell(score, isMarked) {
  const cell = make("td", "e5-number", make("span", "e5-score", tenths(score)));
  if (isMarked) cell.append(make("span", "e5-best", "best"));
  return cell;
}

const isBest = (cells) => cells[3] === 1;

function row(cells) {
  const [query, passage, score, rank, share] = cells;
  const node = make("tr", isBest(cells) ? "e5-row-best" : "");
  node.append(textCell(table.queries[query]), textCell(table.passages[passage]), scoreCell(score, isBest(cells)));
  node.append(make("td", "e5-number", String(rank)), make("td", "e5-number", share.toFixed(share < 9.95 ? 1 : 0) + " %"));
  node.addEventListener("click", () => trigger("pick", { kind: "cell", row: query, column: passage }));
  return node;
}

function write() {
  place.replaceChildren();
  place.hidden = !table;
  bestOnly.hidden = !table || table.rows.every(isBest);
  if (!table) return;
  place.setAttribute("aria-label", table.caption);
  const head = make("tr", "", ...table.headings.map(([title, hint], column) => heading(title, hint, column)));
  const body = make("tbody", "", ...table.rows.filter((cells) => !isBestOnly.checked || isBest(cells)).sort(compare).map(row));
  place.append(make("table", "", make("caption", "e5-hidden", table.caption), make("thead", "", head), body));
}

function update() {
  table = props.value && props.value.rows ? props.value : null;
  sorting = { column: 0, isDescending: false };
  isBestOnly.checked = Boolean(table && table.best_only);
  write();
}

isBestOnly.addEventListener("change", write);
watch("value", update);
update();
