-- Booleans, UUIDs, networks, geometry, bits, XML, money.
select true and null, false and null, not true, 'yes'::bool, 't'::bool, 'off'::bool, 1::bool, null is unknown, true is distinct from null;
select '550e8400-e29b-41d4-a716-446655440000'::uuid, gen_random_uuid() is not null;
select '192.168.1.5/24'::inet, network('192.168.1.5/24'), host('10.0.0.1'::inet), '10.0.0.0/8' >>= inet '10.1.2.3', '08:00:2b:01:02:03'::macaddr, inet '10.0.0.1' + 5;
select point(1, 2), box '((0,0),(1,1))', circle '<(0,0),2>', lseg '[(0,0),(1,1)]', path '((0,0),(1,1))', polygon '((0,0),(1,1),(1,0))', area(box '((0,0),(2,3))'), point(0, 0) <-> point(3, 4);
select b'1010' & b'0110', b'101'::int, x'F'::bit(4), length(b'101'), 5::bit(8), bit_and(v) from (values (b'11'), (b'01')) x(v);
select xmlelement(name a, xmlattributes(1 as b), 'text'), xmlforest(1 as x, 2 as y), xpath('/a/b/text()', '<a><b>1</b></a>'), xml_is_well_formed('<a>');
select xmlagg(x order by x::text) from (values ('<b/>'::xml), ('<a/>')) v(x);
select xmlparse(document '<a');
select 5::oid, 'pg_class'::regclass, 'int4'::regtype, 'lower(text)'::regprocedure, '0/16B3748'::pg_lsn, '(0,1)'::tid;
select 'pg_nothing'::regclass;
select to_regclass('pg_nothing') is null, to_regtype('int'), to_regproc('nothing') is null;
select '1 2'::int2vector, pg_typeof(null), pg_typeof(1.5), format_type(23, -1), col_description(1259, 1) is null;
