"""Stands in for the service manager: prints each datagram that comes to a socket, its lines joined by a blank.

The socket is argv[1], with a leading @ for an abstract one; "listening" on stdout says that it is there.
"""

import socket
import sys
import time

name = sys.argv[1]
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind("\0" + name[1:] if name.startswith("@") else name)
print("listening", flush=True)
while True:
    words = manager.recv(65536).decode().split("\n")
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    print(f"{now} " + "|".join(words), flush=True)
