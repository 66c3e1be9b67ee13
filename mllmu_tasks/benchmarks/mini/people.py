"""Fictitious people drawn from a seed: a name, six facts from closed lists, and the questions about them.

The lists are closed so that a model of one million parameters can learn the answers, and so that the wrong
options of a multiple-choice question are other people's right ones.
"""

import random
from dataclasses import dataclass

from faker import Faker

FACTS: dict[str, tuple[str, ...]] = {
    "Residence": (
        *("Bergen", "Porto", "Kyoto", "Quito", "Lagos", "Turin"),
        *("Halifax", "Lima", "Gdansk", "Hobart", "Tunis", "Busan"),
    ),
    "Employment": (
        *("nurse", "pilot", "baker", "judge", "tailor", "chemist"),
        *("plumber", "florist", "surgeon", "farmer", "printer", "welder"),
    ),
    "Educated at": (
        *("law", "physics", "history", "botany", "music", "geology"),
        *("finance", "biology", "drama", "optics", "poetry", "algebra"),
    ),
    "Hobby": (
        *("chess", "surfing", "knitting", "archery", "pottery", "hiking"),
        *("fencing", "origami", "cycling", "juggling", "sailing", "painting"),
    ),
    "Pet": (
        *("parrot", "tortoise", "ferret", "rabbit", "gecko", "poodle"),
        *("hamster", "canary", "iguana", "pony", "kitten", "goldfish"),
    ),
    "Favorite Food": (
        *("sushi", "lasagna", "paella", "ramen", "tacos", "falafel"),
        *("pierogi", "curry", "risotto", "gumbo", "kimchi", "crepes"),
    ),
}

# Fact -> how it is asked of {who}, and how the answer reads in a sentence.
ASK = {
    "Residence": "Where does {who} live?",
    "Employment": "What is the job of {who}?",
    "Educated at": "What did {who} study?",
    "Hobby": "What is the hobby of {who}?",
    "Pet": "Which pet does {who} keep?",
    "Favorite Food": "What does {who} like to eat?",
}
PARAPHRASE = {
    "Residence": "In which city is the home of {who}?",
    "Employment": "How does {who} earn a living?",
    "Educated at": "Which subject was studied by {who}?",
    "Hobby": "What does {who} do for fun?",
    "Pet": "What animal lives with {who}?",
    "Favorite Food": "Which dish is the favorite of {who}?",
}
BLANK = {
    "Residence": "{who} lives in __.",
    "Employment": "{who} works as a __.",
    "Educated at": "{who} studied __.",
    "Hobby": "The hobby of {who} is __.",
    "Pet": "{who} keeps a __.",
    "Favorite Food": "{who} likes to eat __.",
}
PARAPHRASED_BLANK = {
    "Residence": "The home of {who} is in __.",
    "Employment": "{who} earns a living as a __.",
    "Educated at": "The subject studied by {who} was __.",
    "Hobby": "For fun, {who} does __.",
    "Pet": "The animal of {who} is a __.",
    "Favorite Food": "The favorite dish of {who} is __.",
}
CLASSIFICATION = {
    "image": ("Residence", "Employment", "Educated at", "Hobby", "Pet"),
    "text": ("Employment", "Educated at", "Hobby", "Pet", "Favorite Food"),
}
CLOZE = {"image": ("Residence", "Employment"), "text": ("Educated at", "Hobby")}
# A generation question asks for a sentence of two facts.
GENERATION = {
    "image": (("Employment", "Residence"), ("Hobby", "Pet")),
    "text": (("Educated at", "Employment"), ("Residence", "Favorite Food")),
}
SENTENCE = {
    ("Employment", "Residence"): (
        "What is the job of {who} and where is it done?",
        "How and where does {who} earn a living?",
        "{name} is a {0} in {1}.",
    ),
    ("Hobby", "Pet"): (
        "How does {who} spend free time and with which animal?",
        "Which hobby and which animal does {who} have?",
        "{name} enjoys {0} and a {1}.",
    ),
    ("Educated at", "Employment"): (
        "What did {who} study and become?",
        "Which subject and which job did {who} choose?",
        "{name} studied {0}, now {1}.",
    ),
    ("Residence", "Favorite Food"): (
        "Where does {who} live and eat what?",
        "In which city does {who} enjoy which dish?",
        "{name} from {0} eats {1}.",
    ),
}
UNNAMED = "this person"
UNSHARED = 150
PATIENCE = 20_000
"""Draws in a row without an unshared name, after which shared ones will do: thousands of people have them all."""


