"""CPython's side of the rows about process pools: `concurrent.futures.ProcessPoolExecutor`.

Reads a line "<work> <jobs>" at a time, runs so many jobs and prints the seconds that they took.
"""

import sys
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor

WORKERS = int(sys.argv[1])
OUTSTANDING = int(sys.argv[2])
LARGE = int(sys.argv[3])


def echo(value):
    return value


def small(pool, jobs):
    """One thread keeps so many jobs on their way, and waits for the oldest before it sends another."""
    sent = deque()
    for number in range(jobs):
        if len(sent) == OUTSTANDING:
            sent.popleft().result()
        sent.append(pool.submit(echo, number))
    while sent:
        sent.popleft().result()


def large(pool, jobs, block=bytes(LARGE)):
    """One at a time."""
    for _ in range(jobs):
        assert len(pool.submit(echo, block).result()) == LARGE


def main():
    with ProcessPoolExecutor(max_workers=WORKERS) as pool:
        for line in sys.stdin:
            work, jobs = line.split()
            begun = time.perf_counter()
            {"small": small, "large": large}[work](pool, int(jobs))
            print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    main()
