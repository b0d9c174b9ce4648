"""The order of the rooms: who may import whom, and where each heavy package may appear."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "e5studio"

# A room imports from its own row and the rows above it, never from one below.
ROWS = [
    ["errors", "models", "spec", "foreign_options"],
    ["network", "streams", "download_progress", "memory", "cpu", "cache_folder"],
    ["prompts", "batching", "similarity", "quantization", "analysis", "text_checks", "encode_report", "prepared_texts"],
    ["file_digest", "file_lock", "model_json", "folder_recipe", "checkpoint", "weights"],
    ["dropped_characters", "vocabulary_index"],
    ["model_packages", "tokenizer_settings", "lazy_tokenizer", "tokenization", "hub"],
    ["backends", "files", "four_bit"],
    ["options", "load", "default_model"],
    ["encoder", "cache"],
    ["model_pool", "long_documents"],
    ["embedder"],
    ["evaluation", "jobs", "server", "studio", "adapters", "training"],
    ["plots", "cli"],
    ["", "__main__"],  # e5studio itself names everything, lazily
]
ROW_OF = {room: row for row, rooms in enumerate(ROWS) for room in rooms}

# Modules of the Studio that may know Gradio, by room or by name; all others are plain Python and can be tested as such.
GRADIO_MODULES = (
    *("studio.launch", "studio.page.app", "studio.page.share", "studio.page.theme"),
    *("studio.form.form", "studio.form.share_link", "studio.api.endpoints"),
    *("studio.form.fold", "studio.form.stale_strip", "studio.form.text_count"),
    *("studio.widgets", "studio.serving.gradio_patches", "studio.serving.gradio_bounds"),
)
GRADIO_FREE = ("studio.widgets.nodes", "studio.widgets.table_data")
GRADIO_NAMES = (
    "tab",
    "panel",
    "source_panel",
    "search_panel",
    "evaluate_panel",
    "setting_form",
    "browser_key",
    "drop",
    "hit_list",
    "button",
    "events",
    "presence",
)

# Each tab can be read, changed or deleted alone. These are the imports of one by another that are meant.
TABS = ("scores", "map", "compare", "corpus", "diagnose", "code", "why")
BETWEEN_TABS = {("scores", "why"), ("corpus", "map"), ("corpus", "why"), ("diagnose", "corpus")}

# Where each third-party package may be imported; a name stands for everything below it too.
PLACES = {
    "torch": (
        "backends.modules",
        "backends.torch",
        "backends.onednn_linear",
        "backends.openvino_conversion",
        "backends.onnx_conversion",
        "backends.onnx_proof",
        "backends.int8_products",
        "adapters.sentence_transformers",
        "training.attention",
        "training.collator",
        "training.lora",
        "training.loss",
        "training.step_loss",
        "training.trainer",
        "training.weights",
    ),
    "transformers": (
        "backends.modules",
        "backends.torch",
        "backends.onnx_conversion",
        "adapters.sentence_transformers",
        "training.attention",
        "training.trainer",
    ),
    "safetensors": (
        "backends.modules",
        "backends.torch",
        "backends.onnx_files",
        "checkpoint",
        "four_bit.model_folder",
        "training.model_folder",
        "training.trainer",
        "training.work_folder",
        "weights",
    ),
    "openvino": (
        "backends.openvino",
        "backends.openvino_conversion",
        "backends.openvino_encoder",
        "backends.openvino_quantization",
    ),
    "onnxruntime": ("backends.onnx_graph",),
    "onnx": ("backends.onnx_conversion", "backends.onnx_quantization"),
    "tokenizers": ("tokenization", "tokenizer_settings", "lazy_tokenizer"),
    "huggingface_hub": ("hub",),
    "gradio": (),  # `may_know_gradio`
    "gradio_client": (),
    "mcp": ("studio.options",),
    "spaces": ("studio.engine.zero_gpu",),
    "httpx": ("studio.launch", "studio.serving.gradio_patches"),
    "starlette": (
        "studio.launch",
        "studio.serving",
        "studio.api.v1",
        "studio.widgets.plotly_view",
        "studio.widgets.scripts",
        "server",
    ),
    "uvicorn": ("studio.serving", "server.run"),
    "orjson": ("server",),
    "prometheus_client": ("server.metrics",),
    "tiktoken": ("server.token_ids",),
    "plotly": ("plots", "studio.widgets.plotly_view", "studio.charts.plotly_figure"),
    "py3langid": ("analysis.languages",),
    "umap": ("analysis.umap_projection",),
    "sklearn": ("analysis.projection",),
    "scipy": ("analysis.correlation",),
    "fsspec": ("files.remote",),
    "ray": ("jobs.ray",),
    "pandas": (),
    "pyarrow": ("files", "jobs", "cli.encode", "studio.serving.table_files"),
    "typer": ("cli",),
    "rich": ("cli",),
    "pytrec_eval": ("analysis.retrieval_metrics",),
    "mteb": ("evaluation.mteb_adapter", "evaluation.mteb_run"),
    "datasets": ("evaluation.mteb_run", "training.trainer"),
    "peft": ("training.lora",),
    "sentence_transformers": ("adapters.sentence_transformers", "training.trainer", "training.weights"),
    "chromadb": ("adapters.chroma",),
    "lancedb": ("adapters.lancedb",),
    "haystack": ("adapters.haystack",),
    "dspy": (),
    "langchain_core": (),
    "llama_index": (),
    "integrations": (),
    "tests": (),
    "benchmarks": (),
}


@dataclass(frozen=True)
class Import:
    """One import statement: by which module, of which, and whether inside a function."""

    by: str
    of: str
    line: int
    is_inside: bool

    @property
    def where(self) -> str:
        return f"e5studio.{self.by}:{self.line} imports {self.of}"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(name: str, path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(child) for function in functions for child in ast.walk(function)}
    for node in ast.walk(tree):
        for target in targets(node):
            yield Import(name, target, node.lineno, id(node) in inside)


def targets(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide the order"
        source = node.module or ""
        return [
            f"{source}.{alias.name}" if f"{source}.{alias.name}".removeprefix("e5studio.") in MODULES else source
            for alias in node.names
        ]
    is_call = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
        ("import_module", "import_pyarrow", "import_ray")
    )
    if is_call and node.args and isinstance(node.args[0], ast.Constant):
        return [str(node.args[0].value)]
    return []


IMPORTS = [each for name, path in MODULES.items() for each in imports_of(name, path)]
OWN = [each for each in IMPORTS if each.of.split(".")[0] == "e5studio"]


def room(module: str) -> str:
    return module.removeprefix("e5studio").removeprefix(".").split(".")[0]


def is_in(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def test_every_room_has_its_row():
    assert {room(name) for name in MODULES} <= ROW_OF.keys()


def test_no_import_looks_upward():
    # `from e5studio import hub` names a module, and `from e5studio import __version__` the package itself.
    upward = [each.where for each in OWN if room(each.of) and each.by and ROW_OF[room(each.of)] > ROW_OF[room(each.by)]]
    assert not upward


def test_there_is_no_cycle():
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for each in OWN:
        target = each.of.removeprefix("e5studio").removeprefix(".")
        if each.by and target:
            graph[each.by].add(target)
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_no_import_hides_in_a_function():
    # `studio.launch` asks the Hub while it imports Gradio, and switches telemetry off before that. A converted
    # model starts without torch, so what converts is imported when there is something to convert. The command line
    # starts without what its server needs.
    expected = ("studio.launch", "backends.openvino", "backends.onnx", "cli.serve", "")
    hidden = [each.where for each in OWN if each.is_inside and each.by not in expected]
    assert not hidden


def test_the_studio_loads_of_the_server_what_its_own_routes_need_and_only_there():
    """A Studio whose switch is off loads nothing of it, and none needs what only a server has installed."""
    assert {each.by for each in OWN if room(each.by) == "studio" and room(each.of) == "server"} == {"studio.api.v1"}
    assert [(each.by, each.is_inside) for each in OWN if each.of == "e5studio.studio.api.v1"] == [
        ("studio.launch", True)
    ]
    loaded, waiting = set(), ["studio.api.v1"]
    while waiting:
        name = waiting.pop()
        loaded.add(name)
        targets_of = {each.of.removeprefix("e5studio.") for each in OWN if each.by == name and not each.is_inside}
        waiting += targets_of & MODULES.keys() - loaded
    assert "server.endpoint" in loaded
    assert not loaded & {*PLACES["prometheus_client"], "server.app", "server.engine", "server.run"}


@pytest.mark.parametrize("package", PLACES)
def test_package_stays_in_its_place(package):
    astray = [
        each.where
        for each in IMPORTS
        if is_in(each.of, (package,))
        and not is_in(each.by, PLACES[package])
        and not (package == "gradio" and may_know_gradio(each.by))
    ]
    assert not astray


def may_know_gradio(module: str) -> bool:
    if module in GRADIO_FREE:
        return False
    return is_in(module, GRADIO_MODULES) or (module.startswith("studio.") and module.split(".")[-1] in GRADIO_NAMES)


def test_what_knows_no_gradio_knows_no_module_that_does():
    plain = [name for name in MODULES if name.startswith("studio.") and not may_know_gradio(name)]
    astray = [each.where for each in OWN if each.by in plain and may_know_gradio(each.of.removeprefix("e5studio."))]
    assert not astray


def tab_of(module: str) -> str | None:
    parts = module.removeprefix("e5studio.").split(".")
    return parts[1] if parts[0] == "studio" and len(parts) > 1 and parts[1] in TABS else None


def test_tabs_do_not_import_each_other():
    pairs = {(tab_of(each.by), tab_of(each.of)): each.where for each in OWN}
    astray = [
        where for pair, where in pairs.items() if None not in pair and pair[0] != pair[1] and pair not in BETWEEN_TABS
    ]
    assert not astray


def test_no_module_has_a_name_that_says_nothing():
    assert not {"utils", "util", "helpers", "common", "core", "misc"} & {
        part for name in MODULES for part in name.split(".")
    }


HEAVY = (
    "torch transformers gradio sklearn scipy pandas umap numba plotly pyarrow onnx onnxruntime openvino "
    "ray mteb datasets polars pytrec_eval sentence_transformers chromadb lancedb haystack"
).split()


LIGHT = ("numpy", "tokenizers", "huggingface_hub", "rich", "typer")
STATEMENTS = (
    "import e5studio",
    "from e5studio import E5Encoder",
    "import e5studio.cli",
    "import e5studio.evaluation",
    "import e5studio.training",
    "import e5studio.adapters",
    "import e5studio.studio.engine.engine",
    "import e5studio.plots",
)


def test_imports_load_nothing_heavy():
    lines = [f"{statement}\nprint({statement!r}, *sys.modules, sep='\\t')" for statement in STATEMENTS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "\n".join(["import sys", *lines])]
    listing = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout
    for line in listing.splitlines():
        statement, *loaded = line.split("\t")
        forbidden = {*HEAVY, *LIGHT} if statement == STATEMENTS[0] else {*HEAVY}
        assert not forbidden & {*loaded}, statement
