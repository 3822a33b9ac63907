"""The two forms with many fields: training and writing. Labels and hints are for people who never trained a
model.

A field left empty is not sent, so that the service's own default holds; the placeholder shows or describes
it.
"""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import BooleanField, FloatField, IntegerField, SelectField, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange, Optional, Regexp

from protos import generator_pb2, trainer_pb2
from services.client.writing import make_request


def _whole(label: str, hint: str, placeholder: str, minimum: int, maximum: int | None = None) -> IntegerField:
    limits = [Optional(), NumberRange(min=minimum, max=maximum)]
    render = {"placeholder": placeholder, "min": minimum, "inputmode": "numeric", "step": 1}
    return IntegerField(
        label, limits, description=hint, render_kw=render | ({"max": maximum} if maximum else {})
    )


def _real(
    label: str, hint: str, placeholder: str, minimum: float, maximum: float | None = None
) -> FloatField:
    limits = [Optional(), NumberRange(min=minimum, max=maximum)]
    return FloatField(
        label, limits, description=hint, render_kw={"placeholder": placeholder, "inputmode": "decimal"}
    )


class TrainForm(FlaskForm):
    """Asks for a run. The names of the settings are those of RunSettings."""

    run = StringField(
        "Name of the run",
        [
            InputRequired("Give the run a name."),
            Length(max=100),
            Regexp(r"[A-Za-z0-9_][A-Za-z0-9._-]*$", message="Use letters, digits, dots, dashes; no spaces."),
        ],
        description="Whatever helps you recognise it. The model will have this name too.",
    )
    corpus = SelectField(
        "Posts to learn from", validate_choice=False, description="The corpus: a named set of posts."
    )
    base = StringField("Start from", [InputRequired("Choose what to start from.")])
    steps = _whole(
        "Steps",
        "How long to practise. More steps take longer and learn more, up to a point.",
        "automatic",
        1,
    )
    publish_at_end = BooleanField("Let it write as soon as training ends", default=True)

    batch_size = _whole(
        "Passages at once",
        "How many passages are read together. More is steadier, and needs more memory.",
        "automatic",
        1,
    )
    accumulation = _whole(
        "Rounds per step",
        "Reads several rounds before each change: as many passages at once would do, with less memory.",
        "1",
        1,
    )
    context = _whole(
        "Length of a passage",
        "In tokens: pieces of words, about three quarters of a word each.",
        "as long as the model sees",
        2,
    )
    learning_rate = _real(
        "Learning rate",
        "How boldly each step changes the model. Too high and it forgets; too low and it hardly learns.",
        "automatic",
        0,
    )
    warmup_steps = _whole(
        "Gentle start", "Steps over which the learning rate rises from zero.", "automatic", 0
    )
    schedule = SelectField(
        "Learning rate over time",
        choices=[
            ("", "automatic"),
            ("COSINE", "falls gently"),
            ("LINEAR", "falls evenly"),
            ("CONSTANT", "stays"),
        ],
        description="Small changes at the end let the model settle.",
    )
    floor = _real("Lowest learning rate", "As a share of the highest.", "0.1", 0, 1)
    weight_decay = _real(
        "Weight decay", "Keeps the model simple, so that it learns by heart less.", "automatic", 0
    )
    dropout = _real(
        "Dropout",
        "Hides a share of the model at random while it learns; also against learning by heart.",
        "automatic",
        0,
        0.99,
    )
    clip_norm = _real(
        "Largest change", "Limits how much one odd passage can upset the model. 0: no limit.", "1", 0
    )
    precision = SelectField(
        "Arithmetic",
        choices=[("", "automatic"), ("FLOAT32", "exact (32 bit)"), ("BFLOAT16", "fast (16 bit)")],
        description="Fast arithmetic helps where the processor has it.",
    )
    seed = _whole("Seed", "The same seed and settings give the same run.", "0", 0)
    save_every = _whole("Save every", "Steps between checkpoints. The last step is always saved.", "1000", 1)
    keep = _whole("Checkpoints kept", "Older ones are deleted.", "5", 1)
    validate_every = _whole(
        "Check every",
        "Steps between checks on posts that the model has not read. 0: at the end only.",
        "100",
        0,
    )
    sample_every = _whole("Sample every", "Steps between samples. 0: none.", "100", 0)
    sample_num = _whole("Samples each time", "How many texts to write.", "1", 1)
    sample_length = _whole("Length of a sample", "In tokens, at most.", "one passage", 1)

    LEARNING = (
        "batch_size", "accumulation", "context", "learning_rate", "warmup_steps", "schedule", "floor",
        "weight_decay", "dropout", "clip_norm", "precision", "seed",
    )  # fmt: skip
    WRITING_DOWN = ("save_every", "keep", "validate_every", "sample_every", "sample_num", "sample_length")
    ADVANCED = (("How it learns", LEARNING), ("What it writes down on the way", WRITING_DOWN))

    def settings(self) -> trainer_pb2.RunSettings:
        """The settings as the trainer takes them; what was left empty stays unset."""
        settings = trainer_pb2.RunSettings()
        for name in ("steps", *self.LEARNING, *self.WRITING_DOWN):
            value = self[name].data
            if isinstance(value, int | float):  # the two choices are words
                setattr(settings, name, value)
        if self.schedule.data:
            settings.schedule = getattr(trainer_pb2, f"SCHEDULE_{self.schedule.data}")
        if self.precision.data:
            settings.precision = getattr(trainer_pb2, f"PRECISION_{self.precision.data}")
        at_end = self.publish_at_end.data
        settings.publish = trainer_pb2.PUBLISH_RULE_AT_END if at_end else trainer_pb2.PUBLISH_RULE_NEVER
        return settings


