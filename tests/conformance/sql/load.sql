-- LOAD.
load 'plpgsql';
select 1;
load '$libdir/auto_explain';
show auto_explain.log_min_duration;
set auto_explain.log_min_duration = '10s';
show auto_explain.log_min_duration;
load 'no_such_library';
begin;
load 'plpgsql';
rollback;
discard all;
show auto_explain.log_min_duration;
