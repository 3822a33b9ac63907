"""The Python client library, and the `nonesuch` command on top of it.

    from services.client import Nonesuch

    with Nonesuch() as nonesuch:                         # addresses from the environment, or this machine's
        report = nonesuch.add_posts("~/blog/_posts")
        nonesuch.train("run1", base="nano", steps=600)
        for update in nonesuch.watch("run1"):
            if update.WhichOneof("update") == "metrics":
                print(update.metrics.step, update.metrics.loss)
        nonesuch.publish("run1")
        print(nonesuch.generate(temperature=0.8).samples[0].text)

Light: no NumPy, no TensorFlow. The command's own libraries (click, rich) are imported by `commands/` alone.
"""

from services.client.nonesuch import Nonesuch

__all__ = ["Nonesuch"]
