"""E5Encoder: texts to vectors, the way the model's card says.

The way of a text: prompt -> tokens -> batches -> backend -> checked, normalised rows in the
caller's order. The first half is `prepare`, the second `embed_prepared`; everything else
here is made of the two. No framework's types appear, and no device's.
"""

from __future__ import annotations

import copy
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from e5studio import checkpoint
from e5studio.batching import IntArray, Limits, TokenBatch, padding_share, plan_batches
from e5studio.download_progress import DownloadProgress
from e5studio.encode_report import EncodeReport, NoteKind, Truncation, nothing_read, warn
from e5studio.errors import BackendError, FingerprintMismatchError, NonFiniteError, PromptError, TextError
from e5studio.load import LoadedModel, load_model, load_shared, stop_sharing
from e5studio.models import ModelMeta
from e5studio.options import EncodeArguments, EncodeOptions, EncoderArguments, ModelOptions, split_arguments
from e5studio.prepared_texts import PreparedTexts, TokenEmbeddings
from e5studio.prompts import Prompt, already_prompted, resolve_prompt
from e5studio.similarity import FloatArray
from e5studio.similarity import scores as score_matrix
from e5studio.spec import EncoderSpec
from e5studio.streams import is_terminal
from e5studio.text_checks import as_texts, checked_container, checked_types, with_titles
from e5studio.tokenization import TokenOffsets, replace_surrogates
from e5studio.weights import save_folder

Progress = Callable[[int, int], None]
"""Called with (texts done, texts in all); what it raises stops the work."""


