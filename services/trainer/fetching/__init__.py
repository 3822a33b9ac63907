"""Fetching base models by name: from the Hugging Face hub, or from OpenAI's bucket.

    names.py      what can be asked for, and where it is
    sources.py    which addresses, in which order
    hub.py        the files of a repository of the hub, with their sizes and checksums
    bucket.py     the seven files of a model in OpenAI's bucket
    remote.py     one file somewhere, and how its copy is checked
    web.py        one request: redirects, statuses, what may be tried again
    download.py   one file to the disk, over any number of cuts
    space.py      whether the disk can hold what is coming
    work.py       a whole base: sources in turn, files, conversion, checks
    __main__.py   work.py as a process, which prints how far it is
    record.py     what is told of a fetch, and its file
    fetches.py    the queue of fetches in the service, which starts that process and watches it

Only the process loads TensorFlow, and only once all files are there.
"""
