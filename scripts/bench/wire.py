"""A client of the protocol that waits for each answer.

Source: PostgreSQL documentation, "Frontend/Backend Protocol".
"""

import socket
import struct


def connect(port, database="postgres", name="sampler"):
    """Logs in; `name` is its `application_name`."""
    client = socket.create_connection(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    parameters = f"user\0postgres\0database\0{database}\0application_name\0{name}\0\0".encode()
    body = struct.pack("!i", 196608) + parameters
    client.sendall(struct.pack("!i", len(body) + 4) + body)
    answer(client)
    return client


def rows(client, sql):
    """Runs a query and returns its rows, all columns as text."""
    query = sql.encode() + b"\0"
    client.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
    return [columns(body) for tag, body in answer(client) if tag == b"D"]


def table(client, sql):
    """The same, each row by the names of its columns."""
    query = sql.encode() + b"\0"
    client.sendall(b"Q" + struct.pack("!i", len(query) + 4) + query)
    messages = answer(client)
    names = next(names_of(body) for tag, body in messages if tag == b"T")
    return [dict(zip(names, columns(body))) for tag, body in messages if tag == b"D"]


def number(client, sql):
    """Runs a query that answers with one number."""
    return int(rows(client, sql)[0][0])


def answer(client):
    """The messages up to ReadyForQuery."""
    messages, inbox = [], b""
    while not messages or messages[-1][0] != b"Z":
        while len(inbox) < 5 or len(inbox) <= struct.unpack("!i", inbox[1:5])[0]:
            part = client.recv(65536)
            if not part:
                raise SystemExit(f"a connection was closed: {inbox!r}")
            inbox += part
        length = struct.unpack("!i", inbox[1:5])[0]
        tag, body = inbox[:1], inbox[5 : length + 1]
        if tag == b"E":
            raise SystemExit(f"an error: {body!r}")
        messages.append((tag, body))
        inbox = inbox[length + 1 :]
    return messages


def columns(body):
    """What a DataRow has."""
    count, at, found = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
        length = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        found.append(body[at : at + max(length, 0)].decode() if length >= 0 else None)
        at += max(length, 0)
    return found


def names_of(body):
    """The names in a RowDescription: 18 bytes follow each."""
    count, at, found = struct.unpack("!h", body[:2])[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        found.append(body[at:end].decode())
        at = end + 19
    return found
