"""Tokens per second and time for one text: E5 Studio's backends and precisions beside the peers.

Each system runs in a process of its own, in an environment where it works; all embed the same texts
in turn, and ratios are to the baseline of the same round. Vectors are compared with the model card's
script once. What is not there is listed with the reason. Not a test: run it by hand.

    python benchmarks/speed.py --python optimum=ENV/bin/python --python fastembed=ENV/bin/python ...
    python benchmarks/speed.py --models e5-small-v2 --corpora mixed --systems 'e5studio*' --rounds 5

Figures are merged into results/speed-CHIP.json, so a part can be measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import systems as all_systems
import tables
from corpora import Corpus, CorpusName, make_corpus
from machine import chip_result, describe_machine
from shapes import SHAPES, Shape, export, shape
from speed_rounds import (
    N_CHECKED,
    N_WARM_UP,
    Conduct,
    Entry,
    Work,
    load_side_by_side,
    measure,
    measure_one_by_one,
    spread_rows,
    summary,
)
from systems import BASELINE, ENVIRONMENTS, System
from workers import Worker, WorkerError

from e5studio.prompts import resolve_prompt
from e5studio.tokenization import Tokenizer

RESULT = chip_result("speed")
CORPORA: tuple[CorpusName, ...] = get_args(CorpusName)


@dataclass(frozen=True)
class Plan:
    """How much of a corpus is measured with a model, so that a round takes a minute or two.

    Attributes:
        n_texts: Texts of the corpus.
        rounds: How often.
        has_all: Whether all systems take part, or the main ones.
    """

    n_texts: int
    rounds: int
    has_all: bool = False


PLANS = {
    "e5-small-v2": {"mixed": Plan(256, 3, has_all=True), "passages": Plan(256, 3), "queries": Plan(512, 3)},
    "all-MiniLM-L6-v2": {"mixed": Plan(256, 3), "passages": Plan(256, 3), "queries": Plan(512, 3)},
    "multilingual-e5-base": {"mixed": Plan(80, 2), "passages": Plan(80, 2), "queries": Plan(128, 2)},
}
ONE_BY_ONE = 200


class Benchmark:
    """One run over models, corpora and systems.

    Args:
        chosen: The command line.
        result: What was measured before; figures are merged into it.
    """

    def __init__(self, chosen: argparse.Namespace, result: dict[str, Any]) -> None:
        self._chosen = chosen
        self._result = result
        self._pythons = {"ours": sys.executable, BASELINE: sys.executable, **dict(chosen.python)}
        self._conduct = Conduct(1, chosen.longest, not chosen.busy)
        self._logs = chosen.folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)

    def run(self, name: str) -> None:
        """Measure one model."""
        made = shape(name, self._chosen.folder)
        if "optimum" in self._pythons:
            export(made, self._pythons["optimum"])
        works = self._works(made)
        waiting = [system for system in self._systems(name) if system.name != BASELINE]
        is_chosen = len(waiting) < len(self._systems(name))
        is_first = True
        while waiting or (is_first and is_chosen):
            group = [*all_systems.choose([BASELINE]), *waiting]
            entries, failed = load_side_by_side(
                group, lambda system: self._start(system), lambda worker, system: self._load(worker, made, system)
            )
            waiting = group
            for system_name, reason in failed.items():
                self._skip(name, system_name, reason)
            keeps_baseline = is_first and is_chosen
            try:
                if len(entries) > 1 or keeps_baseline:
                    print(f"{name}: {', '.join(entry.system.name for entry in entries)}", flush=True)
                    self._measure(made, works, entries, keeps_baseline=keeps_baseline)
            finally:
                for worker in {id(entry.worker): entry.worker for entry in entries}.values():
                    worker.close()
            is_first = False

    def prepare(self, name: str) -> None:
        """Make the model and load each system once, so that conversions are on disk before anything is measured."""
        made = shape(name, self._chosen.folder)
        if "optimum" in self._pythons:
            export(made, self._pythons["optimum"])
        for system in {system.process: system for system in self._systems(name)}.values():
            with self._start(system) as worker:
                try:
                    seconds = self._load(worker, made, system)["seconds"]
                    print(f"{name}, {system.name}: loaded in {seconds:.1f} s", flush=True)
                except WorkerError as error:
                    print(f"{name}, {system.name}: {error}", flush=True)

    def _systems(self, name: str) -> list[System]:
        """The systems that take part and have an environment; the others are noted as not measured."""
        has_all = any(PLANS[name][corpus].has_all for corpus in self._chosen.corpora) or self._chosen.systems
        found = [system for system in all_systems.choose(self._chosen.systems) if system.is_main or has_all]
        for system in found:
            if system.environment not in self._pythons:
                self._skip(name, system.name, f"no --python {system.environment}=... was given")
        return [system for system in found if system.environment in self._pythons]

    def _works(self, made: Shape) -> dict[str, Work]:
        corpora = {
            name: make_corpus(name, self._chosen.texts or PLANS[made.name][name].n_texts)
            for name in self._chosen.corpora
        }
        if not self._chosen.no_single:
            corpora["one"] = make_corpus("queries", N_WARM_UP + (self._chosen.texts or ONE_BY_ONE))
        [card] = all_systems.choose(["model card's script"])
        with self._start(card) as worker:
            self._load(worker, made, card)
            return {name: _work(made, corpus, worker) for name, corpus in corpora.items()}

    def _start(self, system: System) -> Worker:
        log = self._logs / f"{system.alone.replace(' ', '-').replace(',', '')}.log"
        # What we convert and cache must not end among the user's models.
        cache = {"E5STUDIO_CACHE": str(self._chosen.folder / "converted")}
        return Worker(self._pythons[system.environment], "speed_worker.py", log=log, environment=cache)

    def _load(self, worker: Worker, made: Shape, system: System) -> dict[str, Any]:
        model = {
            "name": made.meta.name,
            "folder": str(made.folder),
            "exported": str(made.exported),
            "embed_dim": made.meta.embed_dim,
            "max_tokens": made.meta.max_tokens,
        }
        loaded: dict[str, Any] = worker.call("load", kind=system.kind, model=model, options=system.options)
        return loaded

    def _measure(self, made: Shape, works: dict[str, Work], entries: list[Entry], *, keeps_baseline: bool) -> None:
        for corpus in self._chosen.corpora:
            plan, work = PLANS[made.name][corpus], works[corpus]
            conduct = Conduct(self._chosen.rounds or plan.rounds, self._conduct.longest, self._conduct.is_calm)
            taking_part = [entry for entry in entries if self._takes_part(entry.system, plan)]
            for name, reason in measure(taking_part, work, conduct).items():
                self._skip(made.name, name, reason)
            self._keep(made, work, taking_part, keeps_baseline)
        if "one" in works:
            taken = measure_one_by_one(entries, works["one"], self._conduct)
            rows = self._result.setdefault("one_by_one", {}).setdefault(made.name, {})
            for name, seconds in taken.items():
                if name != BASELINE or keeps_baseline:
                    rows[name] = _latency(seconds)
        self.save()

    def _takes_part(self, system: System, plan: Plan) -> bool:
        return system.is_main or plan.has_all or bool(self._chosen.systems)

    def _keep(self, made: Shape, work: Work, entries: list[Entry], keeps_baseline: bool) -> None:
        shown = self._result.setdefault("corpora", {}).setdefault(made.name, {})
        about = {"texts": len(work.lengths), "tokens": int(work.lengths.sum())}
        table = shown.setdefault(work.corpus.name, {**about, "systems": {}})
        if {key: table[key] for key in about} != about:
            table = shown[work.corpus.name] = {**about, "systems": {}}
        [baseline] = [entry for entry in entries if entry.system.name == BASELINE]
        for entry in entries:
            row = summary(entry, baseline, work)
            print(f"  {work.corpus.name:9}{entry.system.name:46}{row['tokens_per_second']} {row['ratio']}", flush=True)
            if entry is not baseline or keeps_baseline:
                table["systems"][entry.system.name] = row
        self.save()

    def _skip(self, model: str, system: str, reason: str) -> None:
        print(f"{model}, {system}: not measured ({reason})", flush=True)
        self._result.setdefault("not_measured", {}).setdefault(model, {})[system] = reason

    def save(self) -> None:
        """Write what there is; what was measured after all is no longer listed as not measured."""
        for model, reasons in self._result.get("not_measured", {}).items():
            measured = [rows["systems"] for rows in self._result.get("corpora", {}).get(model, {}).values()]
            for system in [name for name in reasons if any(name in rows for rows in measured)]:
                del reasons[system]
        self._chosen.result.write_text(json.dumps(self._result, indent=2, sort_keys=True) + "\n")


def _work(made: Shape, corpus: Corpus, card: Worker) -> Work:
    prompt = resolve_prompt(made.meta.prompt_kind, prompt_name=corpus.role).text
    tokenizer = Tokenizer.from_folder(made.folder, pooling=made.meta.pooling)
    lengths = tokenizer.encode(corpus.texts, prompt=prompt, max_tokens=made.meta.max_tokens).batch.lengths
    checked = spread_rows(lengths, min(N_CHECKED, len(lengths)))
    card.call("corpus", role=corpus.role, prompt=prompt, texts=corpus.texts)
    return Work(corpus, prompt, lengths, np.array(card.call("vectors", rows=checked)), checked)


def _latency(seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.array(seconds) * 1000, [50, 99])
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "texts": len(seconds)}


def _pair(given: str) -> tuple[str, str]:
    name, _, python = given.partition("=")
    if name not in ENVIRONMENTS or not Path(python).is_file():
        raise argparse.ArgumentTypeError(f"NAME=PATH, with a name of {', '.join(ENVIRONMENTS)}, and a file")
    return name, python


def _before(path: Path, machine: dict[str, object]) -> dict[str, Any]:
    """Earlier figures, if they are of this machine."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    same = all(found.get("machine", {}).get(key) == machine[key] for key in ("cpu", "cores"))
    return {**(found if same else {}), "machine": machine, "baseline": BASELINE}


