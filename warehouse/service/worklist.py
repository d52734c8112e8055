"""Statements on what needs a person: one row of facts per store, and nothing judged.

`forecast_service/worklist/rules.py` judges. Each statement reads all stores at once. "Today" is the
newest origin in force: the last day whose sales are known.
"""

from warehouse.health_bounds import COMPLETE_SHARE, MISSED_DAYS

#: Days ahead whose sales are at stake.
AHEAD_DAYS = 14
#: Newest scored days that are compared with those before them, and how many those are.
RECENT_DAYS, PAST_DAYS = 14, 42
#: Newest scored days of which those outside their interval are counted.
OUTSIDE_DAYS = 7
#: Days between two origins that are compared, and how many such steps tell what is usual.
MOVE_DAYS, MOVES = 7, 6
#: Days after its expiry, and before, in which an adjustment is told.
EXPIRED_DAYS, EXPIRING_DAYS = 7, 3
#: Days back to the oldest sales that the seasonal naive of a recent day may take.
_NAIVE_DAYS = 56
#: Days within which nearly every kind of day has been seen, so that few are looked up further back.
_SEEN_DAYS = 70

_ISSUE = """
    SELECT f.origin, f.refresh_id FROM sales.forecasts_issued f
    WHERE f.store = {store} AND f.horizon = 1
        AND NOT sales.is_void(f.store, f.origin, f.written_at)
    ORDER BY f.origin DESC, f.written_at DESC LIMIT 1
"""

#: The newest origin that a refresh has written; a withdrawal may have voided it since.
NEWEST_ORIGIN = """
SELECT max(newest_origin) AS origin FROM sales.refreshes WHERE finished_at IS NOT NULL
"""

#: What decides whether the facts are still the same. Adjustments expire by the clock, so nothing is
#: the same for longer than five minutes.
VERSION = """
SELECT (SELECT max(finished_at) FROM sales.refreshes) AS finished_at,
    (SELECT max(scored_at) FROM sales.refreshes) AS scored_at,
    (SELECT max(withdrawn_at) FROM sales.withdrawals) AS withdrawn_at,
    (SELECT max(made_at) FROM sales.adjustments) AS made_at,
    (SELECT count(*) FROM sales.retired_stores) AS retired,
    (SELECT array_agg(change_id ORDER BY change_id) FROM sales.changes
        WHERE done_at IS NULL AND error IS NOT NULL) AS failed,
    extract(epoch FROM now())::int8 / 300 AS minutes
"""

_IN_FORCE = f"""
newest AS MATERIALIZED (
    SELECT s.store, n.origin, n.refresh_id
    FROM sales.stores s CROSS JOIN LATERAL ({_ISSUE.format(store="s.store")}) AS n
    WHERE s.store NOT IN (SELECT r.store FROM sales.retired_stores r)
), today AS MATERIALIZED (
    SELECT max(origin) AS day FROM newest
)
"""

#: The forecasts of the next days by store, and how many of them rest on a guessed plan.
AHEAD = f"""
WITH {_IN_FORCE}
SELECT n.store, n.origin, (SELECT day FROM today) AS today,
    coalesce(sum(f.mean), 0) AS sales, count(*) FILTER (WHERE f.mean > 0) AS open_days,
    count(*) FILTER (WHERE f.plan_assumed) AS assumed_days,
    min(f.date) FILTER (WHERE f.plan_assumed) AS first_assumed,
    coalesce(sum((f.q0_9 - f.q0_1) / 2) FILTER (WHERE f.plan_assumed), 0) AS assumed_half_width
FROM newest n LEFT JOIN LATERAL (
    SELECT i.date, i.mean, i.plan_assumed, i.q0_1, i.q0_9 FROM sales.forecasts_issued i
    WHERE i.store = n.store AND i.origin = n.origin AND i.refresh_id = n.refresh_id
        -- By horizon: a span of dates would be read by the index on dates, of all origins.
        AND i.horizon > (SELECT day FROM today) - n.origin
        AND i.horizon <= (SELECT day FROM today) - n.origin + {AHEAD_DAYS}
    -- Store by store: as a join, all that was ever issued would be read.
    OFFSET 0
) AS f ON true
GROUP BY n.store, n.origin ORDER BY n.store
"""

_KIND = "store, day_of_week, promo, state_holiday, school_holiday"
_SOLD = "c.open = 1 AND c.sales > 0"

