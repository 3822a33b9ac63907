"""A protobuf message as plain values that JSON can hold.

Unlike protobuf's own JSON: field names as in the protos, 64-bit numbers as numbers, enum values without their prefix
(`SUCCEEDED`), durations as seconds, timestamps as RFC 3339, bytes as text (U+FFFD for what is not UTF-8). Fields
whose absence has a meaning are left out when unset; all others are always there.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def plain(message: Message) -> dict[str, Any]:
    """Return a message's fields by name."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.is_repeated:
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                entry = field.message_type.fields_by_name["value"]
                values[field.name] = {str(key): _value(entry, value[key]) for key in sorted(value)}
            else:
                values[field.name] = [_value(field, item) for item in value]
        elif not field.has_presence or message.HasField(field.name):
            values[field.name] = _value(field, value)
    return values


def enum_name(message: Message, field: str) -> str:
    """Name of an enum field's value without the enum's prefix: `SUCCEEDED`."""
    return _enum_name(message.DESCRIPTOR.fields_by_name[field], getattr(message, field))


def _value(field: Any, value: Any) -> Any:
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if isinstance(value, Duration):
        return value.ToNanoseconds() / 1e9
    if isinstance(value, Message):
        return plain(value)
    if field.enum_type is not None:
        return _enum_name(field, value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float):
        if not math.isfinite(value):
            return None  # JSON has no infinity
        return _shortest(value) if field.type == FieldDescriptor.TYPE_FLOAT else value
    return value


def _enum_name(field: Any, number: int) -> str:
    enum = field.enum_type
    value = enum.values_by_number.get(number)
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper() + "_"
    return value.name.removeprefix(prefix) if value is not None else str(number)


def _shortest(value: float) -> float:
    """The shortest decimal that is the same 32-bit number: 0.7, not 0.699999988079071."""
    for digits in range(6, 9):
        candidate = float(f"{value:.{digits}g}")
        if struct.pack("f", candidate) == struct.pack("f", value):
            return candidate
    return value
