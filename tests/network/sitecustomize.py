"""Refuse, and note down, every attempt to leave this machine or to install something.

A folder with this file, first in PYTHONPATH, does so for a process and all that it starts. Audit
hooks see all of Python's own sockets and processes, but no socket that native code opens by itself.
"""

import os
import sys

NOTES = os.environ["TEST_NETWORK_NOTES"]
RESOLVES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
CONNECTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
TOOLS = {"pip", "uv", "curl", "wget", "git", "ssh", "scp"}
LOCAL = {None, "", "localhost", "127.0.0.1", "::1", b"localhost"}


def _forbidden(event: str, args: "tuple[object, ...]") -> bool:
    if event in RESOLVES:
        return args[0] not in LOCAL
    if event in CONNECTS:
        address = args[-1]
        return isinstance(address, tuple) and address[0] not in LOCAL  # a str is a local file
    if event == "subprocess.Popen":
        command = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
        words = " ".join(map(os.fsdecode, command)).split()  # also of `sh -c "..."`
        return any(os.path.basename(word) in TOOLS for word in words)
    return False


def _watch(event: str, args: "tuple[object, ...]") -> None:
    if _forbidden(event, args):
        with open(NOTES, "a") as file:
            file.write(f"{event} {args!r} by {sys.argv}\n")
        refuse = FileNotFoundError if event == "subprocess.Popen" else ConnectionRefusedError
        raise refuse(f"{event} {args!r}: not in this test")


sys.addaudithook(_watch)
