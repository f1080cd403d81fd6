/*
 * A hostile client and a hostile C against the machine between them. Whatever they say: before a
 * success of the server nothing but a header, elements of SASL and our own stream error reaches the
 * link; all that is printed to either side is one well-formed stream after the other, on as many
 * connections as it takes while it parks; and nothing is left in the end.
 *
 * The input is a row of steps: a byte that says who and what, and for free text its length and the
 * bytes.
 */
#include "support/xmpp_c2s_edge_rig.h"

#include "proto/xml_stream.h"
#include "xmpp/sasl.h"

#define MAX_STEPS 64

#define STREAM_TO(more)                                                                         \
	"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" XMPP_STREAMS \
	"' version='1.0' " more ">"

/* Whole words, so that the deep states are near. */
static const char *const words[] = {
	STREAM_TO("to='example.com' from='a@example.com'"),
	STREAM_TO("from='example.com' id='s'"),
	"<starttls xmlns='" XMPP_TLS "'/>",
	"<auth xmlns='" XMPP_SASL "' mechanism='PLAIN'>AGFsaWNlAHNlY3JldA==</auth>",
	"<auth xmlns='" XMPP_SASL "' mechanism='SCRAM-SHA-1'>biwsbj1hLHI9Yg==</auth>",
	"<authenticate xmlns='" XMPP_SASL2 "' mechanism='PLAIN'><initial-response>AGEAYg=="
	"</initial-response></authenticate>",
	"<response xmlns='" XMPP_SASL "'>eA==</response>",
	"<abort xmlns='" XMPP_SASL "'/>",
	"<challenge xmlns='" XMPP_SASL "'>eA==</challenge>",
	"<success xmlns='" XMPP_SASL "'/>",
	"<success xmlns='" XMPP_SASL2 "'><authorization-identifier>a@example.com/r"
	"</authorization-identifier></success>",
	"<failure xmlns='" XMPP_SASL "'><not-authorized/></failure>",
	"<stream:features><mechanisms xmlns='" XMPP_SASL "'><mechanism>PLAIN</mechanism>"
	"</mechanisms></stream:features>",
	"<iq type='result' id='b'><bind xmlns='" XMPP_BIND
	"'><jid>a@example.com/r</jid></bind></iq>",
	"<enabled xmlns='" XMPP_SM "' id='x' resume='true'/>",
	"<message to='b@example.com'><body>x</body></message>",
	"<stream:error><conflict xmlns='" XMPP_STREAM_ERROR "'/></stream:error>",
	"</stream:stream>",
	" ",
};
#define N_WORDS (sizeof(words) / sizeof(words[0]))

static uint64_t last_id; /* E's name of what parked last */

struct ear {
	struct c2s_rig *rig;
	struct xml_stream *xml;
	bool is_link;
};

static void on_header(void *arg, const struct xmpp_header *h)
{
}

static void on_element(void *arg, struct xml_node *e, struct xml_arena *arena)
{
	struct ear *ear = arg;

	if (!ear->is_link || c2s_edge_stats(ear->rig->edge).n_auth_good > 0)
		return;
	/* A C that breaks the rules is told so. */
	if (xml_node_is(e, XMPP_STREAMS, "error"))
		return;
	switch (sasl_element_of(e)) {
	case SASL_START:
	case SASL_RESPONSE:
	case SASL_ABORT:
	case SASL_NEXT:
	case SASL_DATA:
		return;
	default:
		abort();
	}
}

static void on_space(void *arg)
{
	struct ear *ear = arg;

	if (ear->is_link && c2s_edge_stats(ear->rig->edge).n_auth_good == 0)
		abort();
}

static void on_end(void *arg)
{
}

/* "park", in streams that have signed in. */
static int on_frame(void *arg, struct slice bytes)
{
	struct ear *ear = arg;
	struct preface p;
	const char *why;
	int used = preface_parse(bytes, &p, &why);

	if (!ear->is_link || used <= 0 || p.kind != PREFACE_PARK ||
	    c2s_edge_stats(ear->rig->edge).n_auth_good == 0)
		abort();
	last_id = p.stream;
	return used;
}

static const struct xml_stream_events events = {
	.frame = on_frame,
	.header = on_header,
	.element = on_element,
	.space = on_space,
	.end = on_end,
};

/* Everything heard up to now. */
static void hear(struct ear *ear, struct xmpp_far *f)
{
	static const char start[] = "<?xml ";
	struct slice rest = buf_slice(&f->in);

	while (rest.n > 0) {
		const char *next = memmem(rest.p + 1, rest.n - 1, start, sizeof(start) - 1);
		struct slice part = { rest.p, next ? (size_t)(next - rest.p) : rest.n };

		if (slice_starts(part, SLICE("<?xml ")))
			xml_stream_restart(ear->xml, false);
		if (xml_stream_feed(ear->xml, part) < 0)
			abort();
		rest = (struct slice){ part.p + part.n, rest.n - part.n };
	}
	buf_reset(&f->in);
}

