#ifndef TURN_RESERVATION_H
#define TURN_RESERVATION_H
/* Ports kept for a second allocation of the same user, each counted for its quota. */
#include "turn/server_impl.h"

/* 0 with the token; -EDQUOT, -EBUSY (the port is not free, or too many are reserved), -ENOMEM. */
int turn_reserve(struct turn_server *s, uint8_t family, uint16_t port, struct slice person,
		 uint64_t *token);
/* What it came with failed. */
void turn_unreserve(struct turn_server *s, uint64_t token);
/* The port and the count in the user's quota become the caller's. 0: no such token of this user. */
uint16_t turn_reservation_claim(struct turn_server *s, uint64_t token, struct slice person,
				uint8_t *family, struct turn_use **use);
void turn_reservations_free(struct turn_server *s);

#endif
