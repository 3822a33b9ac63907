"""How the four services are, and how long a person waits for each kind of call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from services.client.connection import Connection
from services.common.health import is_serving

QUICK_S = 10.0  # a page
UPLOAD_S = 600.0  # thousands of posts are cleaned before the answer comes
PUBLISH_S = 600.0  # a large checkpoint is copied and verified
HEALTH_S = 1.5


def health_of(services: Connection) -> dict[str, bool]:
    """Ask all services at once whether they serve; the answers by name, in the order a post meets them."""
    asked = services.services
    with ThreadPoolExecutor(max_workers=len(asked)) as pool:
        answers = list(pool.map(lambda service: is_serving(service.address, timeout_s=HEALTH_S), asked))
    return {service.name: answer for service, answer in zip(asked, answers, strict=True)}
