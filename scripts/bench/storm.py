"""Many logins at once, each step of all of them together."""

import base64
import hashlib
import hmac
import socket
import ssl
import struct

PASSWORD = "correct horse battery staple"
USER = "storm"


class Login:
    """One client on its way in."""

    keys = {}

    def __init__(self, port, encrypted):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(60)
        self.received = b""
        self.encrypted = encrypted
        self.nonce = base64.b64encode(hashlib.sha256(str(id(self)).encode()).digest()[:18]).decode()

    def ask(self):
        if self.encrypted:
            self.socket.sendall(struct.pack("!ii", 8, 80877103))

    def hear_answer(self):
        if self.encrypted and self.socket.recv(1) != b"S":
            raise SystemExit("no TLS")

    def hello(self):
        if self.encrypted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing)
            self.shake()

    def shake(self):
        """Goes on with the handshake; true once it is done."""
        try:
            self.tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        self.push()
        return done

    def finish(self):
        if self.encrypted:
            while not self.shake():
                self.pull()

    def startup(self):
        body = struct.pack("!i", 196608) + f"user\0{USER}\0database\0postgres\0\0".encode()
        self.send(struct.pack("!i", len(body) + 4) + body)

    def first(self):
        """Answers the request for a password, if there is one."""
        kind, body = self.message()
        if kind != b"R":
            raise SystemExit(f"refused: {body}")
        self.asked = struct.unpack("!i", body[:4])[0] == 10
        if self.asked:
            self.bare = f"n=,r={self.nonce}"
            data = f"n,,{self.bare}".encode()
            self.reply(b"SCRAM-SHA-256\0" + struct.pack("!i", len(data)) + data)

    def last(self):
        if self.asked:
            _, body = self.message()
            first = body[4:].decode()
            fields = dict(field.split("=", 1) for field in first.split(","))
            final = f"c=biws,r={fields['r']}"
            client, stored = self.derive(fields["s"], int(fields["i"]))
            message = f"{self.bare},{first},{final}".encode()
            signature = hmac.digest(stored, message, "sha256")
            proof = base64.b64encode(bytes(a ^ b for a, b in zip(client, signature)))
            self.reply(f"{final},p={proof.decode()}".encode())

    def wait(self):
        """Waits until it may send queries."""
        while True:
            kind, body = self.message()
            if kind == b"E":
                raise SystemExit(f"refused: {body}")
            if kind == b"Z":
                return

    def derive(self, salt, iterations):
        if (salt, iterations) not in self.keys:
            salted = hashlib.pbkdf2_hmac(
                "sha256", PASSWORD.encode(), base64.b64decode(salt), iterations
            )
            client = hmac.digest(salted, b"Client Key", "sha256")
            self.keys[salt, iterations] = client, hashlib.sha256(client).digest()
        return self.keys[salt, iterations]

    def reply(self, body):
        self.send(b"p" + struct.pack("!i", len(body) + 4) + body)

    def send(self, data):
        if self.encrypted:
            self.tls.write(data)
            self.push()
        else:
            self.socket.sendall(data)

    def push(self):
        data = self.outgoing.read()
        if data:
            self.socket.sendall(data)

    def pull(self):
        data = self.socket.recv(65536)
        if not data:
            raise SystemExit("closed")
        self.incoming.write(data)

    def receive(self):
        if not self.encrypted:
            data = self.socket.recv(65536)
            if not data:
                raise SystemExit("closed")
            return data
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.pull()

    def message(self):
        while len(self.received) < 5 or len(self.received) < 1 + self.length():
            self.received += self.receive()
        end = 1 + self.length()
        kind, body, self.received = self.received[:1], self.received[5:end], self.received[end:]
        return kind, body

    def length(self):
        return struct.unpack("!i", self.received[1:5])[0]


STEPS = ("ask", "hear_answer", "hello", "finish", "startup", "first", "last", "wait")


def storm(port, count, encrypted):
    """Logs in so many clients, and returns them."""
    logins = [Login(port, encrypted) for _ in range(count)]
    for step in STEPS:
        for login in logins:
            getattr(login, step)()
    return logins
