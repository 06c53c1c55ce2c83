-- 1: the app's kill switch is set.
ALTER TABLE parties ADD COLUMN hold SMALLINT NOT NULL DEFAULT 0;
