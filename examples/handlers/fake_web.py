# SPDX-License-Identifier: Apache-2.0
"""A web server that is a Python function, at a name that there is not: lsca run -s fake_web.py -- curl http://shop.test/"""

from lsca.services.network import Net, Stream

net = Net()


@net.answer("*.test:80")
def web(stream: Stream) -> None:
    with stream.makefile("rwb") as f:
        request = f.readline().decode()
        body = f"You asked for {request.split()[1]}.\n".encode()
        f.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
