"""The form that asks for a text. Labels and hints are for people who never heard of sampling."""

from __future__ import annotations

from wtforms import BooleanField, SelectField, StringField, TextAreaField
from wtforms.validators import Length

from protos import generator_pb2
from services.admin.fields import PlainForm, real_number, whole_number
from services.client.writing import make_request


class TryForm(PlainForm):
    """Asks for a text. The names of the sampling fields are those of SamplingParameters."""

    model = SelectField(
        "Model", validate_choice=False, description="The newest version is taken unless you say otherwise."
    )
    prompt = TextAreaField(
        "Beginning",
        [Length(max=100_000)],
        description="The model goes on from here. Leave it empty, and it begins a post of its own.",
        render_kw={"rows": 4, "placeholder": "Leave empty for a whole new post, or begin a sentence …"},
    )
    max_new_tokens = whole_number("Longest text", "In tokens, about three quarters of a word each.", "until it ends", 1)
    temperature = real_number(
        "Temperature",
        "How daring it is. Below 1 it keeps to the likely words, above 1 it wanders.",
        "1",
        0,
        100,
    )
    seed = whole_number(
        "Seed", "The same seed and settings give the same text again.", "a new one each time", 0, 2**64 - 1
    )
    top_k = whole_number("Top k", "Choose among the k likeliest next tokens only. 0: among all.", "40", 0)
    top_p = real_number("Top p", "Choose among the likeliest tokens that together make up this share.", "1", 0, 1)
    min_p = real_number("Min p", "Leave out tokens less likely than this share of the likeliest.", "0", 0, 1)
    typical_p = real_number(
        "Typical p", "Prefer tokens about as surprising as the model expects, up to this share.", "1", 0, 1
    )
    repetition_penalty = real_number("Repetition penalty", "Above 1, words already used become less likely.", "1", 0)
    presence_penalty = real_number("Presence penalty", "Above 0, new words are preferred.", "0", -2, 2)
    frequency_penalty = real_number("Frequency penalty", "Above 0, words used often become less likely.", "0", -2, 2)
    no_repeat_ngram = whole_number(
        "No repeated phrase", "Never write the same this many tokens twice. 0: allowed.", "0", 0
    )
    max_verbatim_tokens = whole_number(
        "Longest quotation", "Tokens in a row that may stand in your posts. 12 keeps it from reciting.", "any", 1
    )
    stop = StringField("Stop at", [Length(max=256)], description="End as soon as this is written.")
    ignore_end_of_text = BooleanField("Go on when the post is over", description="It will begin the next post.")
    slide = BooleanField("Write beyond what it can keep in view", description="It forgets the oldest half and goes on.")

    NUMBERS = (
        "max_new_tokens", "seed", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty",
        "presence_penalty", "frequency_penalty", "no_repeat_ngram", "max_verbatim_tokens",
    )  # fmt: skip
    ADVANCED = (
        "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
        "no_repeat_ngram", "max_verbatim_tokens", "stop", "ignore_end_of_text", "slide",
    )  # fmt: skip

    def generation(self) -> generator_pb2.GenerateRequest:
        """The request as the generator takes it; what was left empty stays unset."""
        return make_request(
            (self.prompt.data or "").replace("\r\n", "\n"),
            model=self.model.data or "",
            stop=[self.stop.data] if self.stop.data else (),
            ignore_end_of_text=self.ignore_end_of_text.data,
            slide=self.slide.data,
            **{name: self[name].data for name in self.NUMBERS},
        )
