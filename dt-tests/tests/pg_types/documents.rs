//! Documents: JSON, XML, full-text search.

use super::{Sample, sample};

pub static SAMPLES: &[Sample] = &[
    sample(
        "jsons",
        "CREATE TABLE jsons (id int PRIMARY KEY, j json, b jsonb, p jsonpath)",
        r#"INSERT INTO jsons VALUES (1, '{"b":1,  "a":2.10, "a":3}', '{"b":1,  "a":2.10, "a":3}', '$.a[*] ? (@ > 1)'), (2, 'null', 'null', '$'),
           (3, NULL, NULL, NULL), (4, '"\u00e9\ud83e\udd80\\\"\t\n/"', '"\u00e9\ud83e\udd80\\\"\t\n/"', 'strict $."k e\"y"'), (5, ' [1e5 , 1.0, -0]
           ', '[1e5, 1.0, -0, 1e-1000, 123456789012345678901234567890.00]', 'lax $[0 to last]'), (6, '""', '""', '$.*'), (7, '{}', '{}', '$'), (8, '[]', '[]', '$'),
           (9, '"\\N"', '"\\N"', '$'), (10, '[[[[[{"a":[]}]]]]]', '{"":{},"a":{"a":{"a":[null,true,false]}}}', '$.**'), (11, '"\u0000"', '"\\."', '$');
           INSERT INTO jsons (id, j, b) SELECT 12, json_agg(i), jsonb_object_agg(i, repeat('x\y', 5)) FROM generate_series(1, 20000) AS i"#,
    ),
    sample(
        "xmls",
        "CREATE TABLE xmls (id int PRIMARY KEY, x xml)",
        r#"SET xmloption = content; INSERT INTO xmls VALUES (1, '<a/>'), (2, 'text &amp; <b>more</b> '), (3, NULL), (4, ''), (5, '<?xml version="1.0"?><a b="c">é🦀&#x41;</a>'),
           (6, '<!DOCTYPE a><a/>'), (7, '<!-- x --><a><![CDATA[ \N \. ]]></a>'), (8, '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
           <a>	</a>'), (9, '<a><b/><b></b></a>')"#,
    ),
    sample(
        "searches",
        "CREATE TABLE searches (id int PRIMARY KEY, v tsvector, q tsquery, va tsvector[])",
        r#"INSERT INTO searches VALUES (1, 'a:1A,2B b:16383 c', 'a & !b | c:*AB', ARRAY['a b'::tsvector, NULL]), (2, '', '', '{}'), (3, NULL, NULL, NULL),
           (4, $$'it''s':1 'back\\slash' 'sp ace':3C '🦀'$$, $$'it''s' <-> 'sp ace' & ('x' <3> 'y')$$, ARRAY[''::tsvector]),
           (5, to_tsvector('english', 'The quick brown foxes jumped over lazy dogs'), plainto_tsquery('english', 'quick fox'), NULL);
           INSERT INTO searches (id, v) SELECT 6, to_tsvector('simple', string_agg('w' || i, ' ')) FROM generate_series(1, 5000) AS i"#,
    ),
];
