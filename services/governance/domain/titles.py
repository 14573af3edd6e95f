"""What a title may say: sentence case, so that a name or a number in it stands out and is refused."""

import re
import unicodedata
from typing import Annotated, Final

from pydantic import Field

from services.runtime.errors import define_refusal

_PLAIN: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$"
Title = Annotated[str, Field(min_length=3, max_length=120, pattern=_PLAIN)]
PolicyText = Annotated[str, Field(min_length=10, max_length=600, pattern=_PLAIN)]
"""What partners recommend or learned, in a few sentences; held to the rule of titles."""

TitleNamesSomebody: Final = define_refusal(
    __name__,
    "title_names_somebody",
    "Write it in sentence case, without names of people, mail addresses, links or long numbers.",
    422,
)
_CONTACT: Final = re.compile(r"@|://|www\.|(?:\d(?:[\s().+/:_*|·•\u2010-\u2015\u2212-]|,(?!\s)){0,3}){5}")
_YEAR: Final = re.compile(r"\b20\d\d\b")
_TURNS: Final = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Controls that turn the direction in which text is read; no script needs them to be written."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
_END: Final = re.compile(r"[.!?]\s+")
_HONORIFIC: Final = re.compile(r"\b(?:mr|mrs|ms|miss|dr|prof|sir|madam|mme|sra?|sheikh)\b\.?", re.IGNORECASE)


def check_title(title: str) -> None:
    """Refuse a title in which somebody could be recognised; raises TitleNamesSomebody.

    A word with a capital may begin a sentence, or be an acronym of at most six capitals.
    """
    turns = any(unicodedata.bidirectional(one) in _TURNS for one in title)  # read backwards it says another
    title = unicodedata.normalize("NFKC", title)  # else letters and digits in disguise pass
    title = "".join(one for one in title if unicodedata.category(one) != "Cf")  # nothing hides in a number
    sentences = [_WORD.findall(sentence) for sentence in _END.split(title)]
    is_named = any(not word[0].islower() and not _is_plain(word) for words in sentences for word in words[1:])
    if (
        turns
        or not any(sentences)
        or is_named
        or _CONTACT.search(_YEAR.sub("", title, count=2))
        or _HONORIFIC.search(title)
    ):
        raise TitleNamesSomebody


def _is_plain(word: str) -> bool:
    """Whether a word with a capital is an acronym, or of a script without capitals."""
    return (word.isupper() and 2 <= len(word) <= 6) or word.lower() == word.upper()
