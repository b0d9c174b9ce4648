"""The prompts of training: by the same role rules as everywhere else, so that serving has them, too."""

from __future__ import annotations

from dataclasses import dataclass

from e5studio.errors import PromptError
from e5studio.models import PromptKind
from e5studio.prompts import Prompt, already_prompted, resolve_prompt
from e5studio.training.examples import TrainingSet


@dataclass(frozen=True)
class RolePrompts:
    """The text in front of each side of a pair.

    Attributes:
        kind: The prompts that the model was trained with.
        document: In front of positives and negatives.
        default_instruction: The task of queries that name none, for instruct models; the card's if None.
    """

    kind: PromptKind
    document: Prompt
    default_instruction: str | None = None

    @classmethod
    def of(cls, kind: PromptKind, *, is_symmetric: bool = False, instruction: str | None = None) -> RolePrompts:
        """The prompts of a kind of model.

        Args:
            kind: The prompts that the model was trained with.
            is_symmetric: Both sides are the same sort of text, such as paraphrases: the query's prompt on both.
            instruction: The task in one sentence, for instruct models.

        Raises:
            PromptError: An instruction for a model that takes none.
        """
        query = resolve_prompt(kind, prompt_name="query", instruction=instruction)
        document = query if is_symmetric else resolve_prompt(kind, prompt_name="document")
        return cls(kind, document, instruction)

    def check(self, training_set: TrainingSet) -> None:
        """Refuse texts that bring the prompts along: they would stand there twice.

        Raises:
            PromptError: With the first of them.
        """
        queries = [example.query for example in training_set.examples]
        for what, texts in (("queries", queries), ("documents", training_set.documents)):
            rows = already_prompted(texts, self.kind)
            if rows:
                raise PromptError(
                    f"{training_set.source}: {len(rows):,} of {len(texts):,} {what} begin with a prompt already, such "
                    f"as {texts[rows[0]][:40]!r}. The prompts are put in front here: take them out of the data."
                )

    def query(self, instruction: str | None = None) -> Prompt:
        """The prompt of a query, with its own instruction or the default one.

        Raises:
            PromptError: An instruction for a model that takes none.
        """
        return resolve_prompt(self.kind, prompt_name="query", instruction=instruction or self.default_instruction)
