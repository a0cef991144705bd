# SPDX-License-Identifier: ISC
#
# DBD::Pg: everything about sessions that its users rely on, each case on connections of its own. Connects by the PG*
# environment variables. Prints what fails, and "N passed, N failed".
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types :async);
use File::Temp;
use Time::HiRes 'sleep';

my ($passed, $failed) = (0, 0);

sub connection {
    return DBI->connect('dbi:Pg:', undef, undef, {RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, @_});
}

sub is {
    my ($got, $expected, $what) = map { $_ // 'undef' } @_[0 .. 2];
    die "$what: '$got' is not '$expected'\n" if $got ne $expected;
}

sub fails {
    my ($handle, $sqlstate, $code) = @_;
    die "no error $sqlstate\n" if eval { $code->(); 1 };
    is($handle->state, $sqlstate, 'SQLSTATE');
}

sub eventually {
    my $check = shift;
    for (1 .. 500) {
        my $found = $check->();
        return $found if $found;
        sleep 0.01;
    }
    die "it does not happen\n";
}

sub test {
    my ($name, $body) = @_;
    local $SIG{ALRM} = sub { die "it takes too long\n" };
    alarm 30;
    my $ok = eval { $body->(); 1 };
    alarm 0;
    $ok ? $passed++ : $failed++;
    print "$name: $@" if !$ok;
    return;
}

test 'prepared statements', sub {
    my $db = connection();
    for my $on_server (0, 1) {
        my $st = $db->prepare('select ?::int + 1', {pg_server_prepare => $on_server});
        for my $i (1 .. 5) {
            $st->execute($i);
            is($st->fetchrow_array, $i + 1, 'sum');
        }
        next if !$on_server;
        is($db->selectrow_array('select count(*) from pg_prepared_statements where name = ?', {pg_server_prepare => 0},
            $st->{pg_prepare_name}), 1, 'by its name');
        is($db->selectrow_array('select count(*) from pg_prepared_statements', {pg_server_prepare => 0}), 1, 'alone');
        my $name = $st->{pg_prepare_name};
        undef $st;
        is($db->selectrow_array("select count(*) from pg_prepared_statements where name = '$name'"), 0, 'deallocated');
    }
    my $now = $db->prepare('select $1::text', {pg_prepare_now => 1});
    $now->execute('a');
    is($now->fetchrow_array, 'a', 'prepared at once');
    fails($db, '42703', sub { $db->prepare('select nope', {pg_prepare_now => 1}) });
};

test 'a statement of SQL, executed by the protocol', sub {
    my $db = connection();
    $db->do('prepare mine (int) as select $1 * 2');
    my $st = $db->prepare('select ? * 2');
    $st->{pg_prepare_name} = 'mine';
    $st->execute(21);
    is($st->fetchrow_array, 42, 'result');
};

test 'placeholders', sub {
    my $db = connection();
    $db->{pg_placeholder_dollaronly} = 1;
    is($db->selectrow_array(q{select '{"1": 2}'::jsonb ? '1' and $1::bool}, undef, 't'), 1, 'an operator ?');
    $db->{pg_placeholder_dollaronly} = 0;
    is($db->selectrow_array(q{select 'a?b' where ? = 'z'}, undef, 'z'), 'a?b', 'quoted');
    my $st = $db->prepare('select :x::int + :y');
    $st->bind_param(':x', 4);
    $st->bind_param(':y', 5);
    $st->execute;
    is($st->fetchrow_array, 9, 'named');
    $db->do('set standard_conforming_strings = off');
    is($db->selectrow_array("select 'a\\\\b'"), 'a\\b', 'backslashes');
};

test 'settings', sub {
    my ($db, $other) = (connection(), connection());
    $db->do($_) for 'set search_path = foo, public', "set my.tenant = 'a'", 'set role other';
    is($db->selectrow_array(q{select current_setting('search_path') || current_setting('my.tenant') || current_user}),
        'foo, publicaother', 'set');
    is($other->selectrow_array(q{select current_user || coalesce(current_setting('my.tenant', true), '')}), 'app', 'other');
    $db->do('reset role');
    $db->do('discard all');
    is($db->selectrow_array(q{select current_setting('search_path')}), '"$user", public', 'discarded');
    $db->do('set client_encoding = latin1');
    is($db->selectrow_array('select length(chr(233))'), 1, 'length');
};

test 'temporary tables', sub {
    my $db = connection(AutoCommit => 0);
    $db->do('create temp table kept (a int) on commit delete rows');
    $db->do('insert into kept values (1)');
    is($db->selectrow_array('select count(*) from kept'), 1, 'before');
    $db->commit;
    is($db->selectrow_array('select count(*) from kept'), 0, 'after');
    $db->commit;
};

test 'transactions and savepoints', sub {
    my $db = connection(AutoCommit => 0);
    $db->do('create temp table t (a int)');
    $db->do('insert into t values (1)');
    $db->pg_savepoint('x');
    $db->do('insert into t values (2)');
    $db->pg_rollback_to('x');
    $db->pg_savepoint('y');
    $db->do('insert into t values (3)');
    $db->pg_release('y');
    $db->commit;
    is(join(',', map { $_->[0] } @{$db->selectall_arrayref('select a from t order by a')}), '1,3', 'rows');
    fails($db, '22012', sub { $db->do('select 1 / 0') });
    fails($db, '25P02', sub { $db->do('select 1') });
    $db->rollback;
    $db->do('set transaction isolation level serializable');
    is($db->selectrow_array('show transaction_isolation'), 'serializable', 'level');
    $db->rollback;
    $db->{ReadOnly} = 1;
    fails($db, '25006', sub { $db->do('create table no (a int)') });
    $db->rollback;
};

test 'what is not committed is gone', sub {
    my $db = connection(AutoCommit => 0);
    $db->do('create table dbd_gone (a int)');
    $db->disconnect;
    my $other = connection();
    eventually(sub { !$other->selectrow_array(q{select count(*) from pg_locks l join pg_class c on c.oid = relation where relname = 'dbd_gone'}) });
    is($other->selectrow_array(q{select to_regclass('dbd_gone')}), undef, 'table');
};

test 'two-phase commit', sub {
    my $db = connection();
    $db->begin_work;
    $db->do('create table dbd_two (a int)');
    $db->do(q{prepare transaction 'dbd'});
    my $other = connection();
    $other->do(q{commit prepared 'dbd'});
    is($other->selectrow_array('select count(*) from dbd_two'), 0, 'rows');
    $other->do('drop table dbd_two');
};

test 'cursors', sub {
    my $db = connection(AutoCommit => 0);
    $db->do('declare c scroll cursor for select generate_series(1, 10)');
    my $st = $db->prepare('fetch 3 from c');
    $st->execute;
    is($st->rows, 3, 'rows');
    $db->do('move backward 2 from c');
    is($db->selectrow_array('fetch c'), 2, 'row');
    $db->commit;
    $db->do('declare h cursor with hold for select generate_series(1, 10)');
    $db->commit;
    is($db->selectrow_array('fetch h'), 1, 'held');
    $db->do('close h');
    $db->commit;
};

test 'LISTEN and NOTIFY', sub {
    my ($db, $other) = (connection(), connection());
    $db->do('listen dbdpg');
    $db->do(q{notify dbdpg, 'mine'});
    my $got = eventually(sub { $db->pg_notifies });
    is(join(',', @$got), join(',', 'dbdpg', $db->selectrow_array('select pg_backend_pid()'), 'mine'), 'own');
    $other->do('notify dbdpg');
    $got = eventually(sub { $db->pg_notifies });
    is(join(',', @$got), "dbdpg,$other->{pg_pid},", 'of another, to an idle client');
    $db->do('unlisten *');
    $other->do('notify dbdpg');
    is($db->selectrow_array('select 1'), 1, 'select');
    is($db->pg_notifies, undef, 'unlistened');
};

test 'asynchronous queries, cancelled and not', sub {
    my $db = connection();
    $db->do('select pg_sleep(0.2)', {pg_async => PG_ASYNC});
    is($db->pg_ready ? 1 : 0, 0, 'ready');
    is($db->pg_result, 1, 'result');
    my $st = $db->prepare('select 1 + ?', {pg_async => PG_ASYNC});
    $st->execute(1);
    $st->pg_result;
    is($st->fetchrow_array, 2, 'sum');
    my $other = connection(); # a cancel that comes before its query hits nothing
    $db->do('select pg_sleep(20), txid_current()', {pg_async => PG_ASYNC});
    eventually(sub { $other->selectrow_array("select state = 'active' from pg_stat_activity where pid = $db->{pg_pid}") });
    is($db->pg_cancel ? 1 : 0, 1, 'cancelled');
    $db->do('select pg_sleep(20), txid_current()', {pg_async => PG_ASYNC});
    $db->do('select 1', {pg_async => PG_ASYNC + PG_OLDQUERY_CANCEL});
    is($db->pg_result, 1, 'another one');
    for my $i (1 .. 30) { # a cancel may come when its query is over, and must not hit the next one
        $db->do('select 123', {pg_async => PG_ASYNC});
        $db->pg_cancel;
        is($db->selectrow_array("select $i"), $i, 'next');
    }
};

test 'large objects', sub {
    my $db = connection(AutoCommit => 0);
    my $object = $db->pg_lo_creat($db->{pg_INV_READ} | $db->{pg_INV_WRITE});
    my $data = 'abc' x 50000;
    my $handle = $db->pg_lo_open($object, $db->{pg_INV_WRITE});
    is($db->pg_lo_write($handle, $data, length $data), length $data, 'written');
    is($db->pg_lo_lseek($handle, 10, 0), 10, 'moved');
    is($db->pg_lo_tell($handle), 10, 'told');
    $db->pg_lo_close($handle);
    $handle = $db->pg_lo_open($object, $db->{pg_INV_READ});
    my ($part, $all) = ('', '');
    $all .= $part while $db->pg_lo_read($handle, $part, 4096);
    is($all, $data, 'read');
    $db->pg_lo_close($handle);
    $db->pg_lo_unlink($object);
    $db->commit;
    my $file = File::Temp->new;
    print {$file} 'z' x 20000;
    $file->flush;
    my $out = File::Temp->new;
    $object = $db->pg_lo_import($file->filename);
    $db->pg_lo_export($object, $out->filename);
    is(-s $out->filename, 20000, 'exported');
    $db->pg_lo_unlink($object);
    $db->commit;
};

test 'COPY', sub {
    my $db = connection();
    $db->do('create temp table copied (a int, b text)');
    $db->do('copy copied from stdin');
    $db->pg_putcopydata("$_\tx\n") for 1 .. 1000;
    $db->pg_putcopyend;
    is($db->selectrow_array('select count(*) from copied'), 1000, 'in');
    $db->do('copy (select a from copied order by a) to stdout');
    my ($row, $rows) = ('', 0);
    $rows++ while $db->pg_getcopydata($row) >= 0;
    is($rows, 1000, 'out');
    $db->do('copy copied from stdin');
    $db->pg_putcopydata("x\n");
    fails($db, '22P02', sub { $db->pg_putcopyend });
    is($db->selectrow_array('select count(*) from copied'), 1000, 'after the error');
};

test 'ping, and a process that is ended', sub {
    my $db = connection(AutoCommit => 0);
    is($db->ping, 1, 'idle');
    $db->do('select 1');
    is($db->ping, 3, 'in a transaction');
    eval { $db->do('selec') };
    is($db->ping, 4, 'in a failed one');
    $db->rollback;
    is($db->{pg_pid}, $db->selectrow_array('select pg_backend_pid()'), 'process id');
    $db->rollback;
    is(connection()->selectrow_array("select pg_terminate_backend($db->{pg_pid})"), 1, 'ended');
    eventually(sub { !$db->ping });
    my $own = connection();
    eval { $own->do('select pg_terminate_backend(pg_backend_pid())') };
    is($own->ping ? 1 : 0, 0, 'ended by itself');
};

test 'fields of errors', sub {
    my $db = connection();
    $db->do('create temp table checked (a int constraint positive check (a > 0))');
    fails($db, '23514', sub { $db->do('insert into checked values (-1)') });
    is($db->pg_error_field('pg_diag_constraint_name'), 'positive', 'constraint');
    is($db->pg_error_field('table'), 'checked', 'table');
};

test 'the catalog', sub {
    my $db = connection();
    $db->do(q{create temp table shown (id int primary key, b text default 'x')});
    is(($db->primary_key(undef, undef, 'shown'))[0], 'id', 'primary key');
    is(scalar @{$db->column_info(undef, undef, 'shown', '%')->fetchall_arrayref}, 2, 'columns');
};

test 'rows and arrays', sub {
    my $db = connection();
    $db->do('create temp table r (a int)');
    is($db->do('insert into r select generate_series(1, 5)'), 5, 'inserted');
    is($db->do('delete from r where a > 100'), '0E0', 'deleted');
    my $st = $db->prepare('insert into r values (?) returning a');
    my @status;
    is($st->execute_array({ArrayTupleStatus => \@status}, [1 .. 10]), 10, 'executed');
    my $arrays = $db->prepare('select ?::int[]');
    $arrays->execute([1, 2]);
    is($arrays->fetchrow_array->[1], 2, 'array');
    is($db->selectrow_array('select length(?)', undef, "\x{263a}é"), 2, 'characters');
};

print "$passed passed, $failed failed\n";
exit($failed ? 1 : 0);
