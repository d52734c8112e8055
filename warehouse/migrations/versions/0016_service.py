"""The service's tables: access tokens, planners' adjustments and comments, forecast value added.

The role `sales_planner` may insert adjustments and comments and nothing else. It can't read, so an
insert returns nothing: the caller makes the row's id.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UPGRADE = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sales_planner') THEN
        RAISE EXCEPTION 'the role sales_planner is missing'
            USING HINT = 'Create it as deploy/postgres/roles.txt says, then migrate again.';
    END IF;
END $$;

CREATE TABLE sales.service_tokens (
    name       text PRIMARY KEY CHECK (name <> '' AND length(name) <= 100),
    digest     bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    scopes     text[]      NOT NULL CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'plan', 'train']),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz
);
COMMENT ON TABLE sales.service_tokens IS
    'Who may use the service. digest: SHA-256 of a random token of 256 bits, which nobody stores.';

CREATE FUNCTION sales.token_scopes(of_digest bytea)
RETURNS TABLE (name text, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = sales, pg_temp AS $$
    SELECT t.name, t.scopes FROM service_tokens t
    WHERE t.digest = of_digest AND t.revoked_at IS NULL
$$;
COMMENT ON FUNCTION sales.token_scopes IS
    'The name and scopes of a valid token. Nobody but the owner can list tokens.';
REVOKE ALL ON FUNCTION sales.token_scopes FROM public;

CREATE FUNCTION sales.lock_request(of_name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = sales, pg_temp AS $$
    SELECT pg_advisory_xact_lock(hashtext('forecast_service'), hashtext(of_name))
$$;
COMMENT ON FUNCTION sales.lock_request IS
    'Lets requests of one kind to the service happen one after another. Nothing else waits for '
    'these locks: the reader can hold no others.';
REVOKE ALL ON FUNCTION sales.lock_request FROM public;

CREATE TABLE sales.adjustments (
    adjustment_id uuid PRIMARY KEY,
    store         integer     NOT NULL CHECK (store > 0),
    first_day     date        NOT NULL,
    last_day      date        NOT NULL,
    value         double precision CHECK (value >= 0 AND value < 1e12),
    percent       double precision CHECK (percent >= -100 AND percent <= 1000),
    reason        text        NOT NULL CHECK (reason IN (
        'promotion', 'event', 'weather', 'competitor', 'stock', 'building', 'data', 'other')),
    note          text        NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    author        text        NOT NULL CHECK (author <> '' AND length(author) <= 100),
    expires_at    timestamptz,
    withdraws     uuid UNIQUE REFERENCES sales.adjustments,
    made_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (last_day BETWEEN first_day AND first_day + 366),
    CHECK (num_nonnulls(value, percent) = CASE WHEN withdraws IS NULL THEN 1 ELSE 0 END)
);
CREATE INDEX adjustments_by_store ON sales.adjustments (store, first_day);
COMMENT ON TABLE sales.adjustments IS
    'A planner''s own number for days of a store: value (sales of each day) or percent (added to '
    'the model''s point). Append-only: a row with withdraws takes another one back.';

CREATE TABLE sales.comments (
    comment_id uuid PRIMARY KEY,
    store      integer     NOT NULL CHECK (store > 0),
    date       date        NOT NULL,
    text       text        NOT NULL CHECK (text <> '' AND length(text) <= 2000),
    author     text        NOT NULL CHECK (author <> '' AND length(author) <= 100),
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX comments_by_store ON sales.comments (store, date);
COMMENT ON TABLE sales.comments IS 'What somebody wrote about a day of a store; append-only.';

CREATE VIEW sales.adjustments_in_force AS
SELECT a.adjustment_id, a.store, a.first_day, a.last_day, a.value, a.percent, a.reason, a.note,
    a.author, a.expires_at, a.made_at
FROM sales.adjustments a
WHERE a.withdraws IS NULL AND (a.expires_at IS NULL OR a.expires_at > now())
    AND NOT EXISTS (SELECT FROM sales.adjustments w WHERE w.withdraws = a.adjustment_id);
COMMENT ON VIEW sales.adjustments_in_force IS
    'Adjustments that were neither withdrawn nor have expired.';

CREATE VIEW sales.forecast_value_added AS
WITH adjusted_days AS (
    SELECT a.*, day::date AS date, c.sales::float8 AS sales, known.at AS known_at
    FROM sales.adjustments a
    CROSS JOIN LATERAL generate_series(a.first_day, a.last_day, interval '1 day') AS day
    JOIN sales.cleaned_sales c ON c.store = a.store AND c.date = day::date
    CROSS JOIN LATERAL (
        SELECT min(r.ingest_time) AS at FROM sales.raw_sales r
        WHERE r.store = c.store AND r.date = c.date AND r.sales IS NOT NULL
    ) AS known
    -- Hindsight doesn't count, nor does what no longer applied when the day's sales came.
    WHERE a.withdraws IS NULL AND a.made_at < known.at
        AND (a.expires_at IS NULL OR a.expires_at > known.at)
        AND NOT EXISTS (
            SELECT FROM sales.adjustments w
            WHERE w.withdraws = a.adjustment_id AND w.made_at < known.at)
), last_ones AS (
    SELECT DISTINCT ON (store, date) * FROM adjusted_days
    ORDER BY store, date, made_at DESC, adjustment_id
)
SELECT d.adjustment_id, d.author, d.reason, d.store, d.date, f.origin, f.horizon, d.sales,
    coalesce(n.sales, 0) * f.open AS naive, f.point AS model,
    coalesce(d.value, f.point * (1 + d.percent / 100)) AS adjusted
FROM last_ones d
-- The forecast that the planner saw and corrected.
CROSS JOIN LATERAL (
    SELECT i.origin, i.horizon, i.open, i.point FROM sales.forecasts_issued i
    WHERE i.store = d.store AND i.date = d.date AND i.written_at <= d.made_at
    ORDER BY i.origin DESC, i.written_at DESC LIMIT 1
) AS f
-- As in forecasting/models/naive.py: the same day of the last promo cycles that the origin knew.
LEFT JOIN LATERAL (
    SELECT c.sales::float8 AS sales
    FROM generate_series(0, 42, 14) AS further
    JOIN sales.cleaned_sales c ON c.store = d.store AND c.sales > 0
        AND c.date = d.date - (f.horizon + 13) / 14 * 14 - further::int
    ORDER BY c.date DESC LIMIT 1
) AS n ON true;
COMMENT ON VIEW sales.forecast_value_added IS
    'Of each adjusted day whose sales are known: the seasonal naive, the model''s number that was '
    'adjusted, the adjusted one, and the sales. Of several adjustments of a day the last counts.';

-- What is newest decides whether an answer is still right, so each request looks it up.
CREATE INDEX refreshes_finished ON sales.refreshes (finished_at DESC NULLS LAST);

GRANT USAGE ON SCHEMA sales TO sales_planner;
-- Nobody can choose when a row was made.
GRANT INSERT (adjustment_id, store, first_day, last_day, value, percent, reason, note, author,
    expires_at, withdraws) ON sales.adjustments TO sales_planner;
GRANT INSERT (comment_id, store, date, text, author) ON sales.comments TO sales_planner;
GRANT EXECUTE ON FUNCTION sales.token_scopes, sales.lock_request TO sales_reader;
GRANT SELECT ON sales.adjustments, sales.comments, sales.adjustments_in_force,
    sales.forecast_value_added TO sales_reader, sales_assets;
"""

DOWNGRADE = """
DROP INDEX sales.refreshes_finished;
DROP VIEW sales.forecast_value_added, sales.adjustments_in_force;
DROP TABLE sales.comments, sales.adjustments;
DROP FUNCTION sales.token_scopes, sales.lock_request;
DROP TABLE sales.service_tokens;
REVOKE USAGE ON SCHEMA sales FROM sales_planner;
"""


def upgrade() -> None:
    """Apply the change."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Revert the change."""
    op.execute(DOWNGRADE)
