-- Tablespaces, in place.
set allow_in_place_tablespaces = on;
create tablespace regress_space location '';
create table t (v int) tablespace regress_space;
insert into t values (1);
select * from t;
select spcname from pg_tablespace where spcname ~ '^regress';
alter tablespace regress_space rename to regress_space2;
alter tablespace regress_space2 set (seq_page_cost = 2);
alter tablespace regress_space2 owner to conf;
alter table t set tablespace pg_default;
select * from t;
drop tablespace regress_space2;
drop tablespace regress_space2;
drop table t;
