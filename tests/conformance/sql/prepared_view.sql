-- What pg_prepared_statements shows.
prepare by_id (int) as select $1;
prepare ins (text) as select $1;
select name, statement, parameter_types, from_sql from pg_prepared_statements order by name;
deallocate all;
select name, statement, parameter_types, from_sql from pg_prepared_statements order by name;
