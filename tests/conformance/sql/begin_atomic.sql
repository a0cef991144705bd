-- SQL functions with bodies of the standard's form.
create table b (v int);
create function ba(n int) returns int language sql volatile begin atomic insert into b values (n); select count(*)::int from b; end;
select ba(1), ba(2);
create procedure bp() begin atomic delete from b; end;
call bp();
select count(*) from b;
create function br(n int) returns int immutable return n + 1;
select br(1);
drop table b;
drop function ba;
drop procedure bp;
drop function br;
drop table b;
