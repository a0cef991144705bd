-- SPDX-License-Identifier: ISC
select * from bench_1mb;
