#include "xmpp/listen.h"

#include <errno.h>
#include <string.h>

#include "core/alarm.h"
#include "core/module.h"

void xmpp_listen_init(struct xmpp_listen *l, struct env *env, const char *what)
{
	*l = (struct xmpp_listen){ .env = env, .what = what };
}

static size_t wanted(const struct addr *address, uint32_t port, struct addr out[XMPP_LISTEN_MAX])
{
	if (port == 0)
		return 0;
	if (address->family != ADDR_NONE) {
		out[0] = *address;
		out[0].port = (uint16_t)port;
		return 1;
	}
	addr_parse_ip(SLICE("0.0.0.0"), (uint16_t)port, &out[0]);
	addr_parse_ip(SLICE("::"), (uint16_t)port, &out[1]);
	return 2;
}

static int find(const struct xmpp_listen *l, const struct addr *local)
{
	for (size_t i = 0; i < l->n; i++)
		if (addr_eq(&l->at[i].local, local))
			return (int)i;
	return -1;
}

static void close_at(struct xmpp_listen *l, size_t i)
{
	char text[ADDR_STR_BYTES];

	alarm_clear(l->env->alarms, "xmpp-listen", addr_str(&l->at[i].local, text));
	stream_listener_free(l->at[i].listener);
	l->at[i] = l->at[--l->n];
}

static void close_others(struct xmpp_listen *l, const struct addr *keep, size_t n_keep)
{
	for (size_t i = l->n; i-- > 0;) {
		bool stays = false;

		for (size_t k = 0; k < n_keep; k++)
			stays |= addr_eq(&l->at[i].local, &keep[k]);
		if (!stays)
			close_at(l, i);
	}
}

/* A kernel without IPv6 serves IPv4. */
static bool may_miss(const struct addr *local, int error)
{
	return error == -EAFNOSUPPORT && local->family == ADDR_IP6;
}

static int report(const struct xmpp_listen *l, const struct addr *local, int error,
		  struct buf *errors)
{
	char text[ADDR_STR_BYTES];

	buf_printf(errors, "[xmpp] %s at %s: %s\n", l->what, addr_str(local, text),
		   strerror(-error));
	return error;
}

static int open_at(struct xmpp_listen *l, const struct addr *local,
		   const struct stream_listener_conf *c, struct buf *errors)
{
	struct stream_listener_conf conf = *c;
	int i = find(l, local), error = 0;
	struct stream_listener *listener;
	char text[ADDR_STR_BYTES];

	conf.local = *local;
	if (i >= 0) {
		stream_listener_configure(l->at[i].listener, &conf);
		return 0;
	}
	listener = stream_listener_new(l->env, &conf, &error);
	if (listener) {
		l->at[l->n].local = *local;
		l->at[l->n++].listener = listener;
		alarm_clear(l->env->alarms, "xmpp-listen", addr_str(local, text));
		return 0;
	}
	if (may_miss(local, error))
		return 0;
	alarm_raise(l->env->alarms, "xmpp-listen", addr_str(local, text), ALARM_ERROR,
		    "See which program has the port, or change the ports of [xmpp].",
		    "cannot listen for %s: %s", l->what, strerror(-error));
	return report(l, local, error, errors);
}

int xmpp_listen_configure(struct xmpp_listen *l, const struct addr *address, uint32_t port,
			  const struct stream_listener_conf *c, struct buf *errors)
{
	struct addr at[XMPP_LISTEN_MAX] = { 0 };
	size_t n = wanted(address, port, at);
	int first = 0;

	close_others(l, at, n);
	for (size_t i = 0; i < n; i++) {
		int error = open_at(l, &at[i], c, errors);

		first = first ? first : error;
	}
	return first;
}

int xmpp_listen_prepare(const struct xmpp_listen *l, const struct addr *address, uint32_t port,
			struct buf *errors)
{
	struct addr at[XMPP_LISTEN_MAX];
	size_t n = wanted(address, port, at);
	int first = 0;

	for (size_t i = 0; i < n; i++) {
		int error = find(l, &at[i]) >= 0 ? 0 : stream_listener_probe(&at[i]);

		if (error == 0 || may_miss(&at[i], error))
			continue;
		report(l, &at[i], error, errors);
		first = first ? first : error;
	}
	return first;
}

void xmpp_listen_close(struct xmpp_listen *l)
{
	close_others(l, NULL, 0);
}
