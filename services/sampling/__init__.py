"""The rules that choose the next token, as pure functions of one row of logits.

In: logits of the model, sampling parameters, the ids so far, a random number. Out: an id.
Knows no text, no model, no wire. NumPy and Numba only; shared by trainer and generator.
"""
