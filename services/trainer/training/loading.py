"""What a training process begins with: the newest sound checkpoint of its run, or the base when there is none.

In: the run's folder and settings. Out: a state and a trainer. Does no step.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from services.common.errors import Corrupt, NonesuchError
from services.gpt2 import checkpoint as weights
from services.sampling.parameters import SamplingParameters
from services.tokens.codec import Codec
from services.tokens.corpus_index import CorpusIndex
from services.tokens.dataset import Dataset
from services.trainer.checkpoints import delete_after, newest_sound
from services.trainer.run_settings import RunSettings
from services.trainer.samples import wishes
from services.trainer.starting import check_index, has_index
from services.trainer.training import lora_base, precision, saving
from services.trainer.training.evaluation import Evaluator
from services.trainer.training.loop import Trainer
from services.trainer.training.start import first_step, start_params
from services.trainer.training.state import TrainingState, read_state
from services.trainer.training.writing import Request, Writer

MAX_LOGITS = 1 << 26  # of one validation pass: 256 MiB


def take_up(folder: Path, settings: RunSettings, note: Callable[[str], None]) -> tuple[TrainingState, Trainer]:
    """Load the newest sound checkpoint of a run, or its base when it has no checkpoint.

    Args:
        folder: the run's.
        note: told which checkpoints were passed over, and why.

    Raises:
        Corrupt: there are checkpoints and none is sound, or the base is damaged; names the file.
        FailedPrecondition: the base is not the one that the run began with.
    """
    config = weights.read_config(folder)
    checkpoint, damage = newest_sound(folder)
    if checkpoint is None and damage:
        raise damage[0]
    for error in damage:
        note(f"{error.message}; going back to step {checkpoint.step if checkpoint else 0}")
    if checkpoint is not None:
        print(f"Loading checkpoint {checkpoint.folder}", flush=True)
        state = read_state(checkpoint)
        _, params = weights.read_weights(checkpoint.folder)
        if settings.lora_rank:
            params |= lora_base.read(folder)  # the checkpoint's are merged
        delete_after(folder, state.step)  # damaged ones, whose steps are done again
        trainer = Trainer(params, config, settings, _dtype(state.precision), behind=state.behind)
        saving.restore_optimizer(checkpoint, trainer)
        return state, trainer
    params = start_params(folder, config, settings)
    if settings.lora_rank:
        lora_base.write(folder, config, params)
    dtype = precision.choose(settings.precision, config.num_parameters)
    behind = first_step(folder, settings)
    state = TrainingState(step=behind, behind=behind, precision=dtype.name)
    return state, Trainer(params, config, settings, dtype, behind=behind)


def make_evaluator(dataset: Dataset, settings: RunSettings, trainer: Trainer) -> Evaluator | None:
    """Return what validates the trainer's weights; None when the dataset holds no validation documents."""
    held_out = dataset.validation
    if not len(held_out):
        return None
    return Evaluator(
        held_out.all(),
        num_bytes=held_out.num_bytes,
        end_of_text_id=dataset.end_of_text_id,
        context=settings.context,
        batch_size=min(max(1, MAX_LOGITS // (settings.context * trainer.config.n_vocab)), 32),
        config=trainer.config,
        compute_dtype=trainer.compute_dtype,
    )


def open_index(dataset: Dataset, settings: RunSettings, note: Callable[[str], None]) -> CorpusIndex | None:
    """Return what samples are compared with; None where nothing is to be compared, or nothing can be.

    Args:
        note: told why nothing can be.

    Raises:
        FailedPrecondition: the run publishes by it, and the dataset has none. Corrupt: likewise, and it is damaged.
    """
    if not settings.sample_every:
        return None
    check_index(dataset, settings)
    if not has_index(dataset):
        note("the dataset has no index: nobody can tell what samples have from the posts word for word")
        return None
    try:
        return CorpusIndex.open(dataset.folder, dataset.end_of_text_id)
    except NonesuchError as error:
        if settings.publish == "on_best_original":
            raise
        note(f"samples are not compared with the posts: {error.message}")
        return None


def make_writer(codec: Codec, settings: RunSettings, trainer: Trainer) -> Writer:
    """Return what writes the run's samples with the trainer's weights."""
    requests = [
        Request(
            tuple(codec.encode(wish.prompt)),
            SamplingParameters(temperature=wish.temperature, top_k=settings.sample_top_k, top_p=settings.sample_top_p),
        )
        for wish in wishes(settings)
    ]
    return Writer(
        trainer.variables,
        trainer.config,
        trainer.compute_dtype,
        requests=requests,
        end_of_text_id=codec.vocabulary.end_of_text_id,
    )


def _dtype(name: str) -> tf.DType:
    if name not in ("float32", "bfloat16", "float16"):
        raise Corrupt(f"the checkpoint was written in an unknown precision, {name!r}")
    return tf.as_dtype(name)
