"""The game of telling a model's posts from real ones: excerpts, rounds, and a classifier that plays too."""
