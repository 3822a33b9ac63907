"""Opening: archives and exports -> the posts in them, in a process of its own. Begin reading at opener.py."""
