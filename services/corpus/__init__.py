"""The corpus service: posts in, documents out."""
