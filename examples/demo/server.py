# SPDX-License-Identifier: Apache-2.0
"""Python's own echo server, socketserver with a thread for each client or datagram: server.py tcp|udp|unix ADDRESS.

It knows nothing of LSCA; demo.py takes it and client.py for its second pair where socat is not installed.
"""

import socketserver
import sys


class Stream(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data)


class Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


class TCP(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64


class UDP(socketserver.ThreadingUDPServer):
    daemon_threads = True


class Unix(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def main() -> None:
    kind, where = sys.argv[1:]
    if kind == "unix":
        Unix(where, Stream).serve_forever()
        return
    host, _, port = where.rpartition(":")
    if kind == "udp":
        UDP((host, int(port)), Datagram).serve_forever()
    TCP((host, int(port)), Stream).serve_forever()


if __name__ == "__main__":
    main()
