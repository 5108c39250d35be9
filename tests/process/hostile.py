"""Workers that break the protocol, each in its own way."""

import os
import socket
import struct
import sys
import time

s = socket.socket(fileno=int(os.environ["MILLPOND_FD"]))
HEADER = struct.Struct("<IB3xQ")


def send(kind, job=0, body=b""):
    s.sendall(HEADER.pack(len(body), kind, job) + body)


def receive():
    global lost
    head = s.recv(16, socket.MSG_WAITALL)
    if len(head) < 16:
        sys.exit(0)
    (lost,) = struct.unpack_from("<H", head, 6)
    length, kind, job = HEADER.unpack(head)
    return kind, job, s.recv(length, socket.MSG_WAITALL) if length else b""


how = sys.argv[1]
lost = 0
send(129, 0, struct.pack("<4sHH", b"MPNX" if how == "stranger" else b"MPND", 9 if how == "version" else 1, 0))
receive()
if how == "eager":
    send(133, 1, b"before it was asked")
send(130)
if how == "idle":
    send(132, 7)
while True:
    kind, job, body = receive()
    if kind == 4:
        sys.exit(0)
    if kind == 3 and how == "reserved":
        send(131, job)
        send(133, job, b"after all")
    if kind != 2 or how == "reserved":
        continue
    if how == "garbage":
        s.sendall(os.urandom(5000))
    elif how == "gigabytes":
        s.sendall(HEADER.pack(0xFFFFFFFF, 133, job))
    elif how == "half":
        s.sendall(HEADER.pack(1000, 133, job) + b"x" * 500)
    elif how in ("silent", "half-large", "polite"):
        if how == "half-large":
            s.sendall(HEADER.pack(100 << 20, 133, job) + b"y" * (50 << 20))
        # The payload says where it is told that so much is done.
        (label,) = struct.unpack_from("<H", body)
        with open(body[2 + label :], "a") as marks:
            marks.write(f"{os.getpid()}\n")
        if how == "polite":
            told = receive()[0]
            send(133, job, b"told %d" % told)
            send(137)
            # The next frame, or the end of the stream.
            if s.recv(16):
                with open(body[2 + label :], "a") as marks:
                    marks.write(f"{os.getpid()}\n")
            sys.exit(0)
    elif how == "fragile":
        if lost == 2:
            send(133, job, b"at last")
        elif lost == 1:
            s.sendall(os.urandom(5000))
        else:
            os._exit(5)
    elif how == "other":
        send(133, job + 1, b"not yours")
    elif how == "parents":
        send(2, job, b"\0\0")
    elif how == "malformed":
        send(134, job, b"")
    elif how == "beats":
        beat = HEADER.pack(0, 132, job) * 1000
        end = time.time() + 0.5
        while time.time() < end:
            s.sendall(beat)
        send(133, job, b"after a flood")
    elif how == "logs":
        line = b"\3\0\0" + b"x" * 50
        for _ in range(20000):
            send(136, job, line)
        send(133, job, b"after a flood")
    elif how == "prints":
        for _ in range(20000):
            print("x" * 70)
        sys.stdout.flush()
        send(133, job, b"after a flood")
    elif how == "closes":
        s.shutdown(socket.SHUT_RDWR)
        time.sleep(1000)
    elif how == "twice":
        send(133, job, b"once")
        send(133, job, b"twice")
    time.sleep(0.2 if how in ("beats", "logs", "prints", "twice") else 1000)
