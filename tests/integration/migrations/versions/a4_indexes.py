# SPDX-License-Identifier: ISC
"""Indexes made and dropped concurrently, which no transaction may hold; settings for the migration alone."""
from alembic import op

revision, down_revision = "a4", "a3"


def upgrade():
    op.execute("set local lock_timeout = '20s'")
    op.execute("set local search_path = pg_catalog")
    op.execute("create function public.greet(text) returns text language sql as 'select ''hello '' || $1'")
    with op.get_context().autocommit_block():
        op.create_index("member_points", "member", ["points"], postgresql_concurrently=True)


def downgrade():
    with op.get_context().autocommit_block():
        op.drop_index("member_points", "member", postgresql_concurrently=True)
    op.execute("drop function greet(text)")
