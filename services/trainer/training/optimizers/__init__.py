"""The rules that change a weight, one a file. None knows of clipping, decay or schedules: see optimizer.py.

Each keeps its state in `moments` (variables by name), takes from `numbers` what follows from the step's number
alone, and changes one variable in `update`, whose result is what a next update may wait for. Changes go
through handles, which in mirrored training are those of the replica at hand.
"""
