# SPDX-License-Identifier: ISC
"""A column's type and name change; a value of an enum outside a transaction; a view."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "a3", "a2"


def upgrade():
    op.alter_column("member", "score", type_=sa.BigInteger, new_column_name="points")
    with op.get_context().autocommit_block():
        op.execute("alter type plan_kind add value if not exists 'trial'")
    op.execute("insert into plan (kind) values ('trial')")
    op.execute("create view rich as select id, name, points from member where points > 10")


def downgrade():
    op.execute("drop view rich")
    op.execute("delete from plan where kind = 'trial'")
    op.alter_column("member", "points", type_=sa.Integer, new_column_name="score")
