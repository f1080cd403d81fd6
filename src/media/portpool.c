#include "media/portpool.h"

#include <errno.h>
#include <stdlib.h>

int portpool_init(struct portpool *p, struct conf_ports ports)
{
	uint32_t first = ports.first + (ports.first & 1u);
	uint32_t end = (uint32_t)ports.last + 1;

	*p = (struct portpool){ 0 };
	if (first == 0 || end < first + 2)
		return -EINVAL;
	p->first = (uint16_t)first;
	p->n_pairs = (end - first) / 2;
	p->pairs = calloc(p->n_pairs, sizeof(*p->pairs));
	return p->pairs ? 0 : -ENOMEM;
}

void portpool_fini(struct portpool *p)
{
	free(p->pairs);
	*p = (struct portpool){ 0 };
}

bool portpool_holds(const struct portpool *p, uint16_t port)
{
	return port >= p->first && (port - p->first) / 2u < p->n_pairs;
}

uint16_t portpool_take(struct portpool *p, int64_t now_ms)
{
	for (uint32_t i = 0; i < p->n_pairs; i++) {
		uint32_t at = (p->next + i) % p->n_pairs;
		struct portpool_pair *pair = &p->pairs[at];

		if (pair->taken || pair->free_at_ms > now_ms)
			continue;
		pair->taken = true;
		p->n_taken++;
		p->next = (at + 1) % p->n_pairs;
		return (uint16_t)(p->first + 2 * at);
	}
	return 0;
}

void portpool_put(struct portpool *p, uint16_t rtp_port, int64_t now_ms)
{
	struct portpool_pair *pair;

	if (!portpool_holds(p, rtp_port))
		return;
	pair = &p->pairs[(rtp_port - p->first) / 2u];
	if (!pair->taken)
		return;
	pair->taken = false;
	pair->free_at_ms = now_ms + PORTPOOL_QUARANTINE_MS;
	p->n_taken--;
}

int portpool_resize(struct portpool *p, struct conf_ports ports)
{
	struct portpool next;
	int err = portpool_init(&next, ports);

	if (err < 0)
		return err;
	for (uint32_t i = 0; i < p->n_pairs; i++) {
		uint16_t port = (uint16_t)(p->first + 2 * i);
		struct portpool_pair *to;

		if (!portpool_holds(&next, port))
			continue;
		to = &next.pairs[(port - next.first) / 2u];
		*to = p->pairs[i];
		next.n_taken += to->taken;
	}
	portpool_fini(p);
	*p = next;
	return 0;
}
