-- What psql's own commands ask.
create table d (id serial primary key, v text not null, w int references d);
create index d_v on d (v);
create view dview as select id from d;
create materialized view dmat as select 1 as one;
create type dtype as enum ('a', 'b');
create domain ddom as int check (value > 0);
create sequence dseq;
create schema dschema;
create function dfun(a int) returns int language sql as 'select a';
create aggregate dagg(int) (sfunc = int4pl, stype = int);
\d d
\d+ dview
\di
\ds
\dm
\dT
\dD
\dn
\df
\da dagg
\dp d
\d nothing
\dx plpgsql
\dg regress_*
\sf dfun
\sv dview
\dconfig work_mem
drop function dfun;
drop aggregate dagg(int);
drop schema dschema;
drop sequence dseq;
drop domain ddom;
drop type dtype;
drop materialized view dmat;
drop view dview;
drop table d;
