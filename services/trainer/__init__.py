"""The trainer: runs, their queue, the process that trains, and the models published from them.

The service (`python -m services.trainer`) keeps runs and starts one child process at a time
(`python -m services.trainer.training`). Only the child loads TensorFlow's model and writes a run's weights.
"""
