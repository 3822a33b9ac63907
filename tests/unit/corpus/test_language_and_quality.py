"""What is recorded of a text: its language and how much it looks like prose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.corpus.cleaning.language import language
from services.corpus.cleaning.quality import quality

ENGLISH = (
    "It stood there all day at the edge of the water, and nobody who walked past asked it why. "
    "In the evening it left, as herons do, without saying where it was going."
)
CODE = "\n\n    let heron = Bird::new();\n    heron.stand(Duration::from_secs(3600))?;\n    return heron.leave();\n\n"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", ENGLISH),
        ("en", CODE + ENGLISH + CODE),
        (
            "de",
            "Er stand den ganzen Tag am Ufer, und niemand, der vorbeikam, fragte ihn warum. Am Abend ging er fort, "
            "wie Reiher es tun, ohne zu sagen, wohin.",
        ),
        (
            "fr",
            "Il est resté toute la journée au bord de l'eau, et personne ne lui a demandé pourquoi. Le soir venu, "
            "il est parti sans dire où il allait.",
        ),
        (
            "ja",
            "その鳥は一日中、水辺に立っていた。通りかかった人は誰も、その理由を聞かなかった。夕方になると、どこへ行くとも言わずに飛び去った。",
        ),
        (
            "ru",
            "Она простояла у воды весь день, и никто из прохожих не спросил её почему. "
            "Вечером она улетела, не сказав куда.",
        ),
        ("", "Too short to tell."),
        ("", ""),
        ("", "1 2 3 4 5 6 7 8 9 " * 20),
    ],
)
def test_the_language_is_told_where_there_is_enough_text(code: str, text: str):
    assert language(text) == code


def test_prose_scores_high_and_other_things_low_where_they_differ():
    prose, listing = quality(ENGLISH), quality(CODE)

    assert min(prose.values()) > 0.9
    assert listing["prose"] == 0 and listing["symbols"] < prose["symbols"]
    assert quality("Buy now!\n" * 50)["unrepeated"] < 0.1
    assert quality("12 34 56")["words"] == 0
    assert quality(" \n") == {}


@given(st.text(max_size=500))
def test_any_text_has_a_language_or_none_and_scores_from_0_to_1(text: str):
    assert language(text) == "" or len(language(text)) == 2
    assert all(0 <= score <= 1 for score in quality(text).values())
