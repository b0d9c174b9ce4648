"""Token ids in place of texts: refused, or read as ids of the model's own vocabulary, or as OpenAI's cl100k.

Clients made for OpenAI send cl100k ids by default (langchain-openai does), and a server that takes those for ids of
its model embeds nonsense without an error: to a multilingual model every one of them is valid. So nothing is guessed.
Ids of the model's own vocabulary must be those that its tokenizer gives for the text that they spell.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError, MissingDependencyError
from e5studio.server.request_errors import RequestError

MAX_TOKEN_ID = 2**31 - 1

TokenIdPolicy = Literal["refuse", "own", "cl100k"]


class TokenIdsError(E5StudioError):
    """The vocabulary of OpenAI's ids cannot be read."""


@dataclass(frozen=True)
class TokenIds:
    """What token ids mean to a server.

    Attributes:
        policy: Whose vocabulary they are of, if they are taken at all.
        cl100k: OpenAI's vocabulary, where that is the policy.
    """

    policy: TokenIdPolicy = "refuse"
    cl100k: Any = None

    @classmethod
    def load(cls, policy: TokenIdPolicy) -> TokenIds:
        """What a policy needs.

        Raises:
            MissingDependencyError: tiktoken is not installed.
            TokenIdsError: Its vocabulary is not on this machine and cannot be downloaded.
        """
        if policy != "cl100k":
            return cls(policy)
        try:
            tiktoken = importlib.import_module("tiktoken")
        except ImportError as error:
            raise MissingDependencyError(
                "--token-ids cl100k needs the package tiktoken.", "Install it with: pip install tiktoken"
            ) from error
        try:
            return cls(policy, tiktoken.get_encoding("cl100k_base"))
        except Exception as error:  # of whatever it downloads with
            raise TokenIdsError(
                f"The vocabulary of --token-ids cl100k is not on this machine and cannot be downloaded ({error}).",
                "Put it into the folder of TIKTOKEN_CACHE_DIR, or let clients send texts.",
            ) from error

    def check_taken(self, param: str) -> None:
        """Refuse token ids where they mean nothing.

        Raises:
            RequestError: They are refused here.
        """
        if self.policy == "refuse":
            raise RequestError(
                "invalid",
                f"`{param}` holds token ids, which this server does not take: most clients send those of OpenAI's "
                "cl100k vocabulary, which E5 models do not have. Send texts; in LangChain's OpenAIEmbeddings that is "
                "check_embedding_ctx_length=False. Or serve the model with e5studio serve --token-ids cl100k (or own).",
                param=param,
            )

    def texts(self, encoder: E5Encoder, lists: Sequence[Sequence[int]], param: str) -> list[str]:
        """The texts that ids spell.

        Args:
            encoder: Of the model.
            lists: Ids of each text.
            param: The field that holds them.

        Raises:
            RequestError: Ids spell no text.
        """
        spell = self._of_cl100k if self.policy == "cl100k" else encoder.spell
        texts = []
        for index, ids in enumerate(lists):
            text = spell(ids)
            if text is None:
                raise RequestError(
                    "invalid",
                    f"The token ids of text {index} are not those of a text in the vocabulary that this server takes "
                    f"them for (--token-ids {self.policy}). Send texts.",
                    param=f"{param}.{index}",
                )
            texts.append(text)
        return texts

    def _of_cl100k(self, ids: Sequence[int]) -> str | None:
        if not ids or max(ids) > self.cl100k.max_token_value:
            return None
        try:
            text: str = self.cl100k.decode(list(ids))
        except (KeyError, OverflowError):
            return None
        return text
