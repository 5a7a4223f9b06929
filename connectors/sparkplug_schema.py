"""The messages of Sparkplug B 3.0 (ISO/IEC 20237), as far as measured values need them.

The numbers are those of the specification's payload definition. The classes are made from this table when the module is
loaded, so that they fit every version of protobuf; fields that are not listed are skipped on reading, as protobuf does.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "plant_twin.sparkplug"
FIELDS = {  # message: (name, number, type, oneof)
    "PropertyValue": (
        ("type", 1, "uint32", ""),
        ("is_null", 2, "bool", ""),
        ("int_value", 3, "uint32", "value"),
        ("long_value", 4, "uint64", "value"),
        ("float_value", 5, "float", "value"),
        ("double_value", 6, "double", "value"),
        ("boolean_value", 7, "bool", "value"),
        ("string_value", 8, "string", "value"),
    ),
    "PropertySet": (("keys", 1, "string*", ""), ("values", 2, "PropertyValue*", "")),
    "Metric": (
        ("name", 1, "string", ""),
        ("alias", 2, "uint64", ""),
        ("timestamp", 3, "uint64", ""),
        ("datatype", 4, "uint32", ""),
        ("is_historical", 5, "bool", ""),
        ("is_transient", 6, "bool", ""),
        ("is_null", 7, "bool", ""),
        ("properties", 9, "PropertySet", ""),
        ("int_value", 10, "uint32", "value"),
        ("long_value", 11, "uint64", "value"),
        ("float_value", 12, "float", "value"),
        ("double_value", 13, "double", "value"),
        ("boolean_value", 14, "bool", "value"),
        ("string_value", 15, "string", "value"),
        ("bytes_value", 16, "bytes", "value"),
    ),
    "Payload": (
        ("timestamp", 1, "uint64", ""),
        ("metrics", 2, "Metric*", ""),
        ("seq", 3, "uint64", ""),
        ("uuid", 4, "string", ""),
        ("body", 5, "bytes", ""),
    ),
}


class DataType(IntEnum):
    """The types of metrics that hold numbers."""

    Int8 = 1
    Int16 = 2
    Int32 = 3
    Int64 = 4
    UInt8 = 5
    UInt16 = 6
    UInt32 = 7
    UInt64 = 8
    Float = 9
    Double = 10
    Boolean = 11


def _classes() -> dict[str, Any]:
    """The message classes by name."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="plant_twin/sparkplug.proto", package=PACKAGE, syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, kind, oneof in fields:
            plain = kind.rstrip("*")
            made = message.field.add(name=field, number=number)
            made.label = kinds.LABEL_REPEATED if kind.endswith("*") else kinds.LABEL_OPTIONAL
            if plain in FIELDS:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{plain}"
            else:
                made.type = getattr(kinds, f"TYPE_{plain.upper()}")
            if oneof:
                if not message.oneof_decl:
                    message.oneof_decl.add(name=oneof)
                made.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in FIELDS}


Payload: Any = _classes()["Payload"]
