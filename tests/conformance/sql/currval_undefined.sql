-- currval and lastval before any nextval of the session.
create sequence s;
select lastval();
select currval('s');
drop sequence s;
