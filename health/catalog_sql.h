// SPDX-License-Identifier: ISC
//
// health/catalog_sql.h: the query that reads a database's catalog, for health/catalog_probe.
#ifndef PGSTEER_HEALTH_CATALOG_SQL_H
#define PGSTEER_HEALTH_CATALOG_SQL_H

// One row more than may be read tells that there are too many.
#define CATALOG_ROWS_MAX 100000 // a literal: it is part of the query

extern const char catalog_sql[]; // see there for its rows

#endif
