package main

import (
	"context"
	"flag"
	"os"

	"github.com/huanxin-platform/huanxin/internal/server"
)

// configFlags are the flags of every command that opens a hub's data.
type configFlags struct {
	file string
	data string
}

func (c *configFlags) add(f *flag.FlagSet) {
	f.StringVar(&c.file, "config", "", "`file` of the configuration (YAML); without it everything has its default")
	f.StringVar(&c.data, "data", "", "`directory` of the database and the keys; goes before the configuration's")
}

func (c *configFlags) load() (server.Config, error) {
	cfg := server.DefaultConfig()
	if c.file != "" {
		var err error
		if cfg, err = server.LoadConfig(c.file); err != nil {
			return cfg, err
		}
	}
	if c.data != "" {
		cfg.Data = c.data
	}
	return cfg, nil
}

func serve(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	var flags configFlags
	flags.add(f)
	listen := f.String("listen", "", "`address` to listen on; goes before the configuration's")
	if _, err := parse(f, args, 0, "serve [--config FILE] [--data DIR] [--listen ADDRESS]"); err != nil {
		return err
	}
	cfg, err := flags.load()
	if err != nil {
		return err
	}
	if *listen != "" {
		cfg.Listen = *listen
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	out := server.Gather(os.Stderr)
	defer func() { _ = out.Close() }()
	log, err := server.NewLog(out, cfg.LogLevel)
	if err != nil {
		return err
	}
	server.CollectLess()
	s, err := server.Open(ctx, cfg, log)
	if err != nil {
		return err
	}
	log.Info("serving", "url", s.URL, "address", s.Addr(), "database", s.Hub.Engine())
	return s.Run(ctx, s.Handler())
}
