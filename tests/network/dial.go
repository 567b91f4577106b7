// SPDX-License-Identifier: Apache-2.0

// A static Go client: resolves a name by itself, connects, says whom it talks to and what came back.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("peer", conn.RemoteAddr())
	fmt.Fprintf(conn, "hello\n")
	conn.(*net.TCPConn).CloseWrite()
	text, err := io.ReadAll(conn)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("got %s", text)
}
