"""GPT-2 as pure functions over a dict of arrays that carry OpenAI's variable names.

    config.py         the five numbers that make a GPT-2, and every array's shape
    model.py          forward pass, loss, fresh weights
    layers.py         LN, GELU, the linear layer, with their gradients
    attention.py      causal attention in tiles, with its gradient
    cross_entropy.py  the output layer and its loss, with their gradient
    gradients.py      gradients by hand, loops compiled into one, blocks computed again
    cache.py          the same forward pass over a key-value cache: what generation runs
    checkpoint.py     OpenAI's folder layout in and out
    hugging_face*     Hugging Face's folder layout in: weights, config.json, vocabulary

Shared by trainer and generator. Knows neither grpc, protos nor settings.
"""