#: Planned open days of a kind that the store has never had, as `plans.SEEN_KINDS` defines it.
#: Parameter: today.
UNSEEN = f"""
WITH planned AS MATERIALIZED (
    SELECT p.store, p.date, extract(isodow FROM p.date)::int2 AS day_of_week, p.promo,
        p.state_holiday, p.school_holiday
    FROM sales.planned_days p
    WHERE p.date > $1::date AND p.date <= $1::date + {AHEAD_DAYS} AND coalesce(p.open, 1) = 1
), rare AS MATERIALIZED (
    SELECT {_KIND} FROM planned
    EXCEPT
    SELECT {_KIND} FROM sales.cleaned_sales c WHERE c.date > $1::date - {_SEEN_DAYS} AND {_SOLD}
), unseen AS MATERIALIZED (
    SELECT {_KIND} FROM rare
    EXCEPT
    SELECT {_KIND} FROM sales.cleaned_sales c WHERE {_SOLD} AND
        (c.day_of_week, c.promo, c.state_holiday, c.school_holiday) IN (
            SELECT day_of_week, promo, state_holiday, school_holiday FROM rare)
)
SELECT p.store, p.date, p.promo, p.state_holiday, p.school_holiday,
    (f.q0_9 - f.q0_1) / 2 AS half_width
FROM unseen u JOIN planned p USING ({_KIND})
CROSS JOIN LATERAL ({_ISSUE.format(store="p.store")}) AS n
CROSS JOIN LATERAL (
    SELECT i.q0_1, i.q0_9 FROM sales.forecasts_issued i
    WHERE i.store = p.store AND i.origin = n.origin AND i.refresh_id = n.refresh_id
        AND i.date = p.date AND i.open = 1 AND NOT i.plan_assumed
) AS f
ORDER BY p.store, p.date
"""

#: How good forecasts of up to a week ahead were: on recent days, on the days before, and what the
#: seasonal naive (`forecasting/models/naive.py`) would have said on the same recent days; and which
#: of the newest days lay outside their 95 % interval. Parameter: today.
ACCURACY = f"""
WITH scored AS MATERIALIZED (
    SELECT store, date, sum(forecasts)::float8 AS forecasts, sum(sold) AS sold,
        sum(sales) AS sales, sum(absolute_error) AS error, sum(inside_95) AS inside_95
    FROM sales.forecast_accuracy
    WHERE kind = 'issued' AND lead_week = 1 AND sold > 0
        AND date > $1::date - {RECENT_DAYS + PAST_DAYS} AND date <= $1::date
    GROUP BY store, date
), cycles AS (
    SELECT store, date, sales, lag(sales) OVER cycle AS naive, lag(date) OVER cycle AS naive_date
    FROM sales.cleaned_sales
    WHERE date > $1::date - {RECENT_DAYS + _NAIVE_DAYS} AND date <= $1::date AND sales > 0
    WINDOW cycle AS (PARTITION BY store, (date - date '2000-01-03') % 14 ORDER BY date)
), naive AS (
    SELECT s.store, sum(s.forecasts * abs(c.sales - CASE
            WHEN c.naive_date >= c.date - {_NAIVE_DAYS} THEN c.naive ELSE 0 END)) AS error
    FROM scored s JOIN cycles c ON c.store = s.store AND c.date = s.date
    WHERE s.date > $1::date - {RECENT_DAYS} AND c.date > $1::date - {RECENT_DAYS}
    GROUP BY s.store
), newest AS (
    SELECT *, 2 * inside_95 < sold AS is_outside,
        row_number() OVER (PARTITION BY store ORDER BY date DESC) AS place
    FROM scored WHERE date > $1::date - {RECENT_DAYS}
), outside AS (
    SELECT store, count(*) AS judged_days, count(*) FILTER (WHERE is_outside) AS outside_days,
        max(date) FILTER (WHERE is_outside) AS last_outside,
        coalesce(sum(error / forecasts) FILTER (WHERE is_outside), 0) AS outside_error
    FROM newest WHERE place <= {OUTSIDE_DAYS} GROUP BY store
), summed AS (
    SELECT store,
        count(*) FILTER (WHERE date > $1::date - {RECENT_DAYS}) AS recent_days,
        sum(error) FILTER (WHERE date > $1::date - {RECENT_DAYS}) AS recent_error,
        sum(sales) FILTER (WHERE date > $1::date - {RECENT_DAYS}) AS recent_sales,
        count(*) FILTER (WHERE date <= $1::date - {RECENT_DAYS}) AS past_days,
        sum(error) FILTER (WHERE date <= $1::date - {RECENT_DAYS}) AS past_error,
        sum(sales) FILTER (WHERE date <= $1::date - {RECENT_DAYS}) AS past_sales
    FROM scored GROUP BY store
)
SELECT s.*, n.error AS naive_error, o.judged_days, o.outside_days, o.last_outside, o.outside_error
FROM summed s JOIN outside o USING (store) LEFT JOIN naive n USING (store) ORDER BY store
"""

