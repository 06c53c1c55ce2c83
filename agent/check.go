package agent

import "context"

// Report is what check found.
type Report struct{}

func (c *sqlConnector) check(context.Context, *Report) {}

func explainPostgres(ctx context.Context, c *sqlConnector, s *statement, args []any) ([]string, error) {
	return nil, nil
}
func explainMySQL(ctx context.Context, c *sqlConnector, s *statement, args []any) ([]string, error) {
	return nil, nil
}
func explainSQLite(ctx context.Context, c *sqlConnector, s *statement, args []any) ([]string, error) {
	return nil, nil
}
func powersPostgres(context.Context, *sqlConnector, *Report) {}
func powersMySQL(context.Context, *sqlConnector, *Report)    {}
