"""GPT-2 on CPUs, the fast way: int8 weights, int8 paged cache, any tokens of any sequences in one call.

    convert.py      weights in OpenAI's names to an engine file
    apart.py        conversion in a process of its own, __main__.py
    verified.py     conversion with a look at what it costs
    stored.py       an engine file with its report in a folder
    own_text.py     text to compare on where no other is at hand: the model's own
    __main__.py     converts a folder, for callers that must stay without TensorFlow
    verify.py       how an engine file's predictions compare with the float32 model
    graph.py        the model, cut at its attentions, by LiteRT's schema
    quantise.py     numbers to int8
    engine_file.py  the file: what LiteRT opens, the embedding tables, a checksum
    model.py        the forward pass: chunks in, logits out
    forward.py      its layers, where the processor has instructions for products of bytes
    interpreted.py  its layers on LiteRT, everywhere else and for float32
    weights.py      int8 weights in the order in which they are read
    tiles.py        products of bytes: the weights' order, and tiles of rows and columns
    vectors.py      the same on vectors, where the processor has no tiles
    rows.py         layer normalisation, GELU, rounding to bytes
    attention.py    attention over the cache, compiled
    block.py        what it does with one block of one head
    heads.py        attention on several cores
    crew.py         threads that stay in compiled code
    thread_count.py how many of them a step gets
    cache.py        the paged cache's arrays
    numbers.py      operations on numbers that compiled code is made of

Shared by trainer (converts) and generator (serves). Knows neither grpc, protos nor settings. Serving imports no
TensorFlow; reading a checkpoint and verifying do, late.
"""
