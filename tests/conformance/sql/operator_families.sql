-- Families and classes used by an index; COMMENT and DROP of them.
create operator family of1 using btree;
create operator class oc1 for type int using btree family of1 as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 btint4cmp(int, int);
create table o (v int);
create index oi on o (v oc1);
insert into o values (2), (1);
select * from o order by v;
alter operator class oc1 using btree owner to conf;
alter operator family of1 using btree set schema public;
drop operator class oc1 using btree;
drop operator family of1 using btree cascade;
drop table o;
