/*
 * Ports kept for a second allocation (EVEN-PORT with R, RESERVATION-TOKEN: RFC 8656 section 7.2).
 * Each counts as an allocation of its user until it is claimed or its time is over.
 *
 *   made --claim--> the port and the count are the new allocation's
 *        --30 s---> both are given back
 */
#include "turn/reservation.h"

#include <errno.h>
#include <stdlib.h>

struct turn_reservation {
	struct list node;
	struct turn_server *server;
	struct timer timer;
	struct turn_use *use;
	uint64_t token;
	uint8_t family;
};

static struct turn_ports *ports_of(struct turn_server *s, uint8_t family)
{
	return s->ports[family - ADDR_IP4];
}

static void reservation_free(struct turn_reservation *r)
{
	timer_stop(r->server->timers, &r->timer);
	list_del(&r->node);
	if (r->use)
		turn_usage_leave(&r->server->usage, r->use);
	free(r);
}

static void expired(void *arg)
{
	struct turn_reservation *r = arg;

	turn_ports_release(ports_of(r->server, r->family), r->token);
	reservation_free(r);
}

int turn_reserve(struct turn_server *s, uint8_t family, uint16_t port, struct slice person,
		 uint64_t *token)
{
	struct turn_reservation *r = calloc(1, sizeof(*r));
	int64_t now = turn_now(s);
	int err;

	if (!r)
		return -ENOMEM;
	list_init(&r->node);
	r->server = s;
	r->family = family;
	timer_init(&r->timer, expired, r);
	err = turn_usage_enter(&s->usage, person, s->conf.user_quota, &r->use);
	if (err < 0)
		goto fail;
	err = -EBUSY;
	r->token = turn_ports_reserve(ports_of(s, family), port, now, now + s->conf.reservation_ms);
	if (r->token == 0)
		goto fail;
	list_add_tail(&s->reservations, &r->node);
	timer_start(s->timers, &r->timer, s->conf.reservation_ms);
	*token = r->token;
	return 0;
fail:
	reservation_free(r);
	return err;
}

static struct turn_reservation *find(struct turn_server *s, uint64_t token)
{
	LIST_FOREACH (it, &s->reservations) {
		struct turn_reservation *r = CONTAINER_OF(it, struct turn_reservation, node);

		if (r->token == token)
			return r;
	}
	return NULL;
}

void turn_unreserve(struct turn_server *s, uint64_t token)
{
	struct turn_reservation *r = find(s, token);

	if (r)
		expired(r);
}

uint16_t turn_reservation_claim(struct turn_server *s, uint64_t token, struct slice person,
				uint8_t *family, struct turn_use **use)
{
	struct turn_reservation *r = find(s, token);
	uint16_t port;

	if (!r || !slice_eq(person, (struct slice){ r->use->user, r->use->n }))
		return 0;
	port = turn_ports_claim(ports_of(s, r->family), token, turn_now(s));
	if (port == 0)
		return 0;
	*family = r->family;
	*use = r->use;
	r->use = NULL;
	reservation_free(r);
	return port;
}

void turn_reservations_free(struct turn_server *s)
{
	LIST_FOREACH_SAFE (it, &s->reservations)
		expired(CONTAINER_OF(it, struct turn_reservation, node));
}
