// SPDX-License-Identifier: ISC
//
// parser/tx_modes.h: the modes of a transaction.
//
// What BEGIN, SET TRANSACTION and the default_transaction_... parameters say: isolation level, access, deferrable; each
// may be left open. One byte, by value.
#ifndef PGSTEER_PARSER_TX_MODES_H
#define PGSTEER_PARSER_TX_MODES_H

#include "base/base.h"

enum tx_isolation {
    TX_ISOLATION_NONE, // not said
    TX_ISOLATION_READ_UNCOMMITTED,
    TX_ISOLATION_READ_COMMITTED,
    TX_ISOLATION_REPEATABLE_READ,
    TX_ISOLATION_SERIALIZABLE
};
enum tx_access { TX_ACCESS_NONE, TX_ACCESS_READ_ONLY, TX_ACCESS_READ_WRITE };
enum tx_deferrable { TX_DEFERRABLE_NONE, TX_DEFERRABLE_ON, TX_DEFERRABLE_OFF };

struct tx_modes {
    uint8_t isolation : 3;  // enum tx_isolation
    uint8_t access : 2;     // enum tx_access
    uint8_t deferrable : 2; // enum tx_deferrable
};

// `base`, but for what `said` says.
static inline struct tx_modes tx_modes_over(struct tx_modes base, struct tx_modes said) {
    if (said.isolation) base.isolation = said.isolation;
    if (said.access) base.access = said.access;
    if (said.deferrable) base.deferrable = said.deferrable;
    return base;
}

#endif
