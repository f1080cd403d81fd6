#ifndef TURN_PORTS_H
#define TURN_PORTS_H
/*
 * Ports of relays of one family: which are taken, which are reserved (EVEN-PORT with R, RFC 8656
 * 7.2) and until when. Handed out at random (RFC 8656 21.4). Numbers only: whether the kernel lets
 * us bind is for the caller to find out; -EADDRINUSE there means put it back and take another.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct turn_ports;

/* 0 < first <= last. NULL without memory, or when it is no range. fill gives random bytes:
 * net_random in the daemon. */
struct turn_ports *turn_ports_new(uint16_t first, uint16_t last, void (*fill)(void *p, size_t n));
void turn_ports_free(struct turn_ports *p);
/* Another range: what is taken outside of it stays so until it is put back; what is reserved there
 * until it expires, and is not handed out any more. -ENOMEM or -EINVAL: nothing changed. */
int turn_ports_resize(struct turn_ports *p, uint16_t first, uint16_t last);
/* A free port, or 0. even: an even one; pair: an even one, and the one above it is free as well (it
 * is not taken by this). Takes the same time however many are taken. */
uint16_t turn_ports_take(struct turn_ports *p, bool even, bool pair, int64_t now_ms);
/* Gives back what was taken or claimed; of any other port it does nothing. */
void turn_ports_put(struct turn_ports *p, uint16_t port);
/* Keeps a free port of the range for whoever brings the token before until_ms. The token (never 0,
 * random) or 0: not free, or as many stand as may: a quarter of the range, at most 1024. */
uint64_t turn_ports_reserve(struct turn_ports *p, uint16_t port, int64_t now_ms, int64_t until_ms);
/* The reserved port becomes taken. 0: no such token, or expired. */
uint16_t turn_ports_claim(struct turn_ports *p, uint64_t token, int64_t now_ms);
/* Gives a reservation back before its time (what it came with failed or ended). */
void turn_ports_release(struct turn_ports *p, uint64_t token);
/* Ports of the range, and those of them that are taken or reserved. */
uint32_t turn_ports_n(const struct turn_ports *p);
uint32_t turn_ports_n_used(const struct turn_ports *p, int64_t now_ms);

#endif
