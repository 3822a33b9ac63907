"""The wire contract: four `.proto` files, and the Python modules that `make protos` builds from them.

The generated modules are not checked in: they refuse to run under a protobuf or grpcio older than
their generator, so they are made with the pinned tools where they are used.
"""

from importlib.util import find_spec

if find_spec("protos.corpus_pb2") is None:
    raise ImportError("the gRPC stubs are not built yet: run `make protos` in the project's folder")
