"""A worker of a millpond `ProgramPool`, with nothing but Python's standard library.

The protocol is on one page: docs/protocol.md. Give `serve` a function from bytes to bytes; what it raises is the job's failure.
"""

import os
import signal
import socket
import struct
import threading
import traceback

WELCOME, JOB, CANCEL, STOP = 1, 2, 3, 4
HELLO, READY, ACK, BEAT, RESULT, FAILURE, PANIC, LOG, GOODBYE = range(129, 138)
HEADER = struct.Struct("<IBBHQ")


class Worker:
    def __init__(self):
        self.socket = socket.socket(fileno=int(os.environ["MILLPOND_FD"]))
        self.socket.set_inheritable(False)
        self.writing = threading.Lock()
        self.limit = 4096
        self.cancelled = threading.Event()
        self.job = 0
        self.jobs = []
        self.more = threading.Condition()

    def send(self, kind, job=0, body=b""):
        with self.writing:
            self.socket.sendall(HEADER.pack(len(body), kind, 0, 0, job) + body)

    def say(self, kind, job, body):
        """Sends what ends with a text, cut to what a frame may have."""
        self.send(kind, job, body[: self.limit])

    def receive(self):
        length, kind, flag, lost, job = HEADER.unpack(self.exactly(HEADER.size))
        if length > self.limit:
            raise SystemExit(f"a frame of {length} bytes")
        # Memory files were not agreed upon, and nothing but a job is delivered again.
        if flag or (lost and kind != JOB):
            raise SystemExit("a header that is not zero where it should be")
        return kind, job, self.exactly(length)

    def exactly(self, length):
        body = bytearray(length)
        view = memoryview(body)
        while view:
            got = self.socket.recv_into(view)
            if got == 0:
                # The parent is gone, and whatever was started here is to go with it.
                os.killpg(os.getpgrp(), signal.SIGKILL)
            view = view[got:]
        return bytes(body)

    def log(self, text, level=3, target="python"):
        name = target.encode()
        self.say(LOG, self.job, struct.pack("<BH", level, len(name)) + name + text.encode())

    def beat(self):
        """Says that the job makes progress."""
        self.send(BEAT, self.job)

    def greet(self):
        self.send(HELLO, 0, struct.pack("<4sHH", b"MPND", 1, 0) + b"python")
        kind, _, body = self.receive()
        if kind != WELCOME:
            raise SystemExit("no welcome")
        _, _, self.limit, _, _ = struct.unpack_from("<HBxIII", body)
        self.send(READY)

    def listen(self):
        """Reads while the job runs, so that a cancellation reaches it."""
        try:
            while True:
                self.hear()
        except BaseException:
            # Here an exception, SystemExit included, would end this thread alone, and the process would hear nothing any more.
            traceback.print_exc()
            os._exit(1)

    def hear(self):
        kind, job, body = self.receive()
        with self.more:
            if kind == CANCEL:
                if job == self.job:
                    self.cancelled.set()
            elif kind in (JOB, STOP):
                self.jobs.append((kind, job, body))
                self.more.notify()
            else:
                raise SystemExit(f"a frame of kind {kind}")

    def next(self):
        with self.more:
            self.more.wait_for(lambda: self.jobs)
            kind, job, body = self.jobs.pop(0)
            self.job = job
            self.cancelled.clear()
            return kind, job, body

    def serve(self, function):
        self.greet()
        threading.Thread(target=self.listen, daemon=True).start()
        while True:
            kind, job, body = self.next()
            if kind == STOP:
                self.send(GOODBYE)
                return
            self.send(ACK, job)
            (label,) = struct.unpack_from("<H", body)
            try:
                result = function(self, body[2 + label :])
                if len(result) > self.limit:
                    self.say(FAILURE, job, bytes([3]) + f"{len(result)} bytes".encode())
                else:
                    self.send(RESULT, job, result)
            except Exception as error:
                traceback.print_exc()
                self.say(FAILURE, job, bytes([0]) + f"{type(error).__name__}: {error}".encode())


def answer(worker, request):
    """What this worker does: words, one of which is what to do with the others."""
    verb, _, rest = request.partition(b" ")
    if verb == b"upper":
        return rest.upper()
    if verb == b"pid":
        return str(os.getpid()).encode()
    if verb == b"log":
        worker.log(rest.decode())
        return b"logged"
    if verb == b"wait":
        while not worker.cancelled.wait(0.005):
            worker.beat()
        return b"cancelled"
    if verb == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError(f"I do not know how to {verb.decode()}")


if __name__ == "__main__":
    Worker().serve(answer)
