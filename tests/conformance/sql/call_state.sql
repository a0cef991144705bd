-- State that a CALL leaves in its session.
create procedure temp_one() language plpgsql as $$ begin create temp table made as select 5 as v; commit; end $$;
call temp_one();
select * from made;
drop procedure temp_one;
