-- CREATE and DROP DATABASE, and a template that is in use.
create database regress_one;
alter database regress_one rename to regress_two;
alter database regress_two set work_mem = '5MB';
alter database regress_two with allow_connections false connection limit 3;
alter database regress_two owner to conf;
alter database regress_two refresh collation version;
select datname, datallowconn, datconnlimit from pg_database where datname ~ '^regress';
comment on database regress_two is 'x';
drop database regress_two;
drop database regress_two;
drop database conf;
create database regress_three template nothing;
create database regress_three encoding 'nothing';
create database regress_three with (nothing = 1);
drop database if exists regress_three with (force);
