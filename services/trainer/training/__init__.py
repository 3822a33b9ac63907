"""The training process: one run, from its newest checkpoint to its end. The only part that loads TensorFlow.

__main__.py    `python -m services.trainer.training DATA RUN`: ties itself to its service, then process.py
process.py     the run from load to end: what is done at which step
loading.py     what it begins with: newest sound checkpoint or base (start.py); state.py is what else it knows
loop.py        one compiled step; its parts: optimizer.py, schedule.py, batches.py, average.py
due.py         whether a step is validated, sampled, saved; ends.py why none follows
divergence.py  when a loss has jumped; going_back.py what follows bad numbers
evaluation.py  the held-out documents measured
writing.py     samples generated in training
recording.py   what is seen of a step, told in every place; measuring.py, tensorboard.py
keeping.py     checkpoints when they are due; saving.py writes them beside training; lora_base.py
console.py     what it prints, a full disk notwithstanding
precision.py   float32, bfloat16 or float16
inspect.py     `python -m services.trainer.training.inspect FOLDER`: is this a base model?
"""
