"""Sends cancel requests with keys that nobody has: flood.py PORT RATE SECONDS; prints how many.

Each comes over a connection of its own that is closed at once, from addresses of
one network, so that there are ports enough.
"""

import random
import socket
import struct
import sys
import time

IP_BIND_ADDRESS_NO_PORT = 24


def main():
    port, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    start, sent = time.monotonic(), 0
    while (now := time.monotonic()) < start + seconds:
        due = int((now - start) * rate) - sent
        if due <= 0:
            time.sleep(0.001)
        for _ in range(min(due, 50)):
            send(port, f"127.0.9.{1 + sent % 250}")
            sent += 1
    print(sent)


def send(port, source):
    with socket.socket() as client:
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((source, 0))
        client.connect(("127.0.0.1", port))
        client.send(struct.pack("!4i", 16, 80877102, random.getrandbits(31), random.getrandbits(31)))


main()
