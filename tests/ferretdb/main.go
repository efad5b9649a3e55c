// Runs FerretDB over SQLite: what stands in for MongoDB where there is none. For tests and for trying things out.
//
//	ferretdb -data DIRECTORY [-listen 127.0.0.1:20017] [-tls-cert FILE -tls-key FILE] [-stdin]
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
	"net/url"
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
	certificate := flag.String("tls-cert", "", "PEM file; with it nobody is served without TLS")
	key := flag.String("tls-key", "", "PEM file with the certificate's key")
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

	where := ferretdb.ListenerConfig{TCP: *listen}
	if *certificate != "" {
		where = ferretdb.ListenerConfig{TLS: *listen, TLSCertFile: *certificate, TLSKeyFile: *key}
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener:  where,
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
		uri := server.MongoDBURI()
		address, parseError := url.Parse(uri)
		if parseError != nil {
			fail("no address", parseError)
		}
		for {
			connection, dialError := net.DialTimeout("tcp", address.Host, time.Second)
			if dialError == nil {
				connection.Close()
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Println("ready", uri)
	}()
	if err = server.Run(context); err != nil {
		fail("stopped", err)
	}
}