class TryForm(FlaskForm):
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
    max_new_tokens = _whole(
        "Longest text", "In tokens, about three quarters of a word each.", "as long as it likes", 1
    )
    temperature = _real(
        "Temperature",
        "How daring it is. Below 1 it keeps to the likely words, above 1 it wanders.",
        "1",
        0,
        100,
    )
    seed = _whole(
        "Seed", "The same seed and settings give the same text again.", "a new one each time", 0, 2**64 - 1
    )
    top_k = _whole("Top k", "Choose among the k likeliest next tokens only. 0: among all.", "40", 0)
    top_p = _real("Top p", "Choose among the likeliest tokens that together make up this share.", "1", 0, 1)
    min_p = _real("Min p", "Leave out tokens less likely than this share of the likeliest.", "0", 0, 1)
    typical_p = _real(
        "Typical p", "Prefer tokens about as surprising as the model expects, up to this share.", "1", 0, 1
    )
    repetition_penalty = _real(
        "Repetition penalty", "Above 1, words already used become less likely.", "1", 0
    )
    presence_penalty = _real("Presence penalty", "Above 0, new words are preferred.", "0", -2, 2)
    frequency_penalty = _real(
        "Frequency penalty", "Above 0, words used often become less likely.", "0", -2, 2
    )
    no_repeat_ngram = _whole(
        "No repeated phrase", "Never write the same this many tokens twice. 0: allowed.", "0", 0
    )
    stop = StringField("Stop at", [Length(max=256)], description="End as soon as this is written.")
    ignore_end_of_text = BooleanField(
        "Go on when the post is over", description="It will begin the next post."
    )
    slide = BooleanField(
        "Write beyond what it can keep in view", description="It forgets the oldest half and goes on."
    )

    NUMBERS = (
        "max_new_tokens", "seed", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty",
        "presence_penalty", "frequency_penalty", "no_repeat_ngram",
    )  # fmt: skip
    ADVANCED = (
        "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
        "no_repeat_ngram", "stop", "ignore_end_of_text", "slide",
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


def complaints(form: FlaskForm) -> dict[str, str]:
    """The first complaint about each field by its name."""
    return {name: str(errors[0]) for name, errors in form.errors.items() if name is not None}
