"""The tokenizer service: encodes and decodes, trains vocabularies, builds datasets."""
