// SPDX-License-Identifier: ISC
//
// router/wire/proto.h: the letters and numbers of protocol 3.0.
//
// PostgreSQL 15 documentation, chapter 55 (Frontend/Backend Protocol), and src/include/libpq/pqcomm.h. The only place
// in the project where such a literal stands.
#ifndef PGSTEER_ROUTER_WIRE_PROTO_H
#define PGSTEER_ROUTER_WIRE_PROTO_H

// Messages from the frontend.
enum frontend_message {
    FE_BIND = 'B',
    FE_CLOSE = 'C',
    FE_COPY_DATA = 'd',
    FE_COPY_DONE = 'c',
    FE_COPY_FAIL = 'f',
    FE_DESCRIBE = 'D',
    FE_EXECUTE = 'E',
    FE_FLUSH = 'H',
    FE_FUNCTION_CALL = 'F',
    FE_PARSE = 'P',
    FE_PASSWORD = 'p', // also SASLInitialResponse and SASLResponse
    FE_QUERY = 'Q',
    FE_SYNC = 'S',
    FE_TERMINATE = 'X'
};

// Messages from the backend.
enum backend_message {
    BE_AUTHENTICATION = 'R',
    BE_BACKEND_KEY_DATA = 'K',
    BE_BIND_COMPLETE = '2',
    BE_CLOSE_COMPLETE = '3',
    BE_COMMAND_COMPLETE = 'C',
    BE_COPY_DATA = 'd',
    BE_COPY_DONE = 'c',
    BE_COPY_IN_RESPONSE = 'G',
    BE_COPY_OUT_RESPONSE = 'H',
    BE_COPY_BOTH_RESPONSE = 'W',
    BE_DATA_ROW = 'D',
    BE_EMPTY_QUERY = 'I',
    BE_ERROR = 'E',
    BE_FUNCTION_CALL_RESPONSE = 'V',
    BE_NEGOTIATE_PROTOCOL_VERSION = 'v',
    BE_NO_DATA = 'n',
    BE_NOTICE = 'N',
    BE_NOTIFICATION = 'A',
    BE_PARAMETER_DESCRIPTION = 't',
    BE_PARAMETER_STATUS = 'S',
    BE_PARSE_COMPLETE = '1',
    BE_PORTAL_SUSPENDED = 's',
    BE_READY_FOR_QUERY = 'Z',
    BE_ROW_DESCRIPTION = 'T'
};

// Codes in the place of a protocol version at the start of a connection.
enum {
    PROTO_VERSION_3_0 = 196608,
    PROTO_MAJOR = 3,
    PROTO_CANCEL_REQUEST = 80877102,
    PROTO_SSL_REQUEST = 80877103,
    PROTO_GSSENC_REQUEST = 80877104
};

// The number in an Authentication message.
enum {
    PROTO_AUTH_OK = 0,
    PROTO_AUTH_CLEARTEXT = 3,
    PROTO_AUTH_MD5 = 5,
    PROTO_AUTH_SASL = 10,
    PROTO_AUTH_SASL_CONTINUE = 11,
    PROTO_AUTH_SASL_FINAL = 12
};

// The status in ReadyForQuery.
enum { PROTO_TX_IDLE = 'I', PROTO_TX_ACTIVE = 'T', PROTO_TX_FAILED = 'E' };

// What Describe and Close name.
enum { PROTO_KIND_STATEMENT = 'S', PROTO_KIND_PORTAL = 'P' };

// Fields of ErrorResponse and NoticeResponse; the rest is passed on unread.
enum {
    PROTO_FIELD_SEVERITY = 'S',
    PROTO_FIELD_SEVERITY_NONLOCALIZED = 'V',
    PROTO_FIELD_SQLSTATE = 'C',
    PROTO_FIELD_MESSAGE = 'M',
    PROTO_FIELD_DETAIL = 'D',
    PROTO_FIELD_HINT = 'H'
};

// Lengths as they stand in a message: they count themselves but not the type byte.
enum {
    PROTO_STARTUP_MAX = 10000,          // MAX_STARTUP_PACKET_LENGTH
    PROTO_AUTH_MAX = 65535,             // PG_MAX_AUTH_TOKEN_LENGTH: passwords and SASL responses
    PROTO_SASL_MAX = 1024,              // PG_MAX_SASL_MESSAGE_LENGTH
    PROTO_AUTH_REQUEST_MAX = 2000,      // libpq's bound for Authentication messages
    PROTO_HEADER_LEN = 5,               // type and length
    PROTO_SMALL_MAX = 10000,            // PQ_SMALL_MESSAGE_LIMIT
    PROTO_LARGE_MAX = 0x3ffffffe,       // PQ_LARGE_MESSAGE_LIMIT: MaxAllocSize - 1
    PROTO_SERVER_SMALL_MAX = 30000,     // libpq's bound for messages that carry no user data
    PROTO_SERVER_LARGE_MAX = 0x40000003 // a server's StringInfo (MaxAllocSize) and the length itself
};

#endif
