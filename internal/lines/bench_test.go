package lines_test

import (
	"io"
	"strings"
	"testing"

	"github.com/huanxin-platform/huanxin/internal/lines"
)

const event = `{"id":"cmcc-1","number":"+8613800000001","kind":"activated","at":"2026-03-01T08:00:00+08:00","origin":"reassigned"}` + "\n"

func BenchmarkNDJSON(b *testing.B) {
	body := strings.Repeat(event, 50000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		d := lines.NewNDJSON(strings.NewReader(body), 0)
		for {
			if _, _, err := d.Next(); err == io.EOF {
				break
			}
		}
	}
}

func BenchmarkCSV(b *testing.B) {
	for name, row := range map[string]string{
		"plain":  "cmcc-1,+8613800000001,activated,2026-03-01T08:00:00+08:00,reassigned\n",
		"quoted": `"cmcc-1","+8613800000001","activated","2026-03-01T08:00:00+08:00","re""assigned"` + "\n",
	} {
		b.Run(name, func(b *testing.B) {
			body := "id,number,kind,at,origin\n" + strings.Repeat(row, 50000)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				c, err := lines.NewCSV(strings.NewReader(body), 0, lines.Header{Required: []string{"id", "number", "kind", "at", "origin"}})
				if err != nil {
					b.Fatal(err)
				}
				for {
					if _, _, err := c.Next(); err == io.EOF {
						break
					}
				}
			}
		})
	}
}

// BenchmarkCSVStrayQuotes shows that recovery stays linear when every line opens a quote in vain.
func BenchmarkCSVStrayQuotes(b *testing.B) {
	body := "a,b\n" + strings.Repeat("1,\"2\n"+strings.Repeat("3,4\n", 5000), 40)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		c, err := lines.NewCSV(strings.NewReader(body), 0, lines.Header{Required: []string{"a", "b"}})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, _, err := c.Next(); err == io.EOF {
				break
			}
		}
	}
}
