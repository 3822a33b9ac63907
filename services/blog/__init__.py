"""What a blog's posts look like on disk: front matter, file names. Learned by the corpus service, written by the
generator and the client.

Light on purpose: the standard library alone.
"""
