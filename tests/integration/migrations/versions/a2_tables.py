# SPDX-License-Identifier: ISC
"""An enum, tables with foreign keys, and rows made by Python."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "a2", "a1"

KIND = sa.Enum("free", "paid", name="plan_kind")


def upgrade():
    plan = op.create_table("plan", sa.Column("id", sa.Integer, primary_key=True), sa.Column("kind", KIND, nullable=False),
                           sa.Column("data", sa.JSON))
    op.bulk_insert(plan, [{"kind": "free", "data": {"n": n}} for n in range(20)])
    op.create_table("subscription", sa.Column("member_id", sa.Integer, sa.ForeignKey("member.id"), primary_key=True),
                    sa.Column("plan_id", sa.Integer, sa.ForeignKey("plan.id"), primary_key=True))
    found = op.get_bind().execute(sa.text("select id from member order by id")).scalars().all()
    for number in found[:10]:
        op.execute(sa.text("insert into subscription values (:m, 1)").bindparams(m=number))


def downgrade():
    op.drop_table("subscription")
    op.drop_table("plan")
    KIND.drop(op.get_bind())
