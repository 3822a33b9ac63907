"""`python -m services.common.health HOST:PORT`: exit 0 if the service there is SERVING.

For an image's HEALTHCHECK and for scripts.
"""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 3.0


def is_serving(address: str, service: str = "", timeout_s: float = TIMEOUT_S) -> bool:
    """Ask the health service at `host:port` about `service`; False when it does not answer in time."""
    with grpc.insecure_channel(address) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout_s)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> int:
    """Check the address given on the command line."""
    if len(sys.argv) != 2:
        print("usage: python -m services.common.health HOST:PORT", file=sys.stderr)
        return 2
    return 0 if is_serving(sys.argv[1]) else 1


if __name__ == "__main__":
    sys.exit(main())
