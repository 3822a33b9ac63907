"""The gRPC server and channels that every service uses.

A handler raises the errors of errors.py; one interceptor turns them into statuses with google.rpc details,
for all four kinds of handler. Anything else that escapes is INTERNAL with the request's id, its traceback in
the log alone.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status

from services.common import logs
from services.common.errors import NonesuchError

log = logging.getLogger(__name__)

ERROR_DOMAIN = "nonesuch"
MAX_MESSAGE_BYTES = 16 << 20
REQUEST_ID_KEY = "x-request-id"
WORKER_THREADS = 64  # each open stream holds one
GRACE_S = 20.0  # compose waits longer than this before it kills

SERVER_OPTIONS = [
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a silent second owner
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A unary call may be silent for minutes: let clients ping an idle connection.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A peer that restarts is found again within a second or two.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]

# A status travels in headers, of which gRPC takes 8 KiB: a longer one would arrive as a broken stream. Each message
# is in there up to four times, once with three characters for each byte that is not ASCII.
MAX_MESSAGE_IN_STATUS_BYTES = 900
MAX_FACT_IN_STATUS_BYTES = 200

Observer = Callable[[str, str, float], None]


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of `host:port`; raise ValueError saying what was expected."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address: expected host:port, such as 127.0.0.1:50051")
    return host, int(port)


def status_of(error: NonesuchError) -> status_pb2.Status:
    """The rich status of an error of ours, as google.rpc.Status; what is too long for headers loses its middle."""
    message = _clipped(error.message, MAX_MESSAGE_IN_STATUS_BYTES)
    metadata = {name: _clipped(value, MAX_FACT_IN_STATUS_BYTES) for name, value in error.metadata.items()}
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=metadata)
    details: list[Any] = [info]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.status == "FAILED_PRECONDITION":
        unmet = error_details_pb2.PreconditionFailure.Violation(type=error.reason, description=message)
        details.append(error_details_pb2.PreconditionFailure(violations=[unmet]))
    status = status_pb2.Status(code=code_pb2.Code.Value(error.status), message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _clipped(text: str, most_bytes: int) -> str:
    """The text in so many UTF-8 bytes: its head, which says what is wrong, and its tail, which says what to do."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= most_bytes:
        return text
    half = (most_bytes - len(" … ".encode())) // 2
    return f"{encoded[:half].decode(errors='ignore')} … {encoded[-half:].decode(errors='ignore')}"


class _Interceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Wraps every handler: request id, errors to statuses, one observation per rpc."""

    def __init__(self, observe: Observer) -> None:
        self._observe = observe

    def intercept_service(self, continuation: Any, call: Any) -> Any:
        handler = continuation(call)
        if handler is None or call.method.startswith("/grpc."):
            return handler  # unknown method, or health and reflection, which need nothing of ours
        run, stream = self._wrap(call.method, handler)
        makers = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }
        return makers[handler.request_streaming, handler.response_streaming](
            stream if handler.response_streaming else run,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrap(self, method: str, handler: Any) -> tuple[Callable[..., Any], Callable[..., Iterator[Any]]]:
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

        def run(request: Any, context: grpc.ServicerContext) -> Any:
            begin(context)
            started = time.monotonic()
            try:
                return inner(request, context)
            except BaseException as error:  # noqa: BLE001 (nothing may escape unexplained)
                fail(method, error, context)
            finally:
                self._observe(method, _code_name(context), time.monotonic() - started)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            begin(context)
            started = time.monotonic()
            try:
                yield from inner(request, context)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 (nothing may escape unexplained)
                fail(method, error, context)
            finally:
                self._observe(method, _code_name(context), time.monotonic() - started)

        return run, stream


def begin(context: grpc.ServicerContext) -> None:
    """Take the caller's request id, or make one, and send it back."""
    given = dict(context.invocation_metadata()).get(REQUEST_ID_KEY, "")
    # An id goes into log lines: nothing but short plain text is taken from a caller.
    usable = isinstance(given, str) and given.isascii() and given.isprintable() and 0 < len(given) <= 64
    identifier = given if usable else uuid.uuid4().hex[:16]
    logs.request_id.set(identifier)
    context.set_trailing_metadata(((REQUEST_ID_KEY, identifier),))


