-- The clock of a request: not later than the earliest step of its open tasks. An index of every task's step would cost each
-- task an entry when it is made and another when it is answered. A row that is too early is looked at and set right.
CREATE TABLE clocks (
  request INTEGER PRIMARY KEY,
  step_at INTEGER NOT NULL
) STRICT;
INSERT INTO clocks (request, step_at) SELECT request, MIN(step_at) FROM tasks WHERE open = 1 AND step_at > 0 GROUP BY request;
CREATE INDEX clocks_step ON clocks (step_at);
DROP INDEX tasks_step;

-- Up to which task each app has listed its own, without a gap: these are delivered. A task's state is 0 until something
-- else happens to it, and then says nothing by itself. What was made before has its state written out.
CREATE TABLE listed (
  app  INTEGER PRIMARY KEY,
  task INTEGER NOT NULL
) STRICT;
INSERT INTO listed (app, task) SELECT app, MAX(id) FROM tasks GROUP BY app;