#: Days of the last week that have come for most stores and not for this one, which had sent that
#: weekday within the four weeks before. Parameter: today.
MISSING = f"""
WITH weekdays AS MATERIALIZED (
    SELECT store, day_of_week, bool_or(date > $1::date - {MISSED_DAYS}) AS came,
        bool_or(date <= $1::date - {MISSED_DAYS}) AS came_before
    FROM sales.cleaned_sales
    WHERE date > $1::date - {MISSED_DAYS + 28} AND date <= $1::date
        AND store NOT IN (SELECT store FROM sales.retired_stores)
    GROUP BY store, day_of_week
), complete AS (
    SELECT day_of_week, count(*) AS stores FROM weekdays WHERE came GROUP BY day_of_week
    HAVING count(*) >= {COMPLETE_SHARE} * (SELECT count(DISTINCT store) FROM weekdays)
), missing AS (
    SELECT w.store, c.stores, d.day::date AS day
    FROM weekdays w JOIN complete c USING (day_of_week)
    -- A week holds each weekday once.
    JOIN generate_series($1::date - {MISSED_DAYS - 1}, $1::date, interval '1 day') AS d (day)
        ON extract(isodow FROM d.day) = w.day_of_week
    WHERE w.came_before AND NOT w.came
)
SELECT store, count(*) AS days, max(day) AS last_day,
    (array_agg(stores ORDER BY day DESC))[1] AS stores_that_came
FROM missing GROUP BY store ORDER BY store
"""

#: How the expected sales of the same whole weeks moved from one origin to one a week later, newest
#: step first: the totals of weeks that both cover. Parameter: today.
MOVES_BY_STORE = f"""
WITH weeks AS MATERIALIZED (
    SELECT DISTINCT ON (store, step, first_day) t.member::int4 AS store,
        ($1::date - t.origin) / {MOVE_DAYS} AS step, t.first_day, t.mean
    FROM sales.forecast_totals t
    WHERE t.level = 'store' AND t.grain = 'week' AND t.days = 7 AND t.origin = ANY (ARRAY(
        SELECT $1::date - {MOVE_DAYS} * step FROM generate_series(0, {MOVES}) AS step))
    ORDER BY store, step, first_day, t.written_at DESC
)
SELECT after.store, after.step, sum(after.mean) AS after, sum(before.mean) AS before,
    min(after.first_day) AS first_day, max(after.first_day) + 6 AS last_day
FROM weeks after JOIN weeks before ON before.store = after.store
    AND before.step = after.step + 1 AND before.first_day = after.first_day
GROUP BY after.store, after.step ORDER BY after.store, after.step
"""

#: Adjustments of days to come that have expired or soon will, and that no later one replaces.
#: Parameter: today.
ADJUSTMENTS = f"""
SELECT a.store, a.first_day, a.last_day, a.value, a.percent, a.reason, a.author, a.expires_at,
    a.expires_at <= now() AS is_expired,
    sum(abs(coalesce(a.value, f.point * (1 + a.percent / 100)) - f.point)) AS difference
FROM sales.adjustments a
CROSS JOIN LATERAL ({_ISSUE.format(store="a.store")}) AS n
CROSS JOIN LATERAL (
    SELECT i.point FROM sales.forecasts_issued i
    WHERE i.store = a.store AND i.origin = n.origin AND i.refresh_id = n.refresh_id
        AND i.date BETWEEN a.first_day AND a.last_day AND i.open = 1 AND i.date > $1::date
) AS f
WHERE a.withdraws IS NULL AND a.last_day > $1::date
    AND a.expires_at BETWEEN now() - interval '{EXPIRED_DAYS} days'
        AND now() + interval '{EXPIRING_DAYS} days'
    AND NOT EXISTS (SELECT FROM sales.adjustments w WHERE w.withdraws = a.adjustment_id)
    AND NOT EXISTS (
        SELECT FROM sales.adjustments_in_force b
        WHERE b.store = a.store AND b.made_at > a.made_at AND b.last_day >= a.last_day
            AND b.first_day <= greatest(a.first_day, $1::date + 1)
    )
GROUP BY a.adjustment_id ORDER BY a.store, a.expires_at
"""
