"""The page: posts, runs, samples, models and a place to try them, for a person with a browser.

In: HTTP requests of one signed-in person. Out: HTML, server-sent events, downloads. It holds no data of its
own but a login token and a session key; everything shown comes from the four services.
"""
