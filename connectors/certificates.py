"""Certificates, judged before a connection fails over them."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any


def checked(path: str) -> str:
    """A file's name, when it is a certificate that is valid now; a validator of options.

    Raises:
        ValueError: it cannot be read, is no certificate, expired, or is not yet valid.
    """
    try:
        certificate = read(path)
    except ModuleNotFoundError:  # without the library that can read it, TLS tells
        return path
    now = dt.datetime.now(dt.UTC)
    if certificate.not_valid_after_utc < now:
        raise ValueError(f"the certificate {path} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if certificate.not_valid_before_utc > now:
        raise ValueError(f"the certificate {path} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d}")
    return path


def read(path: str) -> Any:
    """The (first) certificate of a PEM or DER file.

    Raises:
        ValueError: it cannot be read or is none.
    """
    from cryptography import x509

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    load = x509.load_pem_x509_certificate if b"-----BEGIN" in content else x509.load_der_x509_certificate
    try:
        return load(content)
    except ValueError:
        raise ValueError(f"{path} is no certificate") from None


def application_uri(path: str) -> str | None:
    """The URI that an OPC UA certificate is for; None where it names none."""
    from cryptography import x509

    try:
        names = read(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if uris else None


def context(ca: str) -> ssl.SSLContext:
    """TLS that trusts this file beside the system's certificates."""
    made = ssl.create_default_context()
    made.load_verify_locations(ca)
    return made
