-- A database that gets slower the more of it is wanted at once, as real ones do. It sleeps instead
-- of computing, so that what is measured is not the processors that it shares with its clients.

CREATE ROLE app LOGIN;

-- Few enough that statements meet at a row; half-filled pages, so that an update stays in its page.
CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO accounts SELECT id, 0 FROM generate_series(0, :accounts - 1) AS id;
GRANT SELECT, UPDATE ON accounts TO app;

-- Takes `cost_ms` alone, and longer with the number of statements that run now, the ones that wait
-- for a row included. Throughput rises to 1/sqrt(coherency) statements and falls from there on.
-- Source: N. Gunther's Universal Scalability Law, without contention: the row locks bring their own.
CREATE FUNCTION work(cost_ms double precision) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	active int;
BEGIN
	SELECT count(*) INTO active FROM pg_stat_get_activity(NULL) WHERE state = 'active';
	PERFORM pg_sleep(cost_ms / 1000 * (1 + current_setting('spike.coherency')::float * active * (active - 1)));
END $$;

-- Reads a row.
CREATE FUNCTION look(account int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	found bigint;
BEGIN
	SELECT balance INTO found FROM accounts WHERE id = account;
	PERFORM work(current_setting('spike.cost_ms')::float);
	RETURN found;
END $$;

-- Changes a row, and holds its lock as long as it works.
CREATE FUNCTION charge(account int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	UPDATE accounts SET balance = balance + 1 WHERE id = account;
	PERFORM work(current_setting('spike.cost_ms')::float);
END $$;
