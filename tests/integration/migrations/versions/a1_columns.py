# SPDX-License-Identifier: ISC
"""Columns come, are filled, and get their constraints."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "a1", None


def upgrade():
    op.add_column("member", sa.Column("email", sa.String(200)))
    op.execute("update member set email = name || '@example.org'")
    op.alter_column("member", "email", nullable=False)
    op.create_unique_constraint("member_email", "member", ["email"])
    op.add_column("member", sa.Column("score", sa.Integer, server_default="0", nullable=False))
    op.create_check_constraint("member_score", "member", "score >= 0")


def downgrade():
    op.drop_constraint("member_score", "member")
    op.drop_column("member", "score")
    op.drop_constraint("member_email", "member")
    op.drop_column("member", "email")
