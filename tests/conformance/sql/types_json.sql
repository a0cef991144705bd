-- JSON.
select '{"a": [1, 2, {"b": null}]}'::jsonb -> 'a' -> 2 -> 'b', '{"a": 1}'::json ->> 'a', '[1,2]'::jsonb -> -1, '{"a":{"b":5}}'::jsonb #>> '{a,b}';
select '{"a": 1, "b": 2}'::jsonb @> '{"a": 1}', '{"a": 1}'::jsonb ? 'a', '["a"]'::jsonb ?| array['a', 'b'], '{"a": 1}'::jsonb || '{"b": 2}', '{"a": 1}'::jsonb - 'a';
select jsonb_set('{"a": 1}', '{a}', '5'), jsonb_insert('[1, 2]', '{1}', '9'), jsonb_strip_nulls('{"a": null}'), jsonb_pretty('{"a": [1]}');
select json_build_object('a', 1, 'b', array[1, 2]), to_jsonb(row(1, 'x')), row_to_json(r) from (select 1 as x) r;
select * from jsonb_each('{"a": 1, "b": "x"}') order by key;
select * from jsonb_to_recordset('[{"a": 1}, {"a": 2, "b": "x"}]') as t(a int, b text);
select jsonb_array_elements('[1, "a"]'), jsonb_typeof('1.5'), jsonb_array_length('[1, 2]');
select jsonb_path_query('{"a": [1, 2, 3]}', '$.a[*] ? (@ > 1)'), jsonb_path_exists('{"a": 1}', '$.b');
select json_agg(g), jsonb_object_agg(g, g * 2) from generate_series(1, 2) g;
select '{"a": 1, "a": 2}'::jsonb, '{"a": 1, "a": 2}'::json, ('{"a": [1, 2]}'::jsonb)['a'][1];
create table j (d jsonb);
insert into j values ('{"a": {"b": 1}}');
update j set d['a']['c'] = '5' returning *;
create index on j using gin (d jsonb_path_ops);
select count(*) from j where d @> '{"a": {"b": 1}}';
select '{"a"'::json;
select '[1'::jsonb;
drop table j;