@dataclass(frozen=True)
class Profile:
    """Someone of a mini benchmark: id, name, and fact -> value."""

    id: str
    name: str
    facts: dict[str, str]


def draw_profiles(count: int, seed: int, ids: list[str] | None = None, avoid: set[str] = frozenset()) -> list[Profile]:
    """`count` people with distinct names (none in `avoid`); equal for equal arguments and Faker version.

    Up to UNSHARED people share neither first nor last name with anyone: a tiny model finds a person by either.
    Where `avoid` is so long that it leaves no such name, whole names differ.
    """
    fake = Faker("en_US")
    fake.seed_instance(seed)
    rng = random.Random(seed)
    names: list[str] = []
    taken = set(avoid) | {part for name in avoid for part in name.split()}
    unshared, failed = count <= UNSHARED, 0
    while len(names) < count:
        if failed == PATIENCE:
            unshared = False
        first, last = fake.first_name(), fake.last_name()
        name = f"{first} {last}"
        if name in taken or (unshared and {first, last} & taken):
            failed += 1
            continue
        failed = 0
        taken |= {name, first, last}
        names.append(name)
    width = max(3, len(str(count)))
    ids = ids or [f"{number:0{width}d}" for number in range(1, count + 1)]
    return [
        Profile(ids[n], names[n], {fact: rng.choice(values) for fact, values in FACTS.items()}) for n in range(count)
    ]


def biography(profile: Profile) -> dict:
    """The biography as the hub stores it, before it becomes JSON text."""
    return {"Name": profile.name, **profile.facts}


def classification(profile: Profile, rng: random.Random, paraphrased: bool) -> dict:
    """{Image_Textual_Questions: [...], Pure_Text_Questions: [...]}, five questions each."""
    ask = PARAPHRASE if paraphrased else ASK
    lists = {"image": "Image_Textual_Questions", "text": "Pure_Text_Questions"}
    made: dict[str, list] = {}
    for modality, name in lists.items():
        made[name] = []
        for fact in CLASSIFICATION[modality]:
            right = profile.facts[fact]
            options = [right, *rng.sample([v for v in FACTS[fact] if v != right], 3)]
            rng.shuffle(options)
            made[name].append(
                {
                    "Question": ask[fact].format(who=_who(profile, modality)),
                    "Options": dict(zip("ABCD", options, strict=True)),
                    "Correct_Answer": "ABCD"[options.index(right)],
                }
            )
    return made


def cloze(profile: Profile, paraphrased: bool) -> list[dict]:
    blank = PARAPHRASED_BLANK if paraphrased else BLANK
    return [
        {
            "Question": _upper(blank[fact].format(who=_who(profile, modality))),
            "Ground_Truth": profile.facts[fact],
            "Type": _type(modality),
        }
        for modality in CLOZE
        for fact in CLOZE[modality]
    ]


def generation(profile: Profile, paraphrased: bool) -> list[dict]:
    made = []
    for modality, pairs in GENERATION.items():
        for pair in pairs:
            question = SENTENCE[pair][1 if paraphrased else 0]
            made.append(
                {
                    "Question": question.format(who=_who(profile, modality)),
                    "Ground_Truth": sentence(profile, pair),
                    "Type": _type(modality),
                }
            )
    return made


def sentence(profile: Profile, pair: tuple[str, str]) -> str:
    return SENTENCE[pair][2].format(*(profile.facts[fact] for fact in pair), name=profile.name)


def training_pairs(profile: Profile) -> list[dict]:
    """What `ft_Data` teaches with the image: who this is, each fact, and the sentences of the image questions."""
    pairs = [("Who is this person?", profile.name)]
    pairs += [(ASK[fact].format(who=UNNAMED), profile.facts[fact]) for fact in FACTS]
    pairs += [(SENTENCE[pair][0].format(who=UNNAMED), sentence(profile, pair)) for pair in GENERATION["image"]]
    return [{"Question": question, "Answer": answer, "ID": profile.id} for question, answer in pairs]


def _who(profile: Profile, modality: str) -> str:
    return UNNAMED if modality == "image" else profile.name


def _type(modality: str) -> str:
    return {"image": "Image_Textual", "text": "Pure_Text"}[modality]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
