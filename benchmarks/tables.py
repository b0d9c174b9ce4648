"""The tables of benchmarks/README.md, made from results/*.json and written between their marks.

    python benchmarks/tables.py

What was not measured has no table. The root README's short table is written where it has the marks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
CORPORA = ("mixed", "passages", "queries")
PRECISIONS = ("float32", "bfloat16", "int8")


def write() -> None:
    """Put each table between its marks; a file without the marks is left alone."""
    for name, make in {"speed": speed, "limit": limit}.items():
        _replace(FOLDER / "README.md", name, _paragraphs([make(result) for result in _of_chips(name)]))
    makers: dict[str, Callable[[dict[str, Any]], str]] = {
        "quality": quality,
        "stream": stream,
        "studio": studio,
        "corpus": corpus,
        "visitors": visitors,
    }
    found = {name: json.loads(path.read_text()) for name in makers if (path := RESULTS / f"{name}.json").is_file()}
    for name, make in makers.items():
        _replace(FOLDER / "README.md", name, make(found[name]) if name in found else "")
    _replace(FOLDER.parent / "README.md", "speed", short(_of_chips("speed"), found.get("quality")))


def _of_chips(name: str) -> list[dict[str, Any]]:
    """A benchmark's figures of each chip that it was run on."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{name}-*.json"))]


def speed(result: dict[str, Any]) -> str:
    """Tokens per second of every system, model and corpus; then ours beside the fastest peer."""
    machine = result["machine"]
    parts = [
        f"**{machine['cpu']}**, {machine['cores']} cores. "
        f"Tokens per second, median of the rounds; behind it the ratio to "
        f"{result['baseline']} at its defaults in the same round, median (least to most). p50 and p99 in milliseconds, "
        "for one short query at a time. Cosine: the lowest to the vectors of the model card's script, over 64 texts."
    ]
    for model, corpora in result.get("corpora", {}).items():
        parts += [f"### {model}", _corpora_line(corpora), _speed_table(result, model, corpora)]
        parts += [_not_measured(result.get("not_measured", {}).get(model, {}))]
        parts += [_beside_peers(corpora[corpus], corpus) for corpus in CORPORA if corpus in corpora]
    return _paragraphs(parts)


def short(results: Sequence[dict[str, Any]], quality_result: dict[str, Any] | None) -> str:
    """What our backends gain on each chip, on the mixed corpus with the shape of e5-small, and what precision costs."""
    columns: list[str] = []
    cells: dict[str, dict[str, str]] = {}
    for result in results:
        corpus = result.get("corpora", {}).get("e5-small-v2", {}).get("mixed", {"systems": {}})
        alone = result.get("one_by_one", {}).get("e5-small-v2", {})
        names = [f"{_short_name(result)}: {unit}" for unit in ("tokens/s", "times", "one query, ms")]
        columns += names
        for name in _ordered(corpus["systems"]):
            if name.startswith("e5studio"):
                row = corpus["systems"][name]
                latency = f"{alone[name]['p50_ms']:.1f}" if name in alone else ""
                row_cells = cells.setdefault(name.removeprefix("e5studio "), {})
                row_cells |= zip(names, (f"{_rate(row):,.0f}", _ratio(row), latency), strict=True)
    scifact = {name: row["scifact_ndcg_at_10"] for name, row in (quality_result or {}).get("systems", {}).items()}
    rows = [("backend", *columns, "SciFact, MiniLM")]
    for name, row in cells.items():
        worth = f"{scifact[name]:.4f}" if name in scifact else ""
        rows.append((name, *(row.get(column, "") for column in columns), worth))
    return _table(rows)


def _short_name(result: dict[str, Any]) -> str:
    return str(result["machine"]["cpu"]).split(" (family")[0].replace("(R)", "").replace(" Processor", "")


