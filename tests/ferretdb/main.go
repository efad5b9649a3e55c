// Runs FerretDB over SQLite: what stands in for MongoDB where there is none. For tests and for trying things out.
//
//	ferretdb -data DIRECTORY [-listen 127.0.0.1:20017] [-stdin]
//
// Prints "ready mongodb://…" when it takes connections, and ends on SIGTERM or SIGINT; with -stdin also when its standard
// input ends, so that it does not outlive whoever started it, however that ends.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "ferretdb: %s: %v\n", what, err)
	os.Exit(1)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "loopback address and port; port 0 takes a free one")
	data := flag.String("data", "", "directory for the databases; made if it is missing")
	stdin := flag.Bool("stdin", false, "end when standard input ends")
	flag.Parse()
	if *data == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	directory, err := filepath.Abs(*data)
	if err != nil {
		fail("no such directory", err)
	}
	if err = os.MkdirAll(directory, 0o700); err != nil {
		fail("cannot make the directory", err)
	}

	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: *listen},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Handler:   "sqlite",
		SQLiteURL: "file:" + directory + "/",
	})
	if err != nil {
		fail("cannot start", err)
	}

	context, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if *stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	go func() {
		// The address is known once it runs; that it answers is seen by connecting.
		url := server.MongoDBURI()
		address := url[len("mongodb://") : len(url)-1]
		for {
			connection, dialError := net.DialTimeout("tcp", address, time.Second)
			if dialError == nil {
				connection.Close()
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("ready", url)
	}()
	if err = server.Run(context); err != nil {
		fail("stopped", err)
	}
}
