// Shows one of the programs of props.value, to copy or to save. Given by Gradio: element, props, watch.
const find = (name) => element.querySelector(`.e5-program${name}`);
const [whole, choice, code, told, fault] = ["s", "-choice", "-code", "-told", "-fault"].map(find);
const [copy, save] = ["-copy", "-save"].map(find);
const GROUP = `e5-program-${Math.random().toString(36).slice(2)}`;

// Strings, comments, words of the language: enough to find one's way, and nothing hangs on it.
const COLOURED = {
  python: /(?<text>"[^"\\\n]*(?:\\.[^"\\\n]*)*")|(?<comment>#[^\n]*)|(?<word>\b(?:as|def|for|from|if|import|in|None|return|with)\b)/g,
  shell: /(?<text>'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*")|(?<comment>^#[^\n]*)/gm,
};

let programs = [];
let chosen = ""; // stays chosen when other texts are scored
let revision = 0;

const program = () => programs.find((each) => each.title === chosen) ?? programs[0];

function coloured({ code, language }) {
  const parts = [];
  let end = 0;
  for (const found of code.matchAll(COLOURED[language])) {
    const [kind] = Object.entries(found.groups).find(([, part]) => part !== undefined);
    const part = document.createElement("span");
    part.className = `e5-code-${kind}`;
    part.textContent = found[0];
    parts.push(code.slice(end, found.index), part);
    end = found.index + found[0].length;
  }
  return [...parts, code.slice(end)];
}

function option({ title }) {
  const [label, input] = ["label", "input"].map((tag) => document.createElement(tag));
  Object.assign(input, { type: "radio", name: GROUP, value: title, checked: title === program().title });
  input.addEventListener("change", () => choose(title));
  label.append(input, title);
  return label;
}

function choose(title) {
  chosen = title;
  write();
}

function write() {
  told.textContent = "";
  const shown = program();
  if (!shown) return;
  find("-file").textContent = shown.file_name;
  code.setAttribute("aria-label", shown.file_name);
  code.replaceChildren(...coloured(shown));
  code.scrollTop = 0;
}

async function update() {
  const own = (revision += 1);
  let value = null;
  let wrong = "";
  try {
    value = await opened(props.value);
  } catch (error) {
    wrong = `The code could not be fetched. Press Score again. (${error.message.slice(0, 200)})`;
  }
  if (own !== revision) return;
  fault.textContent = wrong;
  programs = value?.programs ?? [];
  whole.hidden = !programs.length;
  choice.replaceChildren(...programs.map(option));
  write();
}

async function copyCode() {
  try {
    await navigator.clipboard.writeText(program().code);
    told.textContent = "Copied";
  } catch {
    // Where a page came without encryption, browsers give it no clipboard.
    getSelection().selectAllChildren(code);
    told.textContent = "Selected: press Ctrl + C";
  }
}

function saveCode() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([program().code], { type: "text/plain;charset=utf-8" }));
  link.download = program().file_name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function name() {
  choice.setAttribute("aria-label", "Code for");
  copy.textContent = "Copy";
  save.textContent = "Save";
}

copy.addEventListener("click", copyCode);
save.addEventListener("click", saveCode);
name();
watch("value", update);
update();
