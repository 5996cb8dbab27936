// This file documents the package, and what a program has to do to be measured.

// Package load measures the gateway, and other programs beside it, under the load
// of a simulated Discord: it is what "gateway-bench run" does.
//
// The simulator runs in a process of its own and each subject in another, so that
// what is measured is the subject's process as a whole: its CPU time and memory
// as the system counts them. Subjects take turns, so that a busy machine
// disturbs all of them alike.
//
// A program that is not ours can be measured if it keeps to Protocol.
package load

// Protocol says what a program has to do to be measured.
const Protocol = `A program can be measured that keeps to this. Its environment says where Discord
is: DISCORD_TOKEN, DISCORD_API_URL (such as https://127.0.0.1:1234/api/v10), the
same in two parts as DISCORD_API_PROTOCOL and DISCORD_API_HOST, the certificate
to trust in DISCORD_API_CA_FILE, SSL_CERT_FILE and NODE_EXTRA_CA_CERTS,
DISCORD_SHARD_COUNT, DISCORD_INTENTS (a number) and DISCORD_COMPRESSION
(zstd-stream, zlib-stream or none). It connects all shards and writes to standard
output a line for each event whose sequence number is a multiple of BENCH_SAMPLE,
which begins like

	{"event":"MESSAGE_CREATE","shard":3,"seq":64

It may begin with a line {"peer":"name version","compression":"zlib-payload"}
that says what it is and what compression it really uses. It ends on SIGTERM.
The process that is started is the one that is measured: a shell script runs the
program with exec.
`
