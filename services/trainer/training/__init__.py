"""The training process: one run, from its newest checkpoint to its last step. The only part that loads
TensorFlow.

__main__.py    `python -m services.trainer.training DATA RUN`: ties itself to its service, then process.py
process.py     the run from load to last step: what is done at which step
loop.py        one compiled step; optimizer.py, schedule.py, batches.py, average.py are its parts
evaluation.py  the held-out documents measured
writing.py     samples generated in training
recording.py   what is seen of all this: metrics, events, tensorboard.py's records, the console's lines
measuring.py   what a clock says: speed, share of the machine's matrix rate, time to go, memory
saving.py      checkpoints out and in
precision.py   float32 or bfloat16
inspect.py     `python -m services.trainer.training.inspect FOLDER`: is this a base model?
"""