def main() -> None:
    """Measure, merge into the JSON and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(PLANS))
    parser.add_argument("--corpora", nargs="*", choices=CORPORA, default=["mixed", "passages", "queries"])
    parser.add_argument("--systems", nargs="+", default=[], metavar="PATTERN", help="names, * allowed")
    parser.add_argument("--python", action="append", type=_pair, default=[], metavar="NAME=PATH")
    parser.add_argument("--rounds", type=int, help="in place of the plan's")
    parser.add_argument("--texts", type=int, help="texts of a corpus, in place of the plan's")
    parser.add_argument("--longest", type=float, default=5.0, help="seconds a round of a system that doesn't sort")
    parser.add_argument("--no-single", action="store_true", help="leave out the texts one at a time")
    parser.add_argument("--busy", action="store_true", help="measure although other programs run")
    parser.add_argument("--prepare", action="store_true", help="make the models and convert them, measure nothing")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "e5studio-benchmarks", help="keeps the models"
    )
    parser.add_argument("--result", type=Path, default=RESULT)
    chosen = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    benchmark = Benchmark(chosen, _before(chosen.result, describe_machine("numpy", "tokenizers")))
    for name in chosen.models:
        started = time.perf_counter()
        (benchmark.prepare if chosen.prepare else benchmark.run)(name)
        print(f"{name}: {(time.perf_counter() - started) / 60:.1f} minutes", flush=True)
    if chosen.result == RESULT and not chosen.prepare:
        tables.write()


if __name__ == "__main__":
    main()
