-- Defaults of a role and of the database hold from the next connection on.
alter role conf set work_mem = '17MB';
show work_mem;
alter database conf set statement_timeout = '77s';
show statement_timeout;
alter role conf reset work_mem;
alter database conf reset statement_timeout;
set default_statistics_target = 50;
show default_statistics_target;
set default_statistics_target to default;
show default_statistics_target;
set default_table_access_method = 'heap';
set default_tablespace = 'nothing';
set default_tablespace = '';
set temp_buffers = '4MB';
show temp_buffers;
set default_text_search_config = 'simple';
select to_tsvector('The Foxes');
reset default_text_search_config;
