-- Comments, hints among them, change nothing of an answer.
create table h (v int);
insert into h values (1);
/* pgsteer: primary */ select * from h;
/* pgsteer: replica */ select * from h;
select /* pgsteer: primary */ v from h;
/* pgsteer: replica */ insert into h values (2);
/* pgsteer: replica */ select v from h for update;
/* pgsteer: nonsense */ select count(*) from h;
/* pgsteer: replica */ begin;
/* pgsteer: replica */ select count(*) from h;
insert into h values (3);
/* pgsteer: replica */ select count(*) from h;
commit;
/* pgsteer: replica */ select count(*) from h;
-- pgsteer: replica
select count(*) from h;
/* pgsteer: primary
select 1;
*/ select 2;
/* pgsteer: replica */ set work_mem = '5MB';
/* pgsteer: replica */ show work_mem;
reset work_mem;
drop table h;
