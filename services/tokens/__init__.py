"""What both ends of a token file need: the vocabulary, the byte-pair codec and the dataset format.

Shared by the tokenizer, trainer and generator services. Knows neither grpc, protos nor settings.
"""
