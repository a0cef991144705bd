-- ALTER SYSTEM and what it may not.
alter system set my.parameter = 'x';
alter system set nothing = 1;
alter system set work_mem = 'nonsense';
begin;
alter system set work_mem = '5MB';
rollback;
alter system set log_min_error_statement = 'error';
alter system reset log_min_error_statement;
show work_mem;
create role regress_plain;
set role regress_plain;
alter system set work_mem = '5MB';
reset role;
drop role regress_plain;
select pg_reload_conf();