def limit(result: dict[str, Any]) -> str:
    """Peaks, the share of them that encoding reaches, and where the time goes."""
    machine = result["machine"]
    about = (
        f"**{machine['cpu']}**, {machine['cores']} cores; the shape of {result['model']}, {result['texts']} texts of "
        f"the mixed corpus, {result['rounds']} rounds. G is 10^9 additions and multiplications a second."
    )
    peaks: list[tuple[str, ...]] = [("precision", "fastest product, G", "all linear layers alone, G")]
    for precision, row in result["peaks"].items():
        peaks.append((precision, f"{row['peak'] / 1e9:.0f}", f"{row['linear_layers'] / 1e9:.0f}"))
    shares: list[tuple[str, ...]] = [
        ("backend", "tokens/s", "share of the peak", "share of linear layers alone", "best shape", "share of it")
    ]
    for name, row in result["systems"].items():
        cells = [f"{row['tokens_per_second']['median']:,.0f}", f"{row['share_of_peak']:.0%}"]
        cells += [f"{row['share_of_bound']:.0%}", row["best_shape"], _percent(row["share_of_best_shape"])]
        shares.append((name, *cells))
    return _paragraphs([about, _table(peaks), _table(shares), _where(result["systems"]), _shapes(result["systems"])])


def quality(result: dict[str, Any]) -> str:
    """What each backend and precision does to the vectors' worth."""
    figures = {"scifact_ndcg_at_10": "SciFact nDCG@10", "sts_spearman": "STS Benchmark, Spearman"}
    changes = [cell for name in figures.values() for cell in (name, "change, 95 % interval")]
    rows: list[tuple[str, ...]] = [("backend", *changes, "lowest cosine to float32", "mean cosine")]
    for name, row in result["systems"].items():
        cosines = [f"{row[key]:.5f}" if key in row else "" for key in ("lowest_cosine", "mean_cosine")]
        scores = [cell for key in figures for cell in (f"{row[key]:.5f}", _change(row.get(f"{key}_change")))]
        rows.append((name, *scores, *cosines))
    about = f"{result['model']}; {result['documents']:,} documents, {result['queries']} queries."
    return _paragraphs([about, _table(rows), _not_measured(result["not_measured"])])


def _change(found: dict[str, float] | None) -> str:
    return f"{found['low']:+.4f} to {found['high']:+.4f} (p {found['p_value']:.2f})" if found else ""


def stream(result: dict[str, Any]) -> str:
    """Resident memory while texts stream through."""
    rows: list[tuple[str, ...]] = [("backend", "loaded", "first block", "last block", "most", "growth", "seconds")]
    for name, row in result["systems"].items():
        sizes = [f"{row[f'{key}_mb']:.0f} MB" for key in ("loaded", "first_block", "last_block", "peak", "growth")]
        rows.append((name, *sizes, f"{row['seconds']:.0f}"))
    about = f"{result['texts']:,} short texts, {result['model']}; growth is counted from the first block."
    return _paragraphs([about, _table(rows)])


def studio(result: dict[str, Any]) -> str:
    """Seconds that a person waits in the Studio."""
    waits = result["seconds from the click to the picture"]
    rows = [(name, *(f"{row[kind]:.2f}" for kind in ("median", "min", "max"))) for name, row in waits.items()]
    said = f"Seconds from the click to the picture, {result['rounds']} rounds; browser and Studio on the same cores."
    return _paragraphs([said, _table([("what", "median", "least", "most"), *rows])])


