"""Texts to try: the examples on the model cards, and larger ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from e5studio.models import ENGLISH, XLMR_LANGUAGES, ModelMeta
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.engine.prompt_modes import PromptMode


@dataclass(frozen=True)
class Example:
    """Content for the form.

    Attributes:
        title: What the button says.
        queries: One query each.
        passages: One passage each.
        prompt_mode: Replaced by the model's usual one where it does not know it.
        instruction: The task, for models that take one.
        hint: Where the texts come from, and what there is to see.
        needs: The kind of model without which the example shows little.
    """

    title: str
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    prompt_mode: PromptMode = "retrieval"
    instruction: str = WEB_SEARCH_INSTRUCTION
    hint: str = ""
    needs: Literal["", "multilingual", "instruct"] = ""

    def suits(self, meta: ModelMeta) -> bool:
        """Whether the model is of the kind that the example needs."""
        if self.needs == "instruct":
            return meta.prompt_kind == "instruct"
        return self.needs != "multilingual" or meta.languages != ENGLISH


_PROTEIN = (
    "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per day. "
    "But, as you can see from this chart, you'll need to increase that if you're expecting or training for a "
    "marathon. Check out the chart below to see how much protein you should be eating each day."
)
_SUMMIT = (
    "Definition of summit for English Language Learners. : 1  the highest point of a mountain : the top of a "
    "mountain. : 2  the highest level. : 3  a meeting or series of meetings between the leaders of two or more "
    "governments."
)
_PUMPKIN = (
    "1.清炒南瓜丝 原料:嫩南瓜半个 调料:葱、盐、白糖、鸡精 做法: 1、南瓜用刀薄薄的削去表面一层皮,用勺子刮去瓤 "
    "2、擦成细丝(没有擦菜板就用刀慢慢切成细丝) 3、锅烧热放油,入葱花煸出香味 4、入南瓜丝快速翻炒一分钟左右,"
    "放盐、一点白糖和鸡精调味出锅 2.香葱炒南瓜 原料:南瓜1只 调料:香葱、蒜末、橄榄油、盐 做法: 1、将南瓜去皮,"
    "切成片 2、油锅8成热后,将蒜末放入爆香 3、爆香后,将南瓜片放入,翻炒 4、在翻炒的同时,可以不时地往锅里加水,"
    "但不要太多 5、放入盐,炒匀 6、南瓜差不多软和绵了之后,就可以关火 7、撒入香葱,即可出锅"
)

_ANSWER = (
    "On Sundays and public holidays the museum closes at four in the afternoon, an hour earlier than on other days."
)
_GUIDE = (
    "Welcome to the harbour museum, which tells how people here have lived with the sea for nine hundred years. "
    "The house was built as a warehouse for grain and wool, burned down twice, and was rebuilt each time on the same "
    "oak piles. The ground floor shows ships: a fishing boat of 1840 that you may step into, the wheel of a paddle "
    "steamer, and models of every ferry that has crossed the bay. Beside them stands the workshop of a rope maker with "
    "all of his tools, where ropes are twisted by hand on the first Saturday of each month. Stairs on the left lead "
    "to the first floor, where the history of the port begins with a map drawn on calfskin. It shows the old mole, the "
    "customs house and the chain with which the harbour was locked at night. In the next room letters of sailors hang "
    "from the ceiling; pull one down to hear it read aloud. A glass case holds the log of a captain who sailed to "
    "Iceland eleven times and drew a bird on every page. The room at the end of the corridor is about storms: you can "
    "turn a handle to send waves against a sea wall, and see why the third wall held where two others had broken. "
    "The second floor belongs to the people who worked ashore. Women who gutted herring tell of winters so cold that "
    "the knives froze to their gloves. A clerk of the harbour master explains how tolls were counted with knotted "
    "strings, and a pilot shows the stars by which he brought ships home. Children find a kitchen in which everything "
    "may be touched, a chest of clothes to try on, and a bunk bed that rocks like one at sea. The attic is a place for "
    "changing exhibitions; at present it shows photographs of lighthouses by a postman who visited all of them on his "
    "bicycle. From its window you see the whole bay, and on a clear day the mountains behind it. The library beside "
    "the attic keeps charts, newspapers and the lists of passengers who left for America; its keeper helps visitors "
    "who look for their ancestors, but please write beforehand, because the oldest lists must be brought from the "
    "archive. The shop sells postcards, books, rope and honey from the hives on the roof. The tea room by the entrance "
    "serves soup, bread and cakes that are baked in the house, and has a terrace over the water. Dogs may come along "
    "on a lead, except to the tea room. There is a lift to all floors, a place for prams, and a telephone that speaks "
    "to hearing aids. Groups of ten and more pay half, as do students, and children under twelve go in free. Guided "
    "tours start at eleven and at two; they take an hour and cost nothing beyond the ticket. You may take photographs, "
    "but please without a flash, because the old dyes fade. Lockers for bags are at the entrance and give your coin "
    "back. "
)

EXAMPLES: tuple[Example, ...] = (
    Example(
        title="English",
        queries=("how much protein should a female eat", "summit define"),
        passages=(_PROTEIN, _SUMMIT),
        hint="The example from the English models' cards.",
    ),
    Example(
        title="Multilingual",
        queries=("how much protein should a female eat", "南瓜的家常做法"),
        passages=(_PROTEIN, _PUMPKIN),
        hint="The example from the multilingual models' cards: one question in English, one in Chinese.",
        needs="multilingual",
    ),
    Example(
        title="Instruct",
        queries=("how much protein should a female eat", "南瓜的家常做法"),
        passages=(_PROTEIN, _PUMPKIN),
        hint="The example from the card of multilingual-e5-large-instruct: a task goes in front of each query.",
        needs="instruct",
    ),
    Example(
        title="Eight questions",
        queries=(
            "why is the sky blue",
            "how do vaccines work",
            "who painted the Mona Lisa",
            "how long to boil an egg",
            "what causes tides",
            "how to reset a forgotten password",
            "when did the Berlin Wall fall",
            "what is compound interest",
        ),
        passages=(
            "Air scatters short wavelengths of sunlight far more than long ones, so blue reaches us from all over "
            "the sky.",
            "A harmless piece of a germ teaches the immune system to recognise it, so that antibodies are ready when "
            "the real infection comes.",
            "Leonardo da Vinci worked on the portrait of Lisa Gherardini from about 1503; it hangs in the Louvre.",
            "Lower it into simmering water: six minutes give a runny yolk, ten minutes a firm one.",
            "The pull of the moon raises the sea on the near and the far side of the Earth, and the planet turns "
            "beneath both bulges twice a day.",
            "Open the sign-in page, choose 'Can't access your account?' and follow the link that is sent to your "
            "e-mail address.",
            "On the night of 9 November 1989 the border crossings opened, and people began to take the concrete down "
            "with hammers.",
            "Interest is paid not only on the money first put in but also on the interest already earned, so savings "
            "grow faster each year.",
        ),
        hint="Eight questions and their answers.",
    ),
    Example(
        title="Similar sentences",
        queries=(
            "A man is playing a guitar on stage.",
            "Someone performs music on a string instrument.",
            "The stock market fell sharply on Monday.",
            "Shares lost a lot of value at the start of the week.",
            "A cat is asleep on the sofa.",
            "The kitten naps on the couch.",
            "He finished the marathon in under three hours.",
            "She ran 42 kilometres in 2:58.",
        ),
        passages=(),
        prompt_mode="symmetric",
        instruction="Retrieve semantically similar text",
        hint="Four pairs of sentences that mean nearly the same, all compared with each other.",
    ),
    Example(
        title="Too long",
        queries=("when does the museum close on Sundays", "where can children try on clothes"),
        passages=(_GUIDE + _ANSWER, _ANSWER, "Children find a chest of clothes to try on on the second floor."),
        hint="P1 answers Q1 in its last sentence, beyond what the model reads. P2 is that sentence alone.",
    ),
)


def first_example(languages: tuple[str, ...]) -> Example:
    """The example on the cards of the models that know these languages; the English one where none is known."""
    title = "Multilingual" if languages == XLMR_LANGUAGES else "English"
    return next(example for example in EXAMPLES if example.title == title)
