// Lists the hits of props.value. Gradio provides element, trigger, props, watch; make.js make, tree.js build.
const head = element.querySelector(".e5-hits-head");
const list = element.querySelector(".e5-hits");
const foot = element.querySelector(".e5-hits-foot");
const more = element.querySelector(".e5-hits-more");

const copy = (button, rows) => copyText(button, rows.map((row) => row.map((cell) => cell.replace(/\s+/g, " ")).join("\t")).join("\n"));

function button(title, onClick, describedAs) {
  const node = make("button", "", title);
  node.type = "button";
  node.setAttribute("aria-label", describedAs);
  node.addEventListener("click", (event) => {
    event.stopPropagation();
    onClick(node);
  });
  return node;
}

function card(hit) {
  const like = button("More like this", () => trigger("like", { label: hit.label }), `More like ${hit.label}`);
  const copied = button("Copy", (node) => copy(node, [hit.plain]), `Copy ${hit.label}`);
  const top = make("div", "e5-hit-head", make("span", "e5-hit-rank", String(hit.rank)), make("strong", "", hit.score));
  top.append(make("span", "e5-label", hit.label), make("span", "e5-hit-tools", like, copied));
  const node = make("li", "e5-hit", top, ...hit.body.map(build));
  if (hit.fields.length) {
    const cells = hit.fields.map(([name, cell]) => make("span", "e5-field", make("span", "e5-label", name), " " + cell));
    node.append(make("p", "e5-hit-fields", ...cells));
  }
  const pick = () => trigger("pick", { label: hit.label });
  node.tabIndex = 0;
  node.addEventListener("click", () => getSelection().isCollapsed && pick());
  node.addEventListener("keydown", (event) => event.key === "Enter" && event.target === node && pick());
  return node;
}

function write() {
  const { head: words = [], hits = [], more: hasMore = false } = props.value || {};
  head.replaceChildren(...words.map(build));
  const top = hits.length > list.children.length && list.children.length ? list.scrollTop : 0;
  list.replaceChildren(...hits.map(card));
  list.scrollTop = top;
  foot.hidden = !hits.length;
  more.hidden = !hasMore;
}

more.addEventListener("click", () => trigger("more", {}));
const all = element.querySelector(".e5-hits-copy");
all.dataset.title = all.textContent;
all.addEventListener("click", () => copy(all, props.value.hits.map((hit) => [String(hit.rank), ...hit.plain])));
watch("value", write);
write();
