"""The training process: one run, from its newest checkpoint to its end. The only part that loads TensorFlow.

__main__.py    `python -m services.trainer.training DATA RUN`: ties itself to its service, then process.py
process.py     the run from load to end: what is done at which step
loading.py     what it begins with: newest sound checkpoint or base (start.py); state.py is what else it knows
batches.py     which rows a step sees; document_batches.py: one document a row; batch.py is what they make
loop.py        one compiled step; replicas.py several GPUs, loss_scale.py float16, average.py its mean loss
optimizer.py   clipping and decay; optimizers/ the rules; schedule.py the rate; freezing.py, lora.py what is trained
due.py         whether a step is validated, sampled, saved; ends.py why none follows
divergence.py  when a loss has jumped; going_back.py what follows bad numbers
evaluation.py  the held-out documents measured
sampler.py     samples on the way: writing.py generates them, originality.py compares them with the posts
recording.py   what is seen of a step, told in every place; measuring.py, tensorboard.py
keeping.py     checkpoints when they are due; saving.py writes them beside training; lora_base.py what LoRA's need
copy_memory.py memory for the copies that they are written from
console.py     what it prints, a full disk notwithstanding
precision.py   float32, bfloat16 or float16
probe.py       `python -m services.trainer.training.probe`: a few steps tried, for a plan
inspect.py     `python -m services.trainer.training.inspect FOLDER`: is this a base model?
"""