def fail(method: str, error: BaseException, context: grpc.ServicerContext) -> None:
    """End the rpc with the status that `error` stands for."""
    identifier = logs.request_id.get()
    if isinstance(error, NonesuchError):
        status = status_of(error)
        log.info("%s: %s: %s", method, error.status, status.message)
        context.abort_with_status(_with_request_id(rpc_status.to_status(status), identifier))
    if isinstance(error, grpc.RpcError) and hasattr(error, "code"):
        # A peer failed: its status and words are the best explanation there is.
        log.warning("%s: a peer answered %s: %s", method, error.code(), error.details())
        context.abort(error.code(), error.details())
    if context.code() is not None or not context.is_active():
        raise error  # the handler ended the rpc itself, or nobody listens any more
    log.error("%s failed", method, exc_info=error)
    context.abort(
        grpc.StatusCode.INTERNAL,
        f"a bug in the service; its log says more under request id {identifier}",
    )


def _with_request_id(status: Any, identifier: str) -> Any:
    metadata = (*status.trailing_metadata, (REQUEST_ID_KEY, identifier))
    return status._replace(trailing_metadata=metadata)


def _code_name(context: grpc.ServicerContext) -> str:
    code = context.code()
    if code is None:
        return "OK" if context.is_active() else "CANCELLED"
    return getattr(code, "name", str(code))


class Server:
    """A started server: its port, its health, and how it stops."""

    def __init__(self, server: grpc.Server, port: int, checks: health.HealthServicer) -> None:
        self.port = port
        self._server = server
        self._health = checks

    def set_serving(self, name: str, *, serving: bool) -> None:
        """Set what the standard health service says of `name`; the empty name is the whole process."""
        states = health_pb2.HealthCheckResponse
        self._health.set(name, states.SERVING if serving else states.NOT_SERVING)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Refuse new calls, let running ones finish for `grace_s` seconds, then cancel them."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()


def start(
    listen: str,
    register: Callable[[grpc.Server], None],
    *,
    services: Sequence[str],
    observe: Observer = lambda method, code, seconds: None,
    worker_threads: int = WORKER_THREADS,
) -> Server:
    """Start a gRPC server with health, reflection and the error interceptor.

    Args:
        listen: `host:port`; port 0 takes any free one.
        register: adds the servicers, such as `lambda server: add_XServicer_to_server(x, server)`.
        services: full names of the services, for health and reflection.
        observe: told method, status and seconds of each finished rpc.
        worker_threads: rpcs that run at once; more wait for a thread.

    Raises:
        OSError: the address is taken or not ours; the message names it.
    """
    split_address(listen)
    server = grpc.server(
        ThreadPoolExecutor(max_workers=worker_threads, thread_name_prefix="rpc"),
        interceptors=[_Interceptor(observe)],
        options=SERVER_OPTIONS,
    )
    # Health has threads of its own: it answers while all others are busy with streams.
    checks = health.HealthServicer(
        experimental_non_blocking=True, experimental_thread_pool=ThreadPoolExecutor(max_workers=2)
    )
    _check_apart(checks)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    register(server)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise OSError(
            f"cannot listen on {listen}: the port is taken or the address is not this machine's; "
            "stop what uses it, or set another one"
        ) from error
    server.start()
    started = Server(server, port, checks)
    for name in ("", *services):
        started.set_serving(name, serving=True)
    return started


def _check_apart(checks: health.HealthServicer) -> None:
    """Let `Check` run on threads of its own; the pool that the library is given serves `Watch` alone."""

    def check(request: Any, context: grpc.ServicerContext) -> Any:
        return health.HealthServicer.Check(checks, request, context)

    # grpc takes a handler's threads from this attribute of the function.
    check.experimental_thread_pool = ThreadPoolExecutor(2, thread_name_prefix="health")  # type: ignore[attr-defined]
    checks.Check = check


def wait_for_signal() -> str:
    """Block until SIGTERM or SIGINT and return its name. Only the main thread may call this."""
    stopped = threading.Event()
    names: list[str] = []

    def note(number: int, frame: object) -> None:
        names.append(signal.Signals(number).name)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    stopped.wait()
    return names[0]


def announce(service: str, listen: str, port: int) -> None:
    """Print the one line that says where the service answers, for people and for the supervisor."""
    host, _ = split_address(listen)
    print(f"ready {service} {host}:{port}", flush=True)


class _RequestIdInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Passes the current request's id on to the next service."""

    def _send(self, continuation: Any, details: Any, request: Any) -> Any:
        identifier = logs.request_id.get()
        if identifier != "-":
            details = details._replace(metadata=[*(details.metadata or ()), (REQUEST_ID_KEY, identifier)])
        return continuation(details, request)

    intercept_unary_unary = _send
    intercept_unary_stream = _send
    intercept_stream_unary = _send
    intercept_stream_stream = _send


def channel(address: str) -> grpc.Channel:
    """A channel to `host:port` that reconnects, keeps alive and hands on request ids. Close it when done."""
    split_address(address)
    return grpc.intercept_channel(grpc.insecure_channel(address, options=CHANNEL_OPTIONS), _RequestIdInterceptor())
