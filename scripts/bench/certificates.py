"""Certificates for poolers that speak TLS."""

import os
import subprocess

KINDS = {
    "ECDSA P-256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "RSA-2048": ["rsa:2048"],
}

# What both choose with libpq and with Python.
AGREED = "TLSv1.3/TLS_AES_256_GCM_SHA384"


def settings(bench, kind):
    """Settings of a pooler that speaks TLS 1.3 by a certificate of this kind."""
    name = os.path.join(bench.folder, kind.replace(" ", "-"))
    certificate, key = f"{name}.pem", f"{name}.key"
    if not os.path.exists(key):
        command = ["openssl", "req", "-x509", "-newkey", *KINDS[kind], "-nodes", "-days", "30"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", key, "-out", certificate]
        subprocess.run(command, capture_output=True, check=True)
        for path in (certificate, key):
            bench.give(path)
    return {
        "client_tls_sslmode": "require",
        "client_tls_cert_file": certificate,
        "client_tls_key_file": key,
        "client_tls_protocols": "tlsv1.3",
    }