def corpus(result: dict[str, Any]) -> str:
    """Waits over a corpus, what embedding costs beside the encoder alone, and memory."""
    embedding, other, umap = result["embedding"], result["another visitor's score, seconds"], result["UMAP"]
    reading, pca, search = result["a CSV, seconds"], result["PCA, seconds"], result["a search, seconds"]
    about = (
        f"{result['texts']:,} texts, all-MiniLM-L6-v2 in {embedding['backend']}, {result['machine']['cores']} cores; "
        f"vectors {result['vectors']}. Other programs took {result['cores that others took']:.1f} cores meanwhile; "
        f"load average {result['load average before'][0]:.1f} before, {result['load average after'][0]:.1f} after."
    )
    ratio, alone, beside = embedding["ratio"], other["alone"], other["while a corpus is embedded"]
    megabytes = result["memory, MB"]
    rows: list[tuple[str, ...]] = [
        ("what", "figure"),
        (f"reading a CSV of {reading['megabytes']:.0f} MB", f"{reading['reading'] + reading['choosing']:.2f} s"),
        (
            f"embedding {embedding['texts']:,} texts, times as long as the encoder alone",
            f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})",
        ),
        ("another visitor's small Score meanwhile", f"{beside['median']:.2f} s, most {beside['max']:.2f} s"),
        ("the same on its own", f"{alone['median']:.2f} s, most {alone['max']:.2f} s"),
        (
            "a search, with the query's embedding",
            f"{1000 * search['median']:.0f} ms, most {1000 * search['max']:.0f} ms",
        ),
        ("PCA map: placing, figure, ready to be sent", " + ".join(f"{seconds:.2f}" for seconds in pca.values()) + " s"),
        ("UMAP", f"{umap['seconds']:.0f} s, longest silence {umap['longest silence']:.1f} s"),
        ("resident memory, before the corpus", f"{megabytes['before the corpus']:.0f} MB"),
        ("with texts and vectors in the store", f"{megabytes['with all on the store']:.0f} MB"),
        ("most, up to the PCA map", f"{megabytes['most until PCA']:.0f} MB"),
        ("most, in UMAP", f"{megabytes['most in UMAP']:.0f} MB"),
        ("after the store is emptied", f"{megabytes['after the store is forgotten']:.0f} MB"),
    ]
    return _paragraphs([about, _table(rows)])


def visitors(result: dict[str, Any]) -> str:
    """Waits of people who come at once, and memory."""
    rows: list[tuple[str, ...]] = [
        ("round", "errors", "saw others' texts", "median wait", "least", "most", "most until the map", "memory after")
    ]
    memory = result["resident_mb_before_and_after_each_round"]
    for number, (round_, after) in enumerate(zip(result["rounds"], memory[1:], strict=True), start=1):
        wait = round_["wait"]
        figures = [f"{wait[kind]:.2f} s" for kind in ("median", "min", "max")]
        last = f"{round_['until_the_map']['max']:.2f} s"
        counts = (str(round_["errors"]), str(round_["saw_others"]))
        rows.append((str(number), *counts, *figures, last, f"{after:.0f} MB"))
    alone = result["alone"]
    said = (
        f"{result['people']} people press Score at once, all-MiniLM-L6-v2, {result['machine']['cores']} cores shared "
        f"with the server. One alone waits {alone['median']:.2f} s ({alone['min']:.2f} to {alone['max']:.2f}). "
        f"Before the first round the server held {memory[0]:.0f} MB."
    )
    return _paragraphs([said, _table(rows)])


def _speed_table(result: dict[str, Any], model: str, corpora: dict[str, Any]) -> str:
    present = [corpus for corpus in CORPORA if corpus in corpora]
    alone = result.get("one_by_one", {}).get(model, {})
    rows: list[tuple[str, ...]] = [("system", "precision", *present, "p50", "p99", "cosine")]
    names = dict.fromkeys(name for corpus in present for name in _ordered(corpora[corpus]["systems"]))
    for name in names:
        found = [corpora[corpus]["systems"].get(name) for corpus in present]
        cells = [f"{_rate(row):,.0f}, {_ratio(row)}" if row else "" for row in found]
        latency = alone.get(name.removesuffix(", best batch"), {}) if not _is_second(name, names) else {}
        times = [f"{latency[key]:.1f}" if latency else "" for key in ("p50_ms", "p99_ms")]
        [first, *_] = [row for row in found if row]
        lowest = min(row["lowest_cosine"] for row in found if row)
        size = f" ({first['batch_size']})" if "batch_size" in first else ""
        rows.append((name + size, first["precision"], *cells, *times, f"{lowest:.6f}"))
    return _table(rows)


def _is_second(name: str, names: Iterable[str]) -> bool:
    """Whether the same process is in the table at its default batch size already."""
    return name.endswith(", best batch") and name.removesuffix(", best batch") in names


def _corpora_line(corpora: dict[str, Any]) -> str:
    told = []
    for name in CORPORA:
        if name in corpora:
            corpus = corpora[name]
            mean = corpus["tokens"] / corpus["texts"]
            told.append(f"{name}: {corpus['texts']} texts of {mean:.0f} tokens on average")
    parts = {
        f"{system} {row['texts']} ({corpus})"
        for corpus, rows in corpora.items()
        for system, row in rows["systems"].items()
        if row["texts"] < rows["texts"]
    }
    fewer = f" Slow systems that don't sort had fewer texts, spread alike: {', '.join(sorted(parts))}." if parts else ""
    return f"{'; '.join(told)}.{fewer}"


