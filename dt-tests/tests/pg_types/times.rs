//! Dates, times and intervals, up to the ends of what the server can hold.

use super::{Sample, sample, since};

pub static SAMPLES: &[Sample] = &[
    sample(
        "dates",
        "CREATE TABLE dates (id int PRIMARY KEY, d date, t timestamp, t0 timestamp(0), t3 timestamp(3), z timestamptz, z3 timestamptz(3))",
        "INSERT INTO dates VALUES (1, 'infinity', 'infinity', 'infinity', 'infinity', 'infinity', 'infinity'), \
         (2, '-infinity', '-infinity', '-infinity', '-infinity', '-infinity', '-infinity'), (3, NULL, NULL, NULL, NULL, NULL, NULL), \
         (4, '4714-11-24 BC', '4714-11-24 00:00:00 BC', '4714-11-24 00:00:00 BC', '4714-11-24 00:00:00 BC', '4714-11-24 00:00:00+00 BC', '4714-11-24 00:00:00+00 BC'), \
         (5, '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59', '294276-12-31 23:59:59.999', '294276-12-31 23:59:59.999999+00', '294276-12-31 23:59:59.999+00'), \
         (6, '0001-12-31 BC', '0001-12-31 23:59:59.999999 BC', '0001-01-01 BC', '0001-01-01 00:00:00.001 BC', '0001-12-31 23:59:59.999999+00 BC', '0001-01-01 00:00:00+15:59 BC'), \
         (7, '0001-01-01', '0001-01-01', '0001-01-01', '0001-01-01', '0001-01-01 00:00:00+00', '0001-01-01 00:00:00-15:59'), \
         (8, '1970-01-01', '1970-01-01 00:00:00.000001', '1970-01-01', '1970-01-01', '1969-12-31 23:59:59.999999+00', '2000-01-01 00:00:00+00'), \
         (9, '2000-02-29', '1999-12-31 23:59:59.999999', '2000-01-01', '2000-01-01', '2024-03-31 02:30:00+01', '2024-10-27 02:30:00+02'), \
         (10, '10000-01-01', '10000-01-01 00:00:00.1', '99999-12-31', '123456-07-08', '10000-01-01 00:00:00+00', '10000-01-01 00:00:00.5+00'), \
         (11, '1582-10-10', '1582-10-10 12:00:00', '1883-11-18 12:03:58', '1883-11-18', '1883-11-18 12:03:58-05', '1900-01-01 00:00:00+00:09:21')",
    ),
    sample(
        "times_of_day",
        "CREATE TABLE times_of_day (id int PRIMARY KEY, t time, t0 time(0), z timetz, z3 timetz(3))",
        "INSERT INTO times_of_day VALUES (1, '00:00', '00:00', '00:00+00', '00:00+00'), (2, '24:00:00', '24:00:00', '24:00:00+15:59:59', '24:00:00-15:59:59'), \
         (3, '23:59:59.999999', '23:59:59', '23:59:59.999999-15:59:59', '23:59:59.999+15:59:59'), (4, NULL, NULL, NULL, NULL), \
         (5, '00:00:00.000001', '00:00:01', '00:00:00.000001+05:45', '12:34:56.789-03:30')",
    ),
    sample(
        "intervals",
        "CREATE TABLE intervals (id int PRIMARY KEY, i interval, y interval year to month, d interval day to second(3), s interval second(0))",
        "INSERT INTO intervals VALUES (1, '178000000 years', '178000000 years', '1 day 00:00:00.123', '1'), \
         (2, '-178000000 years', '-1 year -1 month', '-1 day -00:00:00.001', '-1'), (3, NULL, NULL, NULL, NULL), \
         (4, '1 mon -1 day 00:00:00.000001', '1 month', '10 days -23:59:59.999', '3600'), \
         (5, '-1 mon 1 day -00:00:00.000001', '0', '0', '0'), (6, '0', '-11 months', '100 hours', '59.4'), \
         (7, '2147483647 months', '1 year', '2147483647 days', '0'), (8, '-2147483648 days', '0', '0', '0'), \
         (9, '2562047788:00:54.775807', '0', '2562047788 hours', '0'), (10, '-2562047788:00:54.775807', '0', '0', '0'), \
         (11, '30 days', '12 months', '24 hours', '60'), (12, '1 year 2 mons 3 days 04:05:06.789', '14 months', '3 days 04:05:06.789', '6')",
    ),
    since(
        18,
        sample(
            "endless_intervals",
            "CREATE TABLE endless_intervals (id int PRIMARY KEY, i interval)",
            "INSERT INTO endless_intervals VALUES (1, 'infinity'), (2, '-infinity'), (3, NULL)",
        ),
    ),
];
