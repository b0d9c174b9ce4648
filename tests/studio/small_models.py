"""A cache of the Hub in which small checkpoints stand for the models of the table, at their pinned revisions."""

from __future__ import annotations

from pathlib import Path

from e5studio import models

STAND_INS = {
    "intfloat/e5-small-v2": "e5",
    "intfloat/multilingual-e5-small": "multilingual-e5-small",
    "intfloat/multilingual-e5-large-instruct": "multilingual-e5-instruct",
    "intfloat/e5-mistral-7b-instruct": "e5-mistral-instruct",
}
OFFLINE = "sentence-transformers/all-MiniLM-L6-v2"


def fill_cache(cache: Path, folders: dict[str, Path]) -> None:
    """Put folders into a cache of the Hub, as if they were the repositories of these names."""
    for name, folder in folders.items():
        revision = models.get_model_meta(name).revision
        repository = cache / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(revision)
        for source in folder.rglob("*"):
            if source.is_file():
                place = repository / "snapshots" / revision / source.relative_to(folder)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(source)
