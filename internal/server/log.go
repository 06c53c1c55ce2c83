package server

import (
	"io"
	"log/slog"
)

// NewLog gives the hub's log: JSON, a line a record. Numbers and keys redact themselves by their types.
func NewLog(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, err
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
}
