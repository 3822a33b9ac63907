"""Cleaning: the bytes of one post -> its document. Pure; begin reading at documents.py."""
