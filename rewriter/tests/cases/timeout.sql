# case: text unchanged
  /* @timeout(2s) */  SELECT   1 ;
# expect
SELECT 1

# case: milliseconds
SELECT 1 -- @timeout(250ms)
# expect
SELECT 1

# case: fractions of minutes
SELECT 1 -- @timeout(1.5m)
# expect
SELECT 1

# case: on any statement
/* @timeout(10s) */ CREATE INDEX ON book (title)

# case: no unit
SELECT 1 -- @timeout(2)

# case: unknown unit
SELECT 1 -- @timeout(2h)

# case: nothing
SELECT 1 -- @timeout()

# case: too much
SELECT 1 -- @timeout(2000m)

# case: too little
SELECT 1 -- @timeout(0s)

# case: two
SELECT 1 -- @timeout(1s) @timeout(2s)

# case: a name
SELECT 1 -- @timeout(limit: 1s)