static void say(struct c2s_rig *r, struct xmpp_far *f, struct slice text)
{
	if (f->s)
		xmpp_far_say_bytes(f, &r->rig, text);
}

static void hang_up(struct c2s_rig *r, struct xmpp_far *f, bool now)
{
	if (now)
		stream_abort(f->s);
	else
		stream_close(f->s);
	f->s = NULL;
	xmpp_rig_turn(&r->rig);
}

static void say_frame(struct c2s_rig *r, struct xmpp_far *f, uint8_t what)
{
	struct preface p = { .kind = what & 2 ? PREFACE_PARK : PREFACE_PARKED,
			     .stream = 1 + (what & 1),
			     .keep = what == 0x58 };
	struct buf b;

	buf_init(&b, 8192);
	if (preface_print(&p, &b) == 0)
		say(r, f, buf_slice(&b));
	buf_fini(&b);
}

/* Over the control channel. */
static void call(struct c2s_rig *r, uint8_t what)
{
	if (what & 1)
		c2s_edge_cut(r->edge, 1, last_id);
	else
		c2s_edge_resume(r->edge, 1, last_id);
	xmpp_rig_turn(&r->rig);
}

/* Returns what is left of the input. */
static struct slice step(struct c2s_rig *r, struct slice in)
{
	uint8_t what = (uint8_t)in.p[0];
	struct xmpp_far *f = what & 0x80 ? &r->link : &r->client;
	size_t n;

	in = (struct slice){ in.p + 1, in.n - 1 };
	what &= 0x7f;
	if (what < N_WORDS) {
		say(r, f, slice_of(words[what]));
	} else if (what >= 0x58 && what < 0x5c) {
		say_frame(r, f, what);
	} else if (what >= 0x5c && what < 0x60) {
		call(r, what);
	} else if (what < 0x58 && in.n > 0) {
		n = (uint8_t)in.p[0];
		if (n > in.n - 1)
			n = in.n - 1;
		say(r, f, (struct slice){ in.p + 1, n });
		in = (struct slice){ in.p + 1 + n, in.n - 1 - n };
	} else if (what < 0x68) {
		xmpp_rig_pass(&r->rig, what & 1 ? 31000 : 900);
	} else if (what < 0x70) {
		hang_up(r, f, what & 1);
	} else if (what < 0x74) {
		f->deaf = !f->deaf;
	} else if (what < 0x78) {
		c2s_edge_peer_lost(r->edge, 1);
	} else if (what < 0x7c) {
		c2s_edge_domain_gone(r->edge, "example.com");
	} else {
		r->banned = !r->banned;
	}
	return in;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct xml_stream_limits limits = xml_stream_default_limits;
	struct ear client = { 0 }, link = { .is_link = true };
	struct c2s_rig r;

	if (size < 2)
		return 0;
	limits.max_stanza_bytes = 1024 * 1024;
	c2s_rig_init(&r);
	r.conf.rate_bytes = data[0] & 2 ? 1000 : 0;
	r.conf.park_ms = data[0] & 4 ? 5000 : 0;
	last_id = 0;
	c2s_edge_configure(r.edge, &r.conf);
	client.rig = link.rig = &r;
	client.xml = xml_stream_new(r.rig.pool, &limits, &events, &client);
	link.xml = xml_stream_new(r.rig.pool, &limits, &events, &link);
	if (!client.xml || !link.xml)
		abort();
	c2s_rig_connect(&r, data[0] & 1);
	in = (struct slice){ in.p + 1, in.n - 1 };
	for (int i = 0; i < MAX_STEPS && in.n > 0; i++) {
		in = step(&r, in);
		hear(&client, &r.client);
		hear(&link, &r.link);
	}
	if (r.client.s)
		hang_up(&r, &r.client, false);
	if (r.link.s)
		hang_up(&r, &r.link, false);
	xmpp_rig_pass(&r.rig, 200 * 1000);
	if (c2s_edge_count(r.edge) > 0 || c2s_edge_stats(r.edge).n_unauthenticated > 0 ||
	    conn_count(r.rig.env.conns, CONN_XMPP) > 0 ||
	    timerq_next(loop_timers(r.rig.env.loop)) >= 0)
		abort();
	xml_stream_free(client.xml);
	xml_stream_free(link.xml);
	c2s_rig_fini(&r);
	return 0;
}
