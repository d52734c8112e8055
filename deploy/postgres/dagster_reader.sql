-- What the role dagster_reader may ask of Dagster's database: these functions and nothing else. They
-- return states, names and times. Run configs, logs, cursors and tags stay out of reach.
-- Run in the database as its owner, whose rights the functions use; again does no harm. Dagster makes
-- its tables later, so the bodies are not checked here.
BEGIN;
SET LOCAL check_function_bodies = off;
SET LOCAL client_min_messages = warning;
DROP SCHEMA IF EXISTS monitoring CASCADE;
CREATE SCHEMA monitoring;

-- Runs that have not ended, by job and state, with the time at which the oldest of them was created.
CREATE FUNCTION monitoring.open_runs()
RETURNS TABLE (job text, status text, runs bigint, oldest_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT pipeline_name, status, count(*),
        extract(epoch FROM min(create_timestamp) AT TIME ZONE 'UTC')::float8
    FROM runs
    WHERE status IN ('QUEUED', 'NOT_STARTED', 'STARTING', 'STARTED', 'CANCELING')
    GROUP BY pipeline_name, status
$$;

-- Runs that ended within a day, by job and state.
CREATE FUNCTION monitoring.ended_runs()
RETURNS TABLE (job text, status text, runs bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT pipeline_name, status, count(*) FROM runs
    WHERE status IN ('SUCCESS', 'FAILURE', 'CANCELED')
        AND update_timestamp > (now() AT TIME ZONE 'UTC') - interval '1 day'
    GROUP BY pipeline_name, status
$$;

-- Each job's newest ended run, and the newest that succeeded. Jobs are found one by one along an
-- index, so that the number of runs does not count.
CREATE FUNCTION monitoring.newest_runs()
RETURNS TABLE (
    job text, status text, ended_seconds double precision, succeeded_seconds double precision,
    success_took_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE jobs AS (
        SELECT min(pipeline_name) AS name FROM runs
        UNION ALL
        SELECT (SELECT min(pipeline_name) FROM runs WHERE pipeline_name > name) FROM jobs
        WHERE name IS NOT NULL
    )
    SELECT name, ended.status::text, ended.end_time, succeeded.end_time,
        succeeded.end_time - succeeded.start_time
    FROM jobs
    CROSS JOIN LATERAL (
        SELECT r.status, r.end_time FROM runs r
        WHERE r.pipeline_name = name AND r.status IN ('SUCCESS', 'FAILURE', 'CANCELED')
        ORDER BY r.id DESC LIMIT 1
    ) AS ended
    LEFT JOIN LATERAL (
        SELECT r.start_time, r.end_time FROM runs r
        WHERE r.pipeline_name = name AND r.status = 'SUCCESS'
        ORDER BY r.id DESC LIMIT 1
    ) AS succeeded ON true
    WHERE name IS NOT NULL
$$;

-- Ticks of sensors and schedules that are on, by state: how many within ten minutes, and when the
-- newest was. The newest tick is there however old it is.
CREATE FUNCTION monitoring.ticks()
RETURNS TABLE (
    name text, type text, status text, ticks_in_10_minutes bigint, newest_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH running AS (
        SELECT job_origin_id, selector_id, job_type,
            coalesce(body #>> '{origin,job_name}', body #>> '{origin,instigator_name}') AS name
        FROM (SELECT *, job_body::jsonb AS body FROM jobs) AS parsed
        -- What the code switches on is DECLARED_IN_CODE, what a person does is RUNNING.
        WHERE status <> 'STOPPED'
    ), recent AS (
        SELECT r.name, r.job_type, t.status, count(*) AS ticks, max(t.timestamp) AS newest
        FROM running r JOIN job_ticks t ON t.job_origin_id = r.job_origin_id
        WHERE t.timestamp > (now() AT TIME ZONE 'UTC') - interval '10 minutes'
        GROUP BY r.name, r.job_type, t.status
    ), newest AS (
        SELECT r.name, r.job_type, t.status, t.timestamp AS newest
        FROM running r CROSS JOIN LATERAL (
            SELECT t.status, t.timestamp FROM job_ticks t
            WHERE t.job_origin_id = r.job_origin_id ORDER BY t.timestamp DESC LIMIT 1
        ) AS t
    )
    SELECT name, job_type, status, coalesce(recent.ticks, 0),
        extract(epoch FROM coalesce(recent.newest, newest.newest) AT TIME ZONE 'UTC')::float8
    FROM recent FULL JOIN newest USING (name, job_type, status)
$$;

-- Sensors and schedules that a person has switched off.
CREATE FUNCTION monitoring.switched_off()
RETURNS TABLE (name text, type text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT coalesce(body #>> '{origin,job_name}', body #>> '{origin,instigator_name}'), job_type
    FROM (SELECT *, job_body::jsonb AS body FROM jobs) AS parsed
    WHERE status = 'STOPPED'
$$;

-- The newest sign of life of each of the daemon's parts, and how many errors it had to tell.
CREATE FUNCTION monitoring.heartbeats()
RETURNS TABLE (daemon text, beat_seconds double precision, errors bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT daemon_type, extract(epoch FROM "timestamp" AT TIME ZONE 'UTC')::float8,
        CASE jsonb_typeof(body::jsonb -> 'errors')
            WHEN 'array' THEN jsonb_array_length(body::jsonb -> 'errors') ELSE 0 END::bigint
    FROM daemon_heartbeats
$$;

-- The newest finished execution of each asset check.
CREATE FUNCTION monitoring.checks()
RETURNS TABLE (asset text, name text, status text, evaluated_seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH RECURSIVE known AS (
        (SELECT asset_key, check_name FROM asset_check_executions
            ORDER BY asset_key, check_name LIMIT 1)
        UNION ALL
        SELECT next.asset_key, next.check_name FROM known CROSS JOIN LATERAL (
            SELECT e.asset_key, e.check_name FROM asset_check_executions e
            WHERE (e.asset_key, e.check_name) > (known.asset_key, known.check_name)
            ORDER BY e.asset_key, e.check_name LIMIT 1
        ) AS next
    )
    SELECT array_to_string(ARRAY(SELECT jsonb_array_elements_text(k.asset_key::jsonb)), '/'),
        k.check_name, e.execution_status::text,
        extract(epoch FROM e.evaluation_event_timestamp AT TIME ZONE 'UTC')::float8
    FROM known k CROSS JOIN LATERAL (
        SELECT e.execution_status, e.evaluation_event_timestamp FROM asset_check_executions e
        WHERE e.asset_key = k.asset_key AND e.check_name = k.check_name
            AND e.execution_status IN ('SUCCEEDED', 'FAILED')
        ORDER BY e.evaluation_event_timestamp DESC LIMIT 1
    ) AS e
$$;

CREATE FUNCTION monitoring.size()
RETURNS TABLE (database text, bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT current_database()::text, pg_database_size(current_database())
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA monitoring FROM PUBLIC;
GRANT USAGE ON SCHEMA monitoring TO dagster_reader;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA monitoring TO dagster_reader;
COMMIT;
