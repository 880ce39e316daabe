"""Stands in for `ruko-container run`: no container, the command runs as it is, at a loopback address of its own.

Speaks the lines of ruko-core/src/container.rs on stdin and stdout; the dyno's stdin and stdout come as descriptors.
"""

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time


def say(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def receive(sock):
    fds = array.array("i")
    data, control, _, _ = sock.recvmsg(1 << 16, socket.CMSG_SPACE(2 * fds.itemsize))
    for level, kind, payload in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(payload)
    while b"\n" not in data:
        more = sock.recv(1 << 16)
        if not more:
            sys.exit(0)
        data += more
    line, rest = data.split(b"\n", 1)
    return json.loads(line), list(fds), rest


def main():
    sock = socket.socket(fileno=0)
    spec, fds, buffer = receive(sock)
    if os.environ.get("FULL") or os.path.exists(os.path.join(sys.argv[1], "full")):
        say(event="failed", message="all slots are taken", try_again=True)
        sys.exit(75)
    pid = os.getpid()
    address = "127.%d.%d.%d" % (20 + (pid >> 16) % 200, (pid >> 8) & 255, pid & 255 or 1)
    say(event="started", address=address)
    start = b""
    while not start.endswith(b"\n"):
        ready, _, _ = select.select([fds[0], sock], [], [])
        if sock in ready:
            sys.exit(0)
        byte = os.read(fds[0], 1)
        if not byte:
            sys.exit(0)
        start += byte
    start = json.loads(start)
    env = dict(start["env"], ADDRESS=address)
    child = subprocess.Popen(
        ["bash", "-c", start["command"]],
        env=env,
        stdin=fds[0] if start["stdin"] else subprocess.DEVNULL,
        stdout=fds[1],
        stderr=fds[1],
        start_new_session=True,
        cwd="/",
    )
    for fd in fds:
        os.close(fd)
    kill_at = None
    killed = False
    oom = 0
    while True:
        if child.poll() is not None:
            status = child.returncode
            say(event="ended", status=status if status >= 0 else 128 - status, killed=killed, out_of_memory=oom > 0)
            break
        if kill_at is not None and time.monotonic() >= kill_at and not killed:
            killed = True
            os.killpg(child.pid, signal.SIGKILL)
        ready, _, _ = select.select([sock], [], [], 0.01)
        if ready:
            data = sock.recv(1 << 16)
            if not data:
                break
            buffer += data
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            request = json.loads(line)
            if request["request"] == "stop":
                kill_at = time.monotonic() + request["seconds"]
                os.killpg(child.pid, signal.SIGTERM)
            elif request["request"] == "usage":
                say(event="usage", memory_bytes=1, oom_kills=oom)
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


main()
