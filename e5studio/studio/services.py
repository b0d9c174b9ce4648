"""The state that the page's rooms share: made once for a page, handed to each tab."""

from __future__ import annotations

from dataclasses import dataclass, field

from e5studio.studio.corpus.corpus_folder import CorpusFolder
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.engine.engine import Engine
from e5studio.studio.serving.downloads import Downloads


@dataclass(frozen=True)
class Services:
    """The state behind a page.

    Attributes:
        engine: Computes over a pool of models.
        downloads: Large figures, tables and files, which pages fetch outside Gradio's events.
        visitor_stores: The corpus of each visitor.
        corpora: Folders of vectors that each visitor can open.
        has_v1: Whether programs find routes under /v1.
    """

    engine: Engine
    downloads: Downloads = field(default_factory=Downloads)
    visitor_stores: VisitorStores = field(default_factory=VisitorStores)
    corpora: tuple[CorpusFolder, ...] = ()
    has_v1: bool = True
