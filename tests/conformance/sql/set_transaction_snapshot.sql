-- Snapshots that are exported and set.
begin isolation level repeatable read;
select pg_export_snapshot() is not null;
commit;
begin;
set transaction snapshot 'nonsense';
rollback;
begin isolation level repeatable read;
set transaction snapshot '00000003-0000001B-9';
rollback;
set transaction snapshot '00000003-0000001B-1';
select pg_current_snapshot() is not null, pg_snapshot_xmin(pg_current_snapshot()) > '0'::xid8;
