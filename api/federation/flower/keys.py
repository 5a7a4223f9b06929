"""Make a federation's keys: a certificate authority, the server's certificate, and a key pair a site.

    python keys.py FOLDER HOSTS SITES      (comma-separated)

What exists already is kept. The authority's own key is not: a new server certificate needs a new authority, whose
certificate the sites are given anew.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

YEARS = 5


def main(folder: Path, hosts: list[str], sites: list[str]) -> None:
    """Write `authority.pem`, `server.pem`, `server.key`, and `SITE.key` and `SITE.pub` a site."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (folder / "server.key").exists():
        certificates(folder, hosts)
    for site in sites:
        if not (folder / f"{site}.key").exists():
            pair = ec.generate_private_key(ec.SECP384R1())
            private(folder / f"{site}.key", pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            public = pair.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            (folder / f"{site}.pub").write_bytes(public + b"\n")


def certificates(folder: Path, hosts: list[str]) -> None:
    """An authority for this server alone, and the server's certificate for the hosts and the loopback."""
    signer, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plant Twin federation authority")])
    authority = _certificate(issuer, issuer, signer.public_key())
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = {name: name in ("key_cert_sign", "crl_sign") for name in USAGES}
    authority = authority.add_extension(x509.KeyUsage(**usage), critical=True)
    authority = authority.add_extension(x509.SubjectKeyIdentifier.from_public_key(signer.public_key()), critical=False)
    signed = authority.sign(signer, hashes.SHA256())
    names = list(dict.fromkeys([*hosts, "localhost", "127.0.0.1"]))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    leaf = _certificate(subject, issuer, server.public_key())
    leaf = leaf.add_extension(x509.SubjectAlternativeName([_name(host) for host in names]), critical=False)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    leaf = leaf.add_extension(known, critical=False)
    (folder / "authority.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "server.pem").write_bytes(leaf.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))
    private(folder / "server.key", server.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    return made.not_valid_after(now + datetime.timedelta(days=365 * YEARS))


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def private(path: Path, content: bytes) -> None:
    """Write a file that nobody else may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3].split(","))
