"""The form that starts a run. Labels and hints are for people who never trained a model."""

from __future__ import annotations

from wtforms import BooleanField, SelectField, StringField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length, Regexp

from protos import trainer_pb2
from services.admin.fields import PlainForm, real_number, whole_number


class TrainForm(PlainForm):
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
    corpus = SelectField("Posts to learn from", validate_choice=False, description="The corpus: a named set of posts.")
    base = StringField("Start from", [InputRequired("Choose what to start from.")])
    steps = whole_number(
        "Steps",
        "How long to practise. More steps take longer and learn more, up to a point.",
        "automatic",
        1,
    )
    publish_at_end = BooleanField("Let it write as soon as training ends", default=True)

    batch_size = whole_number(
        "Passages at once",
        "How many passages are read together. More is steadier, and needs more memory.",
        "automatic",
        1,
    )
    accumulation = whole_number(
        "Rounds per step",
        "Reads several rounds before each change: as many passages at once would do, with less memory.",
        "1",
        1,
    )
    context = whole_number(
        "Length of a passage",
        "In tokens: pieces of words, about three quarters of a word each.",
        "as long as the model sees",
        2,
    )
    learning_rate = real_number(
        "Learning rate",
        "How boldly each step changes the model. Too high and it forgets; too low and it hardly learns.",
        "automatic",
        0,
    )
    warmup_steps = whole_number("Gentle start", "Steps over which the learning rate rises from zero.", "automatic", 0)
    schedule = SelectField(
        "Learning rate over time",
        choices=[
            SelectChoice("", "automatic"),
            SelectChoice("COSINE", "falls gently"),
            SelectChoice("LINEAR", "falls evenly"),
            SelectChoice("CONSTANT", "stays"),
        ],
        default="",
        description="Small changes at the end let the model settle.",
    )
    floor = real_number("Lowest learning rate", "As a share of the highest.", "0.1", 0, 1)
    weight_decay = real_number(
        "Weight decay", "Keeps the model simple, so that it learns by heart less.", "automatic", 0
    )
    dropout = real_number(
        "Dropout",
        "Hides a share of the model at random while it learns; also against learning by heart.",
        "automatic",
        0,
        0.99,
    )
    clip_norm = real_number(
        "Largest change", "Limits how much one odd passage can upset the model. 0: no limit.", "1", 0
    )
    precision = SelectField(
        "Arithmetic",
        choices=[
            SelectChoice("", "automatic"),
            SelectChoice("FLOAT32", "exact (32 bit)"),
            SelectChoice("BFLOAT16", "fast (16 bit)"),
        ],
        default="",
        description="Fast arithmetic helps where the processor has it.",
    )
    seed = whole_number("Seed", "The same seed and settings give the same run.", "0", 0, 2**63 - 1)
    save_every = whole_number("Save every", "Steps between checkpoints. The last step is always saved.", "1000", 1)
    keep = whole_number("Checkpoints kept", "Older ones are deleted.", "5", 1)
    validate_every = whole_number(
        "Check every",
        "Steps between checks on posts that the model has not read. 0: at the end only.",
        "100",
        0,
    )
    sample_every = whole_number("Sample every", "Steps between samples. 0: none.", "100", 0)
    sample_num = whole_number("Samples each time", "How many texts to write.", "1", 1)
    sample_length = whole_number("Length of a sample", "In tokens, at most.", "one passage", 1)

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
