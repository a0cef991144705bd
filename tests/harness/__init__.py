# SPDX-License-Identifier: ISC
"""What the tests in tests/integration and tests/wire share: routers to start, loads to run."""
