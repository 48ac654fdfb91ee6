//! Addresses of networks, and geometry.

use super::{Sample, sample};

pub static SAMPLES: &[Sample] = &[
    sample(
        "addresses",
        "CREATE TABLE addresses (id int PRIMARY KEY, i inet, c cidr, m macaddr, m8 macaddr8)",
        "INSERT INTO addresses VALUES (1, '192.168.1.1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'), \
         (2, '192.168.1.1/24', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00'), (3, NULL, NULL, NULL, NULL), \
         (4, '2001:db8::1/64', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff'), (5, '::', '::/0', '5c:4e:09:0a:0d:27', '5c:4e:09:0a:0d:27:22:5c'), \
         (6, '::ffff:1.2.3.4', '255.255.255.255/32', '01:02:03:04:05:06', '01:02:03:ff:fe:04:05:06'), (7, '0.0.0.0/0', '::1/128', NULL, NULL)",
    ),
    sample(
        "geometry",
        "CREATE TABLE geometry (id int PRIMARY KEY, p point, l line, s lseg, b box, pa path, po polygon, c circle)",
        "INSERT INTO geometry VALUES (1, '(1.5,-2e-10)', '{1,-1,0.1}', '[(0,0),(1,0.30000000000000004)]', '(2,2),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '<(0,0),1>'), \
         (2, '(NaN,Infinity)', '{0,1,-Infinity}', '[(-0,0),(NaN,1)]', '(Infinity,1),(-Infinity,0)', '((0,0),(1,1),(2,0))', '((NaN,0))', '<(NaN,1),Infinity>'), \
         (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (4, '(1.7976931348623157e308,4.9e-324)', '{1,0,0}', '[(0,0),(0,0)]', '(0,0),(0,0)', '[(1,1)]', '((1,1))', '<(1e300,-1e-300),0>'); \
         INSERT INTO geometry (id, po) SELECT 5, ('(' || string_agg(format('(%s,%s)', i, i * 0.1), ',') || ')')::polygon FROM generate_series(1, 3000) AS i",
    ),
];
