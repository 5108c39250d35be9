"""Workers that break the protocol, each in its own way."""

import fcntl
import os
import signal
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


def memory(content, seals=14):
    """A file that is sealed against writing, growing and shrinking, unless it is to be less."""
    file = os.memfd_create("millpond:python-" + how, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(file, content)
    fcntl.fcntl(file, 1033, seals)
    return file


def send_memory(job, files, length, kind=133, flag=1, cut=None):
    """A frame whose payload is in the file that goes with it."""
    body = length if isinstance(length, bytes) else struct.pack("<Q", length)
    frame = struct.pack("<IBBHQ", len(body), kind, flag, 0, job) + body
    if files:
        socket.send_fds(s, [frame[:cut]], files)
    else:
        s.sendall(frame)


def misuse_memory(job):
    if how == "memory-unsealed":
        send_memory(job, [memory(b"x" * 10, 0)], 10)
    elif how == "memory-shrinks":
        file = memory(b"x" * 10, 12)
        send_memory(job, [file], 10)
        os.ftruncate(file, 0)
    elif how == "memory-writable":
        send_memory(job, [memory(b"x" * 10, 6)], 10)
    elif how == "memory-none":
        send_memory(job, [], 10)
    elif how == "memory-two":
        send_memory(job, [memory(b"x" * 10), memory(b"x" * 10)], 10)
    elif how == "memory-many":
        send_memory(job, [memory(b"x" * 10)] * 200, 10)
    elif how == "memory-wrong":
        send_memory(job, [memory(b"x" * 10)], 11)
    elif how == "memory-vast":
        send_memory(job, [memory(b"x" * 10)], 1 << 40)
    elif how == "memory-large":
        send_memory(job, [memory(b"x" * ((1 << 20) + 1))], (1 << 20) + 1)
    elif how == "memory-socket":
        send_memory(job, [s.fileno()], 10)
    elif how == "memory-stray":
        send_memory(job, [memory(b"x" * 10)], b"", kind=132, flag=0)
    elif how == "memory-beat":
        send_memory(job, [memory(b"x" * 10)], b"", kind=132)
    elif how == "memory-malformed":
        send_memory(job, [memory(b"x" * 10)], b"seven b")
    elif how == "memory-half":
        send_memory(job, [memory(b"x" * 10)], 10, cut=9)
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "memory-last":
        send_memory(job, [memory(b"last words")], 10)
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "unasked":
        send_memory(job, [memory(b"x" * 10)], b"as ever", flag=0)


def echo_memory():
    """Gives back what came, by memory as it came by memory."""
    head, files, _, _ = socket.recv_fds(s, 16, 4, socket.MSG_WAITALL)
    length, kind, flag, _, job = struct.unpack("<IBBHQ", head)
    if kind != 2:
        sys.exit(0)
    body = s.recv(length, socket.MSG_WAITALL)
    assert (flag, len(files), length) == (1, 1, 10), (flag, files, length)
    (said,) = struct.unpack_from("<Q", body, 2)
    with open(files[0], "rb") as file:
        file.seek(0)
        content = file.read()
    assert len(content) == said
    send_memory(job, [memory(content)], said)


how = sys.argv[1]
lost = 0
can = 1 if how.startswith("memory") else 2 if how == "vague" else 0
hello = struct.pack("<4sHBB", b"MPNX" if how == "stranger" else b"MPND", 9 if how == "version" else 1, can, 0)
send(129, 0, hello + b"w" * (4097 - len(hello) if how == "wordy" else 0))
receive()
if how == "chatty":
    send(136, 0, b"\3\0\0" + b"c" * 4094)
if how == "eager":
    send(133, 1, b"before it was asked")
send(130)
if how == "idle":
    send(132, 7)
while how == "memory-echo":
    echo_memory()
if how == "shy":
    # It ends of the first bytes of a job, whatever the rest.
    if s.recv(16, socket.MSG_WAITALL):
        with open(sys.argv[2], "a") as marks:
            marks.write(f"{os.getpid()}\n")
    os._exit(5)
while True:
    kind, job, body = receive()
    if kind == 4 and how == "floods":
        # It will neither leave nor be silent.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        lines = (HEADER.pack(3, 136, 0) + b"\5\0\0") * 50000
        while True:
            s.sendall(lines)
    if kind == 4:
        sys.exit(0)
    if kind == 3 and how == "reserved":
        send(131, job)
        send(133, job, b"after all")
    if kind != 2 or how == "reserved":
        continue
    if body.endswith(b"be good"):
        send(133, job, b"as you like")
        continue
    if body.endswith(b" be busy"):
        # Until the file is there that the payload names.
        (label,) = struct.unpack_from("<H", body)
        while not os.path.exists(body[2 + label : -8]):
            time.sleep(0.001)
        send(133, job, str(os.getpid()).encode())
        continue
    if how == "garbage":
        s.sendall(os.urandom(5000))
    elif how == "spins":
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        while True:
            pass
    elif how == "gigabytes":
        s.sendall(HEADER.pack(0xFFFFFFFF, 133, job))
    elif how == "bodied":
        send(132, job, b"and")
    elif how == "flagged":
        s.sendall(struct.pack("<IBBHQ", 0, 132, 0, 1, job))
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
    elif how == "unasked-flag":
        send_memory(job, [memory(b"x" * 10)], 10)
    elif can or how == "unasked":
        misuse_memory(job)
    elif how == "twice":
        send(133, job, b"once")
        send(133, job, b"twice")
    time.sleep(0.2 if how in ("beats", "logs", "prints", "twice") else 1000)
