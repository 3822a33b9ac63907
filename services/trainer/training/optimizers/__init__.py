"""The rules that change a weight, one a file. None knows of clipping, decay or schedules: see optimizer.py.

Each keeps its state in `moments` (variables by part and name, `m/model/wte`), takes from `numbers` what follows
from the step's number alone, and changes one weight and its moments in `update`, whose result is what a next update
may wait for. Weights and moments come as handles, which in mirrored training are those of the replica at hand.
`elementwise` says that no number of an array depends on another, so that XLA can make one loop of the update.
"""
