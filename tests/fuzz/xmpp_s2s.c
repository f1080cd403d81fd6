/*
 * Streams between servers, with a peer that sends anything. The first byte: bit 0 we open the
 * stream (else the peer does), bit 1 direct TLS, bit 2 its certificate is good for b.example, bit 3
 * bidi, bits 4 and 5 what authenticates, bit 6 TLS is required, bit 7 it is allowed to come in. The
 * rest is written on its stream; 0xff waits until nothing moves, 0xfe lets ten seconds pass, 0xfd
 * goes to the next of its streams, $ is the id of the stream as we told it.
 *
 * Held against it: nothing is delivered that no proof allows. Nobody answers our questions about
 * dialback keys, so that for who comes in only the good certificate is one, and only for b.example.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/xmpp_s2s_box.h"

#define A "a.example"
#define B "b.example"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WE_OPEN = 1, DIRECT = 2, GOOD = 4, BIDI = 8, TLS_REQUIRED = 64, MAY_COME = 128 };

static unsigned flags;

/* What came back of the one stanza that we sent. */
static bool is_bounce(const struct xml_node *e)
{
	const char *type = xml_node_attr(e, "type"), *id = xml_node_attr(e, "id");

	return type && strcmp(type, "error") == 0 && id && strcmp(id, "1") == 0 &&
	       xml_node_child(e, XMPP_SERVER, "error");
}

static void deliver(void *arg, const char *local, const char *remote, struct xml_node *e,
		    struct xml_arena *arena)
{
	const char *from = xml_node_attr(e, "from"), *to = xml_node_attr(e, "to");
	bool proof = (flags & MAY_COME) && (flags & WE_OPEN ? flags & BIDI : flags & GOOD);

	if (strcmp(local, A) != 0 || strcmp(remote, B) != 0 || !from || !to)
		abort();
	if (!proof && !((flags & WE_OPEN) && is_bounce(e)))
		abort();
}

static void find_id(const char *text, size_t n, char id[64])
{
	const char *p = memmem(text, n, " id='", 5), *end;

	if (!p)
		return;
	p += 5;
	end = memchr(p, '\'', n - (size_t)(p - text));
	if (end && end - p < 64) {
		memcpy(id, p, (size_t)(end - p));
		id[end - p] = '\0';
	}
}

static void read_all(struct stream **s, char id[64])
{
	char text[4096];
	int n;

	while (*s && (n = evbuffer_remove(stream_in(*s), text, sizeof(text))) > 0) {
		find_id(text, (size_t)n, id);
		stream_consumed(*s);
	}
}

static void settle(struct s2s_world *w)
{
	for (int i = 0; i < 10; i++) {
		loop_once(w->env.loop, 0);
		timerq_run(&w->timers, w->timers.now_ms);
	}
}

static void play(struct s2s_world *w, struct s2s_box *b, const uint8_t *p, size_t n)
{
	size_t at = 0;
	unsigned n_moves = 0;
	char id[64] = "";

	for (size_t i = 0; i < n; i++) {
		struct stream **s = &b->script[at];

		if (p[i] < 0xfd) {
			if (*s && p[i] == '$')
				evbuffer_add(stream_out(*s), id, strlen(id));
			else if (*s)
				evbuffer_add(stream_out(*s), &p[i], 1);
			continue;
		}
		if (++n_moves > 30)
			break;
		if (*s)
			stream_flush(*s);
		settle(w);
		read_all(s, id);
		if (p[i] == 0xfe)
			timerq_run(&w->timers, w->timers.now_ms + 10000);
		if (p[i] == 0xfd)
			at = (at + 1) % S2S_SCRIPT_STREAMS;
	}
	if (b->script[at])
		stream_flush(b->script[at]);
	settle(w);
}

static void set_policy(struct s2s_box *a)
{
	struct s2s_policy p = { .allowed = true, .auth = (enum s2s_auth)((flags >> 4 & 3) % 3) };

	p.tls = flags & TLS_REQUIRED ? S2S_TLS_REQUIRED : S2S_TLS_OPTIONAL;
	a->in = a->out = p;
	a->in.allowed = flags & MAY_COME;
	a->conf.bidi = flags & BIDI;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct s2s_ops ops;
	struct s2s_world *w;
	struct s2s_box *a, *b;

	if (size < 2 || size > 4096)
		return 0;
	flags = data[0];
	ops = s2s_box_ops;
	ops.deliver = deliver;
	w = s2s_world_new();
	a = s2s_world_add(w, A, false);
	b = s2s_world_add(w, B, true);
	b->shown = flags & GOOD ? CERT_GOOD : CERT_NONE;
	b->direct_tls = flags & DIRECT;
	s2s_free(a->s2s);
	set_policy(a);
	a->s2s = s2s_new(&w->env, &ops, a);
	s2s_configure(a->s2s, &a->conf);
	if (flags & WE_OPEN) {
		s2s_box_send(a, A, B, "hello");
		settle(w);
		play(w, b, data + 1, size - 1);
	} else {
		s2s_script_dial(b, a, flags & DIRECT);
		/* Questions about keys reach nobody. */
		b->is_down = true;
		play(w, b, data + 1, size - 1);
	}
	s2s_world_free(w);
	return 0;
}