def _beside_peers(corpus: dict[str, Any], name: str) -> str:
    """Ours at its fastest beside the fastest peer, for each precision."""
    rows: list[tuple[str, ...]] = [(f"{name}, precision", "ours", "fastest peer", "ours against it")]
    for precision in PRECISIONS:
        having = {key: row for key, row in corpus["systems"].items() if row["precision"] == precision}
        ours = {key: row for key, row in having.items() if key.startswith("e5studio")}
        peers = {key: row for key, row in having.items() if key not in ours}
        if ours and peers:
            best, peer = (max(given, key=lambda key: _ratio_of(given[key])) for given in (ours, peers))
            times = _ratio_of(ours[best]) / _ratio_of(peers[peer])
            rows.append((precision, best.removeprefix("e5studio "), peer, f"{times:.2f} x"))
    return _table(rows) if len(rows) > 1 else ""


def _where(systems: dict[str, Any]) -> str:
    """Shares of the time of one pass: layers by OpenVINO's own count, the rest by timing it alone."""
    counted = {name: row for name, row in systems.items() if "layers" in row}
    if not counted:
        return ""
    groups = list(next(iter(counted.values()))["layers"]["groups"])
    parts = list(next(iter(counted.values()))["seconds_of_parts"])
    rows: list[tuple[str, ...]] = [("backend", *groups, *parts, "tokens computed for one")]
    for name, row in counted.items():
        layers, all_layers = row["layers"]["groups"], sum(row["layers"]["groups"].values())
        beside, whole = row["seconds_of_parts"], row["seconds_of_all"]
        cells = [f"{layers[group] / all_layers:.1%}" for group in groups]
        cells += [f"{beside[part] / whole:.1%}" for part in parts]
        rows.append((name, *cells, f"{row['computed_per_token']['own']:.3f}"))
    about = (
        "Where the time goes: layers as shares of all layers; what happens beside them, timed alone, as shares of "
        "whole encoding."
    )
    return f"{about}\n\n{_table(rows)}"


def _shapes(systems: dict[str, Any]) -> str:
    """The sweep: tokens a second of the backend alone, fed with batches made before."""
    if not systems:
        return ""
    ways = list(dict.fromkeys(way for row in systems.values() for way in row["prepared_tokens_per_second"]))
    rows: list[tuple[str, ...]] = [("batches made before, tokens/s", *systems)]
    for way in ways:
        found = [row["prepared_tokens_per_second"].get(way) for row in systems.values()]
        rows.append((way, *(f"{spread['median']:,.0f}" if spread else "" for spread in found)))
    return _table(rows)


def _ordered(systems: dict[str, Any]) -> list[str]:
    """Ours first, then peers, the fastest first."""
    return sorted(systems, key=lambda name: (not name.startswith("e5studio"), -_ratio_of(systems[name])))


def _rate(row: dict[str, Any]) -> float:
    return float(row["tokens_per_second"]["median"])


def _ratio_of(row: dict[str, Any]) -> float:
    return float(row["ratio"]["median"])


def _ratio(row: dict[str, Any]) -> str:
    ratio = row["ratio"]
    return f"{ratio['median']:.2f} x ({ratio['min']:.2f} to {ratio['max']:.2f})"


def _percent(spread: dict[str, float]) -> str:
    return f"{spread['median']:.1%} ({spread['min']:.1%} to {spread['max']:.1%})"


def _not_measured(reasons: dict[str, str]) -> str:
    return "Not measured: " + "; ".join(f"{name} ({reasons[name]})" for name in sorted(reasons)) if reasons else ""


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    head, *body = rows
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _paragraphs(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part)


def _replace(path: Path, name: str, content: str) -> None:
    begin, end = f"<!-- {name} table: begin -->", f"<!-- {name} table: end -->"
    text = path.read_text(encoding="utf-8")
    if begin not in text:
        return
    head, rest = text.split(begin)
    inner = f"\n{content}\n" if content else "\n"
    path.write_text(f"{head}{begin}{inner}{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    write()
