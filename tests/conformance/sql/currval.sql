-- currval and lastval outside the transaction of the nextval.
create sequence s;
create table t (id serial, v text);
select nextval('s');
select currval('s');
select lastval();
insert into t (v) values ('a');
select currval('t_id_seq');
select lastval();
insert into t (v) values ('b') returning currval('t_id_seq');
select setval('s', 7);
select currval('s');
drop table t;
drop sequence s;
