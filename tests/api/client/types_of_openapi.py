"""Writes `api/client/types.py`, the client's view of the OpenAPI document.

    python tests/api/client/types_of_openapi.py

A test fails where the file is not what this would write.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[3] / "api" / "client" / "types.py"
HEAD = '''"""What is sent and answered, as the OpenAPI document says.

Written by `python tests/api/client/types_of_openapi.py`; a test fails where it is not up to date. An answer may hold
more than its type names.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict
'''
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def module(document: dict[str, Any]) -> str:
    """The text of the module for an OpenAPI document."""
    schemas = document["components"]["schemas"]
    parts = [_typed_dict(name, schema) for name, schema in sorted(schemas.items()) if not name.startswith("Page_")]
    return "\n\n".join([HEAD, *parts]).replace("\n\n\n\n", "\n\n\n")


def python_type(schema: dict[str, Any]) -> str:
    """A JSON schema as a type of Python."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(python_type(part) for part in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum") or [schema["const"]]
        return f"Literal[{', '.join(chr(34) + v + chr(34) if isinstance(v, str) else repr(v) for v in values)}]"
    kind = schema.get("type")
    if kind == "array":
        return f"list[{python_type(schema.get('items', {}))}]"
    if kind == "object":
        values = schema.get("additionalProperties", True)
        return f"dict[str, {python_type(values) if isinstance(values, dict) else 'Any'}]"
    return PLAIN[kind] if kind else "Any"


def _typed_dict(name: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    return "\n".join(
        [
            f"class {name}(TypedDict):",
            f'    """{schema.get("description", schema["title"]).splitlines()[0]}"""',
            *_fields(schema.get("properties", {}), required),
            "",
        ]
    )


def _fields(properties: dict[str, Any], required: Any) -> Iterator[str]:
    if properties:
        yield ""
    for name, schema in properties.items():
        kind = python_type(schema)
        yield f"    {name}: {kind if name in required else f'NotRequired[{kind}]'}"


def document() -> dict[str, Any]:
    """The OpenAPI document of this version."""
    from api.main import create_app
    from api.settings import Settings

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder), admin_key="only-to-write-types", log_level="error"))
        found: dict[str, Any] = app.openapi()
        app.state.service.close()
    return found


if __name__ == "__main__":
    TARGET.write_text(module(document()))
