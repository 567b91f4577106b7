// SPDX-License-Identifier: Apache-2.0

// A static Go program without libc: goroutines over TCP and Unix sockets, children, timers, signals, files. Go makes
// its calls by instructions of its own, on small stacks, and uses SIGURG to preempt.
package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

func talk(network, address string, clients int) int64 {
	l, err := net.Listen(network, address)
	must(err)
	go serve(l)
	var good int64
	var all sync.WaitGroup
	for n := 0; n < clients; n++ {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			c, err := net.Dial(network, l.Addr().String())
			must(err)
			defer c.Close()
			r := bufio.NewReader(c)
			for i := 0; i < 20; i++ {
				line := fmt.Sprintf("client %d line %d\n", n, i)
				io.WriteString(c, line)
				if got, _ := r.ReadString('\n'); got == line {
					atomic.AddInt64(&good, 1)
				}
			}
		}(n)
	}
	all.Wait()
	l.Close()
	return good
}

func main() {
	fmt.Println("tcp", talk("tcp", "127.0.0.1:0", 50), "unix", talk("unix", "socket", 20))

	var total int64
	var all sync.WaitGroup
	for g := 0; g < 8; g++ {
		all.Add(1)
		go func(g int) {
			defer all.Done()
			for i := 0; i < 2000000; i++ {
				if i%500000 == 0 {
					runtime.GC()
				}
			}
			atomic.AddInt64(&total, int64(g))
		}(g)
	}
	all.Wait()
	fmt.Println("goroutines", total)

	for i := 0; i < 10; i++ {
		cmd := exec.Command("sh", "-c", "cat; exit $0", fmt.Sprint(i))
		cmd.Stdin = strings.NewReader(strings.Repeat("x", 100000))
		out, _ := cmd.Output()
		fmt.Print(len(out), " ", cmd.ProcessState.ExitCode(), " ")
	}
	fmt.Println()

	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGUSR1)
	syscall.Kill(syscall.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-got)
	select {
	case <-got:
	case <-time.After(20 * time.Millisecond):
		fmt.Println("timeout")
	}

	must(os.WriteFile("made", []byte(strings.Repeat("line\n", 20000)), 0o640))
	f, err := os.Open("made")
	must(err)
	h := sha256.New()
	n, _ := io.Copy(h, f)
	fmt.Printf("%d %x\n", n, h.Sum(nil)[:8])
	names, _ := os.ReadDir(".")
	for _, name := range names {
		fmt.Println(name.Name())
	}
	if _, err := os.Open("missing"); err != nil {
		fmt.Println(err)
	}
	os.Exit(4)
}
