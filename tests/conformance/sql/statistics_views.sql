-- Views of statistics and locks belong to the primary.
select count(*) > 0 from pg_stat_activity where pid = pg_backend_pid();
select datname, usename, state, query from pg_stat_activity where pid = pg_backend_pid();
select count(*) > 0 from pg_stat_replication;
select count(*) > 0 from pg_locks;
select pg_is_in_recovery(), pg_current_wal_lsn() is not null, pg_last_wal_replay_lsn() is null;
select txid_current() > 0, pg_current_xact_id_if_assigned() is null;
select count(*) from pg_stat_wal_receiver;
select pg_backend_pid() = pg_backend_pid();
select inet_server_addr() is not null, inet_client_addr() is not null;
select count(*) >= 2 from pg_replication_slots;
select current_setting('cluster_name') = 'pg1';
select pg_postmaster_start_time() < now(), pg_conf_load_time() < now();
select count(*) from pg_prepared_xacts where database = current_database();
begin;
create table s (v int);
select relation::regclass, mode from pg_locks where relation = 's'::regclass and pid = pg_backend_pid();
rollback;