class E5Encoder:
    """A loaded model with its recipe; it pickles as its options, and the process that unpickles it loads the model.

    Args:
        model: A name of the table ("intfloat/e5-small-v2", or "e5-small-v2"), another Hub id, a
            local folder, or a ModelMeta that describes another model. Of "multilingual-e5-small" the 4-bit weights
            ("multilingual-e5-small@4bit") are taken, with a warning, where the full ones cannot be fetched.
        path: Folder of the files, where `model` is a name or a ModelMeta.
        prompt_kind: For a model outside the table: "query_passage", "instruct" or "none".
        backend: "torch", "openvino" or "onnx"; "auto" is torch on a GPU, and on a CPU the fastest one that
            is installed and computes in this precision.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "auto" (float32 everywhere), "float32", "bfloat16", "float16" or "int8"; `e5studio models --backends`
            lists what each backend supports on this machine.
        revision: Commit, tag or branch in place of the pinned one; the 4-bit weights never stand for it.
        max_tokens: Tokens read of a text, prompt and special tokens counted; the card's number if None.
        truncate_dim: Keep the first so many dimensions. E5 was not trained for it; it costs quality.
        token_budget: Tokens of a batch, padding counted; the backend's own number if None.
        local_files_only: Never download.
        show_progress: Bar on stderr for work over 2 seconds; None shows it on a terminal only.
        on_download: Called with (bytes done, bytes in all) of a download, in place of a bar.

    Attributes:
        meta: What the model is.
        files: Where its files are.
        device: Where it computes.

    Raises:
        UnknownModelError: The name is unknown, and nothing says what the model is.
        ModelFilesError: The files are missing, damaged, unsafe, or not what they should be.
        ModelUnavailableError: Neither on this machine nor on the Hub.
        OutOfMemoryError: The weights would not fit.
        BackendError: Backend, device or precision are not available here.
    """

    def __init__(
        self,
        model: str | Path | ModelMeta,
        *,
        on_download: DownloadProgress | None = None,
        **options: Unpack[EncoderArguments],
    ) -> None:
        model_options, encode_options = split_arguments(model, options)
        self._adopt(load_model(model_options, on_download))
        self._set_options(encode_options)

    @classmethod
    def from_loaded(cls, loaded: LoadedModel, options: EncodeOptions | None = None) -> E5Encoder:
        """An encoder over weights that are in memory, which it shares with others made from them."""
        encoder = cls.__new__(cls)
        encoder._adopt(loaded)
        encoder._set_options(options or EncodeOptions())
        return encoder

    def with_options(self, **changes: Unpack[EncodeArguments]) -> E5Encoder:
        """An encoder over the same loaded weights with other options; None keeps what is.

        Args:
            **changes: max_tokens, truncate_dim, token_budget, show_progress, as `E5Encoder` takes them.
        """
        twin = copy.copy(self)
        twin._set_options(EncodeOptions(**changes))
        return twin

    @property
    def spec(self) -> EncoderSpec:
        """What determines this encoder's vectors; `spec.fingerprint` stands for it."""
        return EncoderSpec(
            model=self.meta.name,
            revision=self.files.revision,
            prompt_kind=self.meta.prompt_kind,
            pooling=self.meta.pooling,
            max_tokens=self._max_tokens,
            backend=self._backend.name,
            dtype=self._backend.dtype,
            embed_dim=self._embed_dim,
            quantization=self._backend.quantization,
            graph=self._backend.graph,
        )

    @property
    def has_token_embeddings(self) -> bool:
        """Whether the backend gives the vectors of tokens."""
        return self._backend.capabilities.token_embeddings

    @property
    def reads_end_spaces(self) -> bool:
        """Whether white space at the end of a text changes its vector."""
        return self._tokenizer.reads_end_spaces

    @property
    def n_bytes(self) -> int:
        """Memory that the weights take."""
        return self._backend.n_bytes

    @property
    def token_budget(self) -> int:
        """Tokens of a batch, padding counted."""
        return self._limits().token_budget

    @property
    def limits(self) -> Limits:
        """What a batch may cost."""
        return self._limits()

    def encode_query(
        self,
        texts: str | Iterable[str],
        /,
        *,
        instruction: str | None = None,
        normalize: bool = True,
        on_progress: Progress | None = None,
    ) -> FloatArray:
        """Embed queries, with the query prompt or the instruction in front.

        Args:
            texts: One text or several.
            instruction: The task in one sentence, on instruct models; the card's web search if None.
            normalize: Scale vectors to length 1.
            on_progress: Called after each batch.

        Returns:
            Float32, (n, embed_dim), or (embed_dim,) for a single text.
        """
        return self._encode(texts, self.resolve_prompt("query", instruction=instruction), normalize, on_progress)

    def encode_document(
        self,
        texts: str | Iterable[str],
        /,
        *,
        titles: str | Iterable[str | None] | None = None,
        normalize: bool = True,
        on_progress: Progress | None = None,
    ) -> FloatArray:
        """Embed passages, with the passage prompt in front where the model has one.

        Args:
            texts: One text or several.
            titles: A title for each text, put in front of it with a space, as unilm's evaluation does.
            normalize: Scale vectors to length 1.
            on_progress: Called after each batch.

        Returns:
            Float32, (n, embed_dim), or (embed_dim,) for a single text.
        """
        if titles is not None:
            texts = with_titles(titles, texts)
        return self._encode(texts, self.resolve_prompt("document"), normalize, on_progress)

    def encode(
        self,
        texts: str | Iterable[str],
        /,
        *,
        prompt_name: str | None = None,
        prompt: str | Prompt | None = None,
        instruction: str | None = None,
        normalize: bool = True,
        on_progress: Progress | None = None,
    ) -> FloatArray:
        """Embed texts with the prompt of a name, or with another prompt.

        Args:
            texts: One text or several.
            prompt_name: "query", "document", "symmetric", or what another API calls them.
            prompt: The text in front, in place of a name; "" for none.
            instruction: The task, on instruct models with the query prompt.
            normalize: Scale vectors to length 1.
            on_progress: Called after each batch.

        Returns:
            Float32, (n, embed_dim), or (embed_dim,) for a single text.

        Raises:
            PromptError: The model has prompts and none was chosen, or the choice contradicts itself.
            TextError: Some texts are empty, or the model reads no token of them; TextTypeError: or no texts.
        """
        chosen = self.resolve_prompt(prompt_name, prompt=prompt, instruction=instruction)
        return self._encode(texts, chosen, normalize, on_progress)

    def encode_blocks(
        self,
        texts: Iterable[str],
        /,
        *,
        prompt_name: str | None = None,
        prompt: str | Prompt | None = None,
        instruction: str | None = None,
        block_size: int = 4096,
    ) -> Iterator[FloatArray]:
        """Embed a stream of texts that need not fit into memory.

        Yields:
            Float32 (up to block_size, embed_dim), in the order of the texts.

        Raises:
            TextError, NonFiniteError: As `encode`; `indices` count from the beginning of the stream.
        """
        if block_size < 1:
            raise ValueError(f"block_size={block_size}; it must be at least 1.")
        chosen = self.resolve_prompt(prompt_name, prompt=prompt, instruction=instruction)
        return self._encode_blocks(iter(checked_container(texts)), chosen, block_size)

    def scores(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        /,
        *,
        instruction: str | None = None,
        titles: Sequence[str | None] | None = None,
    ) -> FloatArray:
        """Cosine of every query with every document, times 100, as the model cards print it.

        Returns:
            Float32, (n_queries, n_documents).
        """
        rows = self.encode_query(checked_container(queries), instruction=instruction)
        return score_matrix(rows, self.encode_document(checked_container(documents), titles=titles))

    def resolve_prompt(
        self, prompt_name: str | None = None, *, prompt: str | Prompt | None = None, instruction: str | None = None
    ) -> Prompt:
        """The prompt that these choices lead to on this model; errors as `encode`."""
        return resolve_prompt(self.meta.prompt_kind, prompt_name=prompt_name, prompt=prompt, instruction=instruction)

    def check_prompt_fits(self, prompt: Prompt, /) -> None:
        """Refuse a prompt that leaves no room for a text.

        Raises:
            PromptError: It has as many tokens as the model reads, or more.
        """
        if self._max_tokens - self._tokenizer.n_special <= self._tokenizer.count_prompt(prompt.text):
            raise PromptError(
                f"The prompt {prompt.text[:80]!r} fills all {self._max_tokens} tokens and leaves no room for a text. "
                "Shorten the prompt or the instruction, or raise max_tokens."
            )

    def prepare(
        self,
        texts: Iterable[str],
        /,
        *,
        prompt_name: str | None = None,
        prompt: str | Prompt | None = None,
        instruction: str | None = None,
        allow_empty: bool = False,
    ) -> PreparedTexts:
        """Check and tokenise texts: all that happens before the model runs.

        Args:
            texts: Several texts.
            prompt_name: As `encode`.
            prompt: As `encode`.
            instruction: As `encode`.
            allow_empty: Accept empty texts, which the corpora of some benchmarks hold; their vectors are those of
                the prompt and the special tokens alone. `report.empty` lists them.

        Returns:
            Token ids, each different text once, and a report of what was cut or not read.

        Raises:
            TextError: Some texts are empty, or leave no token, which is the same to the model.
        """
        chosen = self.resolve_prompt(prompt_name, prompt=prompt, instruction=instruction)
        return self._prepare(checked_types(texts) if allow_empty else as_texts(texts), chosen, allow_empty=allow_empty)

    def embed_prepared(
        self, prepared: PreparedTexts, /, *, normalize: bool = True, on_progress: Progress | None = None
    ) -> FloatArray:
        """Run the model over prepared texts.

        Returns:
            Float32, (n, embed_dim), in the order of the texts given to `prepare`.

        Raises:
            NonFiniteError: The backend returned NaN, infinity or zero vectors; none leave.
        """
        vectors = self.embed_rows(
            prepared, np.arange(len(prepared.batch)), normalize=normalize, on_progress=on_progress
        )
        is_identity = np.array_equal(prepared.rows, np.arange(len(prepared.rows)))
        return vectors if is_identity else vectors[prepared.rows]

    def embed_rows(
        self,
        prepared: PreparedTexts,
        rows: NDArray[np.intp],
        /,
        *,
        normalize: bool = True,
        on_progress: Progress | None = None,
    ) -> FloatArray:
        """Run the model over some of the different texts among prepared ones.

        Args:
            prepared: From `prepare`.
            rows: Rows of `prepared.batch`, (n,).
            normalize: Scale vectors to length 1.
            on_progress: Called after each batch.

        Returns:
            Float32, (n, embed_dim), in the order of `rows`.

        Raises:
            NonFiniteError: As `embed_prepared`; `indices` are positions in the caller's texts.
        """
        vectors = np.empty((len(rows), self._embed_dim), np.float32)
        is_shown = is_terminal(sys.stderr) if self._show_progress is None else self._show_progress
        done = 0
        with tqdm(total=len(rows), unit="text", delay=2, disable=not is_shown or sys.stderr is None) as bar:
            for indices, batch_vectors in self.embed_batches(prepared, rows, normalize=normalize):
                vectors[indices] = batch_vectors
                done += len(indices)
                bar.update(len(indices))
                if on_progress is not None:
                    on_progress(done, len(rows))
        return vectors

    def embed_batches(
        self, prepared: PreparedTexts, rows: NDArray[np.intp], /, *, normalize: bool = True
    ) -> Iterator[tuple[NDArray[np.intp], FloatArray]]:
        """As `embed_rows`, but yields each batch, so that interrupted work can resume.

        Yields:
            Indices into `rows` and their vectors, (len(indices), embed_dim) float32; the longest texts first.
        """
        batch = prepared.batch
        plan = plan_batches(batch.lengths[rows], self._limits())
        batches = (batch.select(rows[indices]) for indices in plan)
        for indices, pooled in zip(plan, self._backend.embed(batches), strict=True):
            yield indices, self._checked(pooled, rows[indices], prepared, normalize)

    def padding_share(self, prepared: PreparedTexts, /) -> float:
        """Share of padding among the tokens that `embed_prepared` computes, 0 to 1."""
        return padding_share(prepared.batch.lengths, self._limits())

    def token_embeddings(self, text: str, /, *, prompt: str | Prompt) -> TokenEmbeddings:
        """The vectors of a text's tokens and their positions in it, with `prompt` in front."""
        if not self.has_token_embeddings:
            raise BackendError(f"The {self._backend.name} backend gives no token vectors. Take backend='torch'.")
        chosen = self.resolve_prompt(prompt=prompt)
        [text] = as_texts([text])
        tokens = self._tokenizer.offsets(replace_surrogates(text), prompt=chosen.text, max_tokens=self._max_tokens)
        [vectors] = self._backend.token_embeddings([TokenBatch(tokens.ids, np.array([len(tokens.ids)], np.int32))])
        if not np.isfinite(vectors).all():
            raise NonFiniteError("The backend returned NaN or infinity for this text.", [0])
        n_prompt = len(chosen.text)
        offsets = np.where(tokens.special[:, None], 0, tokens.offsets - n_prompt).astype(np.int32)
        in_prompt = ~tokens.special & (tokens.offsets[:, 1] <= n_prompt)
        return TokenEmbeddings(tokens.tokens, offsets, in_prompt, tokens.special, tokens.unknown, vectors)

    def count_tokens(self, texts: Iterable[str], /) -> IntArray:
        """Tokens of each text, however long, without prompt and special tokens, (n,) int32."""
        return self._tokenizer.count([replace_surrogates(text) for text in checked_types(texts)])

    def token_spans(self, text: str, /) -> IntArray:
        """First and one-past-last character of each token that `count_tokens` counts, (n, 2) int32."""
        [text] = checked_types([text])
        return self._tokenizer.spans(replace_surrogates(text))

    def token_offsets(self, text: str, /, *, prompt: str | Prompt, max_tokens: int | None = None) -> TokenOffsets:
        """The tokens that the model reads of a text with `prompt` in front, or of `max_tokens` in place of its own."""
        chosen = self.resolve_prompt(prompt=prompt)
        [text] = checked_types([text])
        return self._tokenizer.offsets(
            replace_surrogates(text), prompt=chosen.text, max_tokens=max_tokens or self._max_tokens
        )

    def decode(self, ids: Sequence[int], /, *, skip_special: bool = True) -> str:
        """The text of token ids, as the published tokenizer writes it."""
        return self._tokenizer.decode(ids, skip_special=skip_special)

    def spell(self, ids: Sequence[int], /) -> str | None:
        """The text whose token ids these are, with or without the special tokens around it; None if there is none."""
        return self._tokenizer.spell(ids)

    def max_text_tokens(self, prompt_name: str = "document", *, prompt: str | Prompt | None = None) -> int:
        """Tokens left for a text beside the special tokens and the prompt of that name, or another `prompt`."""
        chosen = self.resolve_prompt(prompt_name if prompt is None else None, prompt=prompt)
        return self._max_tokens - self._tokenizer.n_special - self._tokenizer.count_prompt(chosen.text)

    def save_pretrained(self, folder: str | Path, /) -> Path:
        """Write the model's files into a new folder, as transformers and sentence-transformers load them.

        Weights of 4 bits are written in float32, which holds them exactly.

        Raises:
            OutputError: The folder holds something.
        """
        save_folder(self.files.folder, Path(folder))
        return Path(folder)

    def close(self) -> None:
        """Free the weights, also for encoders made by `with_options`."""
        stop_sharing(self._loaded)
        self._backend.close()

    def __copy__(self) -> E5Encoder:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __deepcopy__(self, memo: object) -> E5Encoder:
        return copy.copy(self)  # nothing in it changes

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs to make the encoder again: its options, not its weights."""
        options, commit = self._loaded.options, self.files.revision
        revision = options.revision if commit.startswith("sha256:") or commit == self.meta.revision else commit
        model_options = replace(options, model=self.meta, prompt_kind=None, revision=revision)
        encode_options = EncodeOptions(
            max_tokens=self._max_tokens,
            truncate_dim=self._embed_dim,
            token_budget=self._token_budget,
            show_progress=self._show_progress,
        )
        return _make_again, (model_options, encode_options, self.spec)

    def __enter__(self) -> E5Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        spec = self.spec
        return f"E5Encoder({spec.model!r}, backend={spec.backend!r}, device={self.device!r}, dtype={spec.dtype!r})"

    def _adopt(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self.meta, self.files = loaded.meta, loaded.files
        self._tokenizer, self._backend = loaded.tokenizer, loaded.backend
        self.device = self._backend.device
        self._max_tokens, self._embed_dim = self.meta.max_tokens, self.meta.embed_dim
        self._token_budget: int | None = None
        self._show_progress: bool | None = None

    def _set_options(self, options: EncodeOptions) -> None:
        max_tokens, truncate_dim, token_budget = options.max_tokens, options.truncate_dim, options.token_budget
        _check_whole_numbers(max_tokens=max_tokens, truncate_dim=truncate_dim, token_budget=token_budget)
        if max_tokens is not None:
            if max_tokens <= self._tokenizer.n_special:
                raise ValueError(f"max_tokens={max_tokens} leaves no room for a text beside the special tokens.")
            checkpoint.check_max_tokens(self.files.folder, max_tokens)
            self._max_tokens = max_tokens
        if truncate_dim is not None:
            if not 1 <= truncate_dim <= self.meta.embed_dim:
                raise ValueError(f"truncate_dim={truncate_dim}; this model's vectors have 1 to {self.meta.embed_dim}.")
            self._embed_dim = truncate_dim
        if token_budget is not None:
            if token_budget < 1:
                raise ValueError(f"token_budget={token_budget}; it must be at least 1.")
            self._token_budget = token_budget
        if options.show_progress is not None:
            self._show_progress = options.show_progress

    def _encode(
        self, texts: str | Iterable[str], prompt: Prompt, normalize: bool, on_progress: Progress | None
    ) -> FloatArray:
        is_single = isinstance(texts, str)
        prepared = self._prepare(as_texts([texts] if isinstance(texts, str) else texts), prompt)
        warn(prepared.report, stacklevel=3)
        vectors = self.embed_prepared(prepared, normalize=normalize, on_progress=on_progress)
        return vectors[0] if is_single else vectors

    def _encode_blocks(self, stream: Iterator[str], prompt: Prompt, block_size: int) -> Iterator[FloatArray]:
        first = 0
        warned: set[NoteKind] = set()
        while block := list(itertools.islice(stream, block_size)):
            try:
                prepared = self._prepare(as_texts(block), prompt)
                warn(prepared.report, stacklevel=2, warned=warned)
                yield self.embed_prepared(prepared)
            except (TextError, NonFiniteError) as error:
                message = f"In the block that begins at text {first}: {error}"
                raise type(error)(message, [first + index for index in error.indices]) from error
            first += len(block)

    def _prepare(self, texts: list[str], prompt: Prompt, *, allow_empty: bool = False) -> PreparedTexts:
        self.check_prompt_fits(prompt)
        clean = [replace_surrogates(text) for text in texts]
        row_of = {text: row for row, text in enumerate(dict.fromkeys(clean))}
        rows = np.fromiter((row_of[text] for text in clean), np.intp, len(clean))
        tokenized = self._tokenizer.encode(list(row_of), prompt=prompt.text, max_tokens=self._max_tokens)
        n_tokens, n_dropped = tokenized.batch.lengths[rows], tokenized.n_dropped[rows]
        exact = tokenized.n_dropped_exact[rows]
        report = EncodeReport(
            model=self.meta.name,
            prompt=prompt,
            backend=self._backend.name,
            device=self.device,
            dtype=self._backend.dtype,
            n_texts=len(clean),
            n_tokens=n_tokens,
            truncated=tuple(
                Truncation(int(index), int(n_tokens[index]), int(n_dropped[index]), bool(exact[index]))
                for index in np.flatnonzero(n_dropped)
            ),
            unknown_share=tokenized.unknown_share[rows],
            n_dropped_characters=tokenized.n_dropped_characters[rows],
            empty=tuple(np.flatnonzero(tokenized.is_empty[rows]).tolist()),
            replaced_surrogates=tuple(
                index for index, (old, new) in enumerate(zip(texts, clean, strict=True)) if old is not new
            ),
            reads_end_spaces=self.reads_end_spaces,
            already_prompted=tuple(already_prompted(clean, self.meta.prompt_kind)) if prompt.text else (),
        )
        if report.empty and not allow_empty:
            raise nothing_read(report, clean)
        return PreparedTexts(tokenized.batch, rows, report)

    def _limits(self) -> Limits:
        limits = self._backend.limits
        return limits if self._token_budget is None else replace(limits, token_budget=self._token_budget)

    @np.errstate(all="ignore")  # what is not finite is looked for here, whatever the program has numpy do with it
    def _checked(
        self, pooled: FloatArray, rows: NDArray[np.intp], prepared: PreparedTexts, normalize: bool
    ) -> FloatArray:
        """The rows that a backend returned, cut and normalised, if every one of them may be used."""
        expected = (len(rows), self.meta.embed_dim)
        if pooled.shape != expected:
            raise BackendError(
                f"The {self._backend.name} backend returned vectors of shape {pooled.shape} in place of "
                f"{expected}. The files are not those of this model, or the backend is faulty."
            )
        pooled = pooled[:, : self._embed_dim]
        norms = np.linalg.norm(pooled, axis=1, keepdims=True)
        good = np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)
        if not good.all():
            indices = np.flatnonzero(np.isin(prepared.rows, rows[~good])).tolist()
            raise NonFiniteError(
                f"The {self._backend.name} backend returned NaN, infinity or zero for the texts at {indices[:10]} "
                f"(computing in {self._backend.dtype}). No vectors were returned. Take dtype='float32', or leave "
                "these texts out.",
                indices,
            )
        return pooled / norms if normalize else pooled


def _make_again(model_options: ModelOptions, encode_options: EncodeOptions, spec: EncoderSpec) -> E5Encoder:
    """The encoder that was pickled; those of one model share its weights in this process, too."""
    encoder = E5Encoder.from_loaded(load_shared(model_options), encode_options)
    if encoder.spec != spec:
        raise FingerprintMismatchError(
            f"The pickled encoder of {spec.model} had the fingerprint {spec.fingerprint}, and made again from the same "
            f"options it has {encoder.spec.fingerprint}: the model's files, or E5 Studio, are others here.",
            "Bring the same files here, or make a new encoder and embed everything anew.",
        )
    return encoder


def _check_whole_numbers(**options: object) -> None:
    for name, value in options.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError(f"{name}={value!r} is {type(value).__name__}; it must be a whole number.")
