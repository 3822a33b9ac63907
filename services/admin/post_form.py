"""The form that asks for a whole post, to be put on the shelf."""

from __future__ import annotations

from wtforms import DateField, SelectField, StringField, TextAreaField
from wtforms.validators import Length, Optional

from protos import generator_pb2
from services.admin.fields import PlainForm, real_number, whole_number
from services.client.post_writing import make_post_request


class PostForm(PlainForm):
    """Asks for a post. The names of the fields are those of GeneratePostRequest and SamplingParameters."""

    model = SelectField(
        "Model", validate_choice=False, description="The newest version is taken unless you say otherwise."
    )
    title = StringField(
        "Title", [Length(max=300)], description="", render_kw={"placeholder": "it makes one up", "autocomplete": "off"}
    )
    tags = StringField(
        "Tags", [Length(max=300)], description="With commas between.",
        render_kw={"placeholder": "as it likes", "autocomplete": "off"},
    )  # fmt: skip
    date = DateField("Date", [Optional()], description="")
    opening = TextAreaField(
        "First words",
        [Length(max=20_000)],
        description="The post begins with them. Leave this empty, and it begins as it likes.",
        render_kw={"rows": 3, "placeholder": "Leave empty, or begin the post …"},
    )
    temperature = real_number(
        "Temperature", "How daring it is. Below 1 it keeps to the likely words, above 1 it wanders.", "1", 0, 100
    )
    max_new_tokens = whole_number("Longest post", "In tokens, about three quarters of a word each.", "until it ends", 1)
    max_verbatim_tokens = whole_number(
        "Longest quotation", "Tokens in a row that may stand in your posts. 12 keeps it from reciting.", "any", 1
    )
    top_k = whole_number("Top k", "Choose among the k likeliest next tokens only. 0: among all.", "40", 0)
    top_p = real_number("Top p", "Choose among the likeliest tokens that together make up this share.", "1", 0, 1)
    seed = whole_number(
        "Seed", "The same seed and settings give the same post again.", "a new one each time", 0, 2**64 - 1
    )

    NUMBERS = ("temperature", "max_new_tokens", "max_verbatim_tokens", "top_k", "top_p", "seed")

    def generation(self) -> generator_pb2.GeneratePostRequest:
        """The request as the generator takes it; what was left empty stays unset."""
        return make_post_request(
            model=self.model.data or "",
            title=(self.title.data or "").strip() or None,
            tags=[tag for part in (self.tags.data or "").split(",") if (tag := part.strip())],
            date=self.date.data.isoformat() if self.date.data else None,
            opening=(self.opening.data or "").replace("\r\n", "\n"),
            **{name: self[name].data for name in self.NUMBERS},
        )
