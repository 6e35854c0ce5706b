// Fathom-gateway serves a model of Fathom to clients of OpenAI's and DeepSeek's protocol, and a
// page to chat with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"fathom.dev/go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "fathom-gateway:", err)
		os.Exit(1)
	}
}

func run() error {
	var o serverOptions
	address := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	keys := flag.String("keys", "", "JSON file of API keys and their limits; none: open to anyone")
	library := flag.String("library", "", "the shared library; default: "+fathom.LibraryVariable+
		", then beside this program, then the system's path")
	grace := flag.Duration("grace", 30*time.Second, "how long answers may run on at the end")
	kvCache := flag.Uint64("kv-cache", 256<<20, "bytes of KV cache")
	threads := flag.Int("threads", 0, "computing threads; 0: one a processor")
	flag.StringVar(&o.folder, "model", "", "the checkpoint's folder")
	flag.StringVar(&o.name, "name", "fathom-demo", "by which name clients ask for the model")
	flag.Parse()
	if o.folder == "" || flag.NArg() > 0 {
		flag.Usage()
		return errors.New("found no -model, or more than flags")
	}
	if err := fathom.Load(*library); err != nil {
		return err
	}
	o.engine = fathom.EngineOptions{KVCacheBytes: *kvCache, Threads: int32(*threads),
		Log: func(level fathom.LogLevel, text string) {
			if level == fathom.LogWarning {
				slog.Warn(text)
			} else {
				slog.Info(text)
			}
		}}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if o.keys, err = loadKeys(*keys); err != nil {
		return err
	}
	s, err := newServer(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	slog.Info("listening", "address", "http://"+listener.Addr().String())
	return serve(ctx, s, listener, *grace)
}

// serve answers requests until ctx ends, and those then under way for as long as grace says.
func serve(ctx context.Context, s *server, listener net.Listener, grace time.Duration) error {
	h := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	slog.Info("shutting down", "grace", grace)
	last, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := s.drain(last); err != nil && !errors.Is(err, fathom.ErrTimeout) {
		return err
	}
	// What is left is writing the ends of answers.
	last, cancel = context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return h.Shutdown(last)
}
