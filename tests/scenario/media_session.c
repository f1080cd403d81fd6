/*
 * Whole calls: phone -- E -- C -- PBX on a net and a clock of the test's. SDP goes through both
 * engines, packets through both relays, with real keys.
 */
#include <errno.h>

#include "support/media_net.h"

#include "support/alloc_fail.h"

#define PHONE_KEY      "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
#define PHONE_KEY2     "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
#define AUDIO_HEAD(IP) "v=0\r\no=x 1 1 IN IP4 " IP "\r\ns=-\r\nc=IN IP4 " IP "\r\nt=0 0\r\n"
#define PHONE_OFFER                                                                   \
	AUDIO_HEAD("10.9.9.9")                                                        \
	"a=X-session:kept\r\nm=audio 4000 RTP/SAVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n" \
	"a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY "\r\na=fmtp:101 0-15\r\n"
#define PBX_ANSWER \
	AUDIO_HEAD("192.168.1.5") "m=audio 7000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n"

enum { OUT, IN }; /* legs as these tests use them: 0 toward the caller */

struct world {
	struct net net;
	struct net_node e, c;
	uint64_t es, cs;
	struct addr phone, phone_nat, pbx, e_out, e_in, c_ip;
	struct buf sdp; /* last produced */
	struct media_refusal r;
	char why[DESC_WHY_BYTES];
};

static void world_init(struct world *w, bool nat)
{
	struct media_settings es = { .ports = { 40000, 40099 },
				     .mux_ports = { 36000, 36001 },
				     .idle_timeout_ms = 300000,
				     .max_sessions = 8 };
	struct media_settings cs = { .ports = { 50000, 50099 },
				     .idle_timeout_ms = 300000,
				     .max_sessions = 8 };

	memset(w, 0, sizeof(*w));
	timerq_init(&w->net.timers, 1000000);
	w->phone = ip("10.9.9.9", 4000);	 /* what the phone writes */
	w->phone_nat = ip("203.0.113.7", 62000); /* where it really comes from */
	w->pbx = ip("192.168.1.5", 7000);
	w->e_out = ip("198.51.100.1", 0);
	w->e_in = ip("172.16.0.1", 0);
	w->c_ip = ip("192.168.1.2", 0);
	if (nat) {
		w->net.nat_inside = w->c_ip;
		w->net.nat_outside = ip("172.16.0.254", 0);
		w->net.nat_far = w->e_in;
		w->net.nat_shift = 3333;
	}
	assert_int_equal(node_init(&w->e, &w->net, 1, &es), 0);
	assert_int_equal(node_init(&w->c, &w->net, 2, &cs), 0);
	w->e.ips[w->e.n_ips++] = w->e_out;
	w->e.ips[w->e.n_ips++] = w->e_in;
	w->c.ips[w->c.n_ips++] = w->c_ip;
	w->r.why = w->why;
	buf_init(&w->sdp, 65536);
}

static void world_fini(struct world *w)
{
	media_engine_fini(&w->e.engine);
	media_engine_fini(&w->c.engine);
	assert_int_equal(w->e.engine.ports.n_taken, 0);
	timerq_fini(&w->net.timers);
	buf_fini(&w->sdp);
}

/* Sessions for a call from outside to inside; inside: mode of the PBX's leg. */
static void sessions_open(struct world *w, enum media_crypto inside)
{
	struct media_leg_params e[2] = {
		{ .kind = MEDIA_LEG_OUTSIDE, .signalling_peer = w->phone_nat, .local = w->e_out },
		{ .kind = MEDIA_LEG_MUX,
		  .signalling_peer = w->net.nat_outside.family ? w->net.nat_outside : w->c_ip,
		  .local = w->e_in },
	};
	struct media_leg_params c[2] = {
		{ .kind = MEDIA_LEG_ICE,
		  .crypto = MEDIA_CRYPTO_ENCRYPTED,
		  .signalling_peer = w->e_in,
		  .local = w->c_ip },
		{ .kind = MEDIA_LEG_INSIDE,
		  .crypto = inside,
		  .signalling_peer = w->pbx,
		  .local = w->c_ip },
	};

	w->es = media_session_new(&w->e.engine, 0, "5e551011", e);
	w->cs = media_session_new(&w->c.engine, 0, "5e551011", c);
	assert_true(w->es != 0 && w->cs != 0);
}

static struct media_session *e_session(struct world *w)
{
	return media_session_get(&w->e.engine, w->es);
}

static struct media_session *c_session(struct world *w)
{
	return media_session_get(&w->c.engine, w->cs);
}

/* One step; text NULL: what the last step produced. */
static int step(struct world *w, struct media_session *s, bool answer, unsigned from,
		const char *text)
{
	struct buf out;
	struct slice in = text ? slice_of(text) : buf_slice(&w->sdp);
	int err;

	buf_init(&out, 65536);
	err = answer ? media_session_answer(s, from, in, &out, &w->r)
		     : media_session_offer(s, from, in, &out, &w->r);
	buf_fini(&w->sdp);
	w->sdp = out;
	return err;
}

static bool has(const struct world *w, const char *text)
{
	return w->sdp.p && strstr(w->sdp.p, text) != NULL;
}

static void call_up(struct world *w, const char *offer, const char *answer)
{
	assert_int_equal(step(w, e_session(w), false, OUT, offer), 0);
	assert_int_equal(step(w, c_session(w), false, OUT, NULL), 0);
	assert_int_equal(step(w, c_session(w), true, IN, answer), 0);
	assert_int_equal(step(w, e_session(w), true, IN, NULL), 0);
	net_pass(&w->net, 200);
}

static struct addr e_port(struct world *w, unsigned stream)
{
	return e_session(w)->streams[stream]->ends[OUT].bound[RELAY_RTP];
}

static struct addr c_port(struct world *w, unsigned stream)
{
	return c_session(w)->streams[stream]->ends[IN].bound[RELAY_RTP];
}

static struct srtp_ctx *ctx_of(const char *crypto)
{
	struct srtp_sdes sdes;
	const char *why;

	assert_int_equal(srtp_sdes_parse(slice_of(crypto), &sdes, &why), 0);
	return srtp_ctx_new(&sdes.master, 0);
}

/* The key in the last SDP's first a=crypto line. */
static struct srtp_ctx *ctx_of_sdp(const struct world *w)
{
	const char *at = strstr(w->sdp.p, "a=crypto:");
	char line[256];

	assert_non_null(at);
	at += strlen("a=crypto:");
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\r"), at);
	return ctx_of(line);
}

static void send_rtp(struct world *w, struct srtp_ctx *tx, const struct addr *from,
		     const struct addr *to, uint32_t ssrc, uint16_t seq)
{
	uint8_t p[NET_BYTES];
	size_t n = rtp_make(p, ssrc, seq, 20);

	if (tx)
		assert_int_equal(srtp_protect(tx, p, &n, sizeof(p)), 0);
	net_queue(&w->net, from, to, p, n);
	net_run(&w->net);
}

static void sdp_of_a_call_from_outside(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_int_equal(step(&w, e_session(&w), false, OUT, PHONE_OFFER), 0);
	assert_true(has(&w, "c=IN IP4 172.16.0.1\r\n"));
	assert_true(has(&w, "m=audio 36000 RTP/SAVP 0 101\r\n"));
	assert_true(has(&w, "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY "\r\n"));
	assert_true(has(&w, "a=ice-lite\r\n"));
	assert_true(has(&w, "a=rtcp:36001\r\n"));
	assert_true(has(&w, "1 UDP 2130706431 172.16.0.1 36000 typ host\r\n"));
	assert_true(has(&w, "2 UDP 2130706430 172.16.0.1 36001 typ host\r\n"));
	assert_true(has(&w, "a=X-session:kept\r\n") && has(&w, "a=fmtp:101 0-15\r\n"));
	assert_false(has(&w, "10.9.9.9"));
	assert_int_equal(step(&w, c_session(&w), false, OUT, NULL), 0);
	assert_true(has(&w, "m=audio 50002 RTP/AVP 0 101\r\n"));
	assert_true(has(&w, "c=IN IP4 192.168.1.2\r\n"));
	assert_false(has(&w, "crypto") || has(&w, "ice") || has(&w, "candidate") ||
		     has(&w, "172.16.0.1"));
	assert_int_equal(step(&w, c_session(&w), true, IN, PBX_ANSWER), 0);
	assert_true(has(&w, "m=audio 50000 RTP/SAVP 0 101\r\n"));
	assert_true(has(&w, "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:"));
	assert_true(has(&w, "a=candidate:1 1 UDP 2130706431 192.168.1.2 50000 typ host\r\n"));
	assert_true(has(&w, "a=ice-ufrag:"));
	assert_false(has(&w, "192.168.1.5") || has(&w, "ice-lite") || has(&w, PHONE_KEY));
	assert_int_equal(step(&w, e_session(&w), true, IN, NULL), 0);
	assert_true(has(&w, "m=audio 40000 RTP/SAVP 0 101\r\n"));
	assert_true(has(&w, "c=IN IP4 198.51.100.1\r\n"));
	assert_false(has(&w, "ice") || has(&w, "candidate") || has(&w, "192.168.") ||
		     has(&w, "172.16."));
	world_fini(&w);
}

/* Both ways through both boxes, with the NAT between them or not. */
static void media_flows(bool nat)
{
	struct world w;
	struct srtp_ctx *tx, *rx;
	struct net_packet *got = NULL;
	struct addr e, c;
	size_t mark;

	world_init(&w, nat);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	rx = ctx_of_sdp(&w);
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	e = e_port(&w, 0);
	c = c_port(&w, 0);
	/* PBX talks first: the phone is not proved, nothing leaves E. */
	mark = w.net.n_got;
	send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 1);
	assert_int_equal(w.net.n_got, mark);
	/* The phone's first good packet opens the way and is passed on in clear. */
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 100);
	assert_int_equal(net_got(&w.net, mark, &w.pbx, &got), 1);
	assert_int_equal(got->n, 32);
	assert_int_equal(got->p[3], 100);
	assert_true(addr_eq(&got->from, &c));
	mark = w.net.n_got;
	send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 2);
	assert_int_equal(net_got(&w.net, mark, &w.phone_nat, &got), 1);
	assert_true(addr_eq(&got->from, &e));
	assert_int_equal(srtp_unprotect(rx, got->p, &got->n), 0);
	assert_int_equal(got->n, 32);
	assert_int_equal(got->p[3], 2);
	/* Nothing ever went to the address that the phone wrote into its SDP. */
	assert_int_equal(net_got(&w.net, 0, &w.phone, NULL), 0);
	srtp_ctx_free(tx);
	srtp_ctx_free(rx);
	world_fini(&w);
}

static void media_flows_both_ways(void **state)
{
	media_flows(false);
}

static void nat_between_c_and_e_does_not_matter(void **state)
{
	media_flows(true);
}

static void rtcp_flows_on_its_own_port(void **state)
{
	struct world w;
	struct srtp_ctx *tx;
	struct net_packet *got = NULL;
	struct addr e, from, pbx_rtcp;
	uint8_t p[NET_BYTES];
	size_t n;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	e = e_session(&w)->streams[0]->ends[OUT].bound[RELAY_RTCP];
	from = w.phone_nat;
	from.port = 62001;
	pbx_rtcp = w.pbx;
	pbx_rtcp.port = 7001;
	n = rtcp_make(p, 0xbbbb);
	assert_int_equal(srtcp_protect(tx, p, &n, sizeof(p)), 0);
	net_queue(&w.net, &from, &e, p, n);
	net_run(&w.net);
	assert_int_equal(net_got(&w.net, 0, &pbx_rtcp, &got), 1);
	assert_int_equal(got->n, 8);
	/* A crooked RTCP packet of four bytes, and one with a false length: dropped. */
	net_queue(&w.net, &pbx_rtcp, &c_session(&w)->streams[0]->ends[IN].bound[RELAY_RTCP],
		  "\x80\xc9\x00\x00", 4);
	net_queue(&w.net, &pbx_rtcp, &c_session(&w)->streams[0]->ends[IN].bound[RELAY_RTCP],
		  "\x80\xc9\x00\x09\x00\x00\x00\x01", 8);
	net_run(&w.net);
	assert_int_equal(c_session(&w)->streams[0]->ends[IN].n_malformed, 2);
	srtp_ctx_free(tx);
	world_fini(&w);
}

#define PHONE_OFFER_MUX PHONE_OFFER "a=rtcp-mux\r\n"

static void rtcp_mux_is_agreed_leg_by_leg(void **state)
{
	struct world w;
	struct srtp_ctx *tx;
	struct addr e, pbx_rtcp;
	uint8_t p[NET_BYTES];
	size_t n;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_int_equal(step(&w, e_session(&w), false, OUT, PHONE_OFFER_MUX), 0);
	assert_true(has(&w, "a=rtcp-mux\r\n"));
	assert_int_equal(step(&w, c_session(&w), false, OUT, NULL), 0);
	assert_false(has(&w, "rtcp-mux"));
	assert_int_equal(step(&w, c_session(&w), true, IN, PBX_ANSWER), 0);
	assert_true(has(&w, "a=rtcp-mux\r\n"));
	assert_true(has(&w, " 50000 typ host") && !has(&w, " 50001 typ host"));
	assert_int_equal(step(&w, e_session(&w), true, IN, NULL), 0);
	assert_true(has(&w, "a=rtcp-mux\r\n"));
	net_pass(&w.net, 200);
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	e = e_port(&w, 0);
	pbx_rtcp = w.pbx;
	pbx_rtcp.port = 7001;
	n = rtcp_make(p, 0xbbbb);
	assert_int_equal(srtcp_protect(tx, p, &n, sizeof(p)), 0);
	net_queue(&w.net, &w.phone_nat, &e, p, n); /* to the RTP port */
	net_run(&w.net);
	assert_int_equal(net_got(&w.net, 0, &pbx_rtcp, NULL), 1);
	srtp_ctx_free(tx);
	world_fini(&w);
}

/* Attack rows 13-15, 17, 31. */
static void strangers_get_and_give_nothing(void **state)
{
	struct world w;
	struct srtp_ctx *tx, *wrong;
	struct addr e, evil = ip("203.0.113.66", 6666);
	struct net_packet copy;
	size_t mark;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	wrong = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY2);
	e = e_port(&w, 0);
	for (uint16_t i = 0; i < 150; i++)
		send_rtp(&w, i % 2 ? wrong : NULL, &evil, &e, 0xe111, i);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 0);
	w.net.timers.now_ms += 2000; /* checks of strangers are limited by the second */
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 1);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 1);
	/* A recorded packet, from elsewhere: no proof. */
	copy.n = rtp_make(copy.p, 0xbbbb, 2, 20);
	assert_int_equal(srtp_protect(tx, copy.p, &copy.n, sizeof(copy.p)), 0);
	net_queue(&w.net, &w.phone_nat, &e, copy.p, copy.n);
	net_queue(&w.net, &evil, &e, copy.p, copy.n);
	net_run(&w.net);
	mark = w.net.n_got;
	send_rtp(&w, NULL, &w.pbx, &(struct addr){ 0 }, 0, 0); /* to nowhere: harmless */
	{
		struct addr c = c_port(&w, 0);

		send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 9);
	}
	assert_int_equal(net_got(&w.net, mark, &evil, NULL), 0);
	assert_int_equal(net_got(&w.net, mark, &w.phone_nat, NULL), 1);
	/* Replay from the right address reaches C and ends there. */
	mark = w.net.n_got;
	net_queue(&w.net, &w.phone_nat, &e, copy.p, copy.n);
	net_run(&w.net);
	assert_int_equal(net_got(&w.net, mark, &w.pbx, NULL), 0);
	assert_int_equal(c_session(&w)->streams[0]->ends[OUT].crypto.n_replayed, 1);
	/* One bit over: C drops it. */
	copy.n = rtp_make(copy.p, 0xbbbb, 3, 20);
	assert_int_equal(srtp_protect(tx, copy.p, &copy.n, sizeof(copy.p)), 0);
	copy.p[20] ^= 1;
	for (unsigned i = 0; i < 150; i++)
		net_queue(&w.net, &w.phone_nat, &e, copy.p, copy.n);
	net_run(&w.net);
	assert_int_equal(net_got(&w.net, mark, &w.pbx, NULL), 0);
	assert_int_equal(c_session(&w)->streams[0]->ends[OUT].crypto.n_bad_tag, 150);
	/* The phone's NAT gives it another port: new proof moves the latch. */
	w.phone_nat.port = 62999;
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 4);
	assert_int_equal(net_got(&w.net, mark, &w.pbx, NULL), 1);
	assert_int_equal(e_session(&w)->streams[0]->ends[OUT].n_moved, 1);
	srtp_ctx_free(tx);
	srtp_ctx_free(wrong);
	world_fini(&w);
}

static void reinvite_keeps_keys_and_counters(void **state)
{
	struct world w;
	struct srtp_ctx *tx, *rx;
	struct net_packet *got = NULL;
	struct addr e, c;
	char first[128];
	uint32_t roc;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	rx = ctx_of_sdp(&w);
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	snprintf(first, sizeof(first), "%.80s", strstr(w.sdp.p, "a=crypto:"));
	e = e_port(&w, 0);
	c = c_port(&w, 0);
	/* Past a roll-over. */
	for (uint32_t i = 65000; i < 65536 + 100; i++) {
		send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, (uint16_t)i);
		w.net.n_got = 0;
		send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, (uint16_t)i);
		assert_int_equal(net_got(&w.net, 0, &w.phone_nat, &got), 1);
		assert_int_equal(srtp_unprotect(rx, got->p, &got->n), 0);
		w.net.n_got = 0;
	}
	assert_true(srtp_ctx_roc(rx, 0xaaaa, &roc));
	assert_int_equal(roc, 1);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	assert_memory_equal(strstr(w.sdp.p, "a=crypto:"), first, 78);
	assert_int_equal(c_port(&w, 0).port, c.port);
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 101);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 1);
	send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 101);
	assert_int_equal(net_got(&w.net, 0, &w.phone_nat, &got), 1);
	assert_int_equal(srtp_unprotect(rx, got->p, &got->n), 0);
	/* A latch that moves after the roll-over is checked under the right counter. */
	w.phone_nat.port = 61111;
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 102);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 2);
	srtp_ctx_free(tx);
	srtp_ctx_free(rx);
	world_fini(&w);
}

#define PHONE_OFFER_REKEY      \
	AUDIO_HEAD("10.9.9.9") \
	"m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:" PHONE_KEY2 "\r\n"

static void a_new_key_is_taken_and_answered_with_a_new_one(void **state)
{
	struct world w;
	struct srtp_ctx *tx;
	struct addr e;
	size_t mark;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	e = e_port(&w, 0);
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 1);
	srtp_ctx_free(tx);
	call_up(&w, PHONE_OFFER_REKEY, PBX_ANSWER);
	assert_true(has(&w, "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:"));
	tx = ctx_of("1 AES_CM_128_HMAC_SHA1_32 inline:" PHONE_KEY2);
	mark = w.net.n_got;
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 1);
	assert_int_equal(net_got(&w.net, mark, &w.pbx, NULL), 1);
	srtp_ctx_free(tx);
	world_fini(&w);
}

/* -- from inside to outside: C is the offerer on the ICE leg -- */

static void call_from_inside(void **state)
{
	struct world w;
	struct srtp_ctx *tx, *rx;
	struct net_packet *got = NULL;
	struct addr e, c;
	char answer[512];

	world_init(&w, true);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_int_equal(step(&w, c_session(&w), false, IN, PBX_ANSWER), 0);
	assert_true(has(&w, "RTP/SAVP 0 101\r\n"));
	assert_true(has(&w, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:") &&
		    has(&w, "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:"));
	assert_int_equal(step(&w, e_session(&w), false, IN, NULL), 0);
	assert_true(has(&w, "a=crypto:2 ") && !has(&w, "ice-"));
	rx = ctx_of_sdp(&w);
	snprintf(answer, sizeof(answer),
		 AUDIO_HEAD("10.9.9.9") "m=audio 4000 RTP/SAVP 0\r\n"
					"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY
					"\r\n");
	assert_int_equal(step(&w, e_session(&w), true, OUT, answer), 0);
	assert_int_equal(step(&w, c_session(&w), true, OUT, NULL), 0);
	assert_true(has(&w, "RTP/AVP 0\r\n") && !has(&w, "crypto"));
	net_pass(&w.net, 200);
	e = e_port(&w, 0);
	c = c_port(&w, 0);
	tx = ctx_of("1 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 1);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 1);
	send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 2);
	assert_int_equal(net_got(&w.net, 0, &w.phone_nat, &got), 1);
	assert_int_equal(srtp_unprotect(rx, got->p, &got->n), 0);
	srtp_ctx_free(tx);
	srtp_ctx_free(rx);
	world_fini(&w);
}

static void demanded_encryption_is_not_waived(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_int_equal(step(&w, c_session(&w), false, IN, PBX_ANSWER), 0);
	/* E (or somebody on it) answers in plain. */
	assert_true(step(&w, c_session(&w), true, OUT,
			 AUDIO_HEAD("172.16.0.1") "a=ice-ufrag:aaaaaaaa\r\n"
						  "a=ice-pwd:012345678901234567890123\r\n"
						  "m=audio 36000 RTP/AVP 0\r\n") < 0);
	assert_int_equal(w.r.status, 488);
	media_session_rollback(c_session(&w));
	/* And a plain offer of it. */
	assert_true(step(&w, c_session(&w), false, OUT,
			 AUDIO_HEAD("172.16.0.1") "a=ice-ufrag:aaaaaaaa\r\n"
						  "a=ice-pwd:012345678901234567890123\r\n"
						  "m=audio 36000 RTP/AVP 0\r\n") < 0);
	assert_int_equal(w.r.status, 488);
	/* The PBX's leg is plain: SAVP from there does not fit. */
	assert_true(step(&w, c_session(&w), false, IN,
			 AUDIO_HEAD("192.168.1.5") "m=audio 7000 RTP/SAVP 0\r\n") < 0);
	assert_int_equal(w.r.status, 488);
	assert_int_equal(w.c.engine.ports.n_taken, 0);
	world_fini(&w);
}

static void best_effort_offers_both(void **state)
{
	struct world w;
	char answer[512];

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_BEST_EFFORT);
	assert_int_equal(step(&w, e_session(&w), false, OUT, PHONE_OFFER), 0);
	assert_int_equal(step(&w, c_session(&w), false, OUT, NULL), 0);
	assert_true(has(&w, "RTP/AVP 0 101\r\n") && has(&w, "a=crypto:1 AES_CM_128_HMAC_SHA1_80"));
	assert_int_equal(step(&w, c_session(&w), true, IN, PBX_ANSWER), 0); /* plain: taken */
	snprintf(answer, sizeof(answer), "%s",
		 AUDIO_HEAD("192.168.1.5") "m=audio 7000 RTP/AVP 0\r\n"
					   "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:" PHONE_KEY2
					   "\r\n");
	assert_int_equal(step(&w, c_session(&w), true, IN, answer), 0); /* keyed: taken too */
	assert_non_null(c_session(&w)->streams[0]->ends[IN].crypto.tx.ctx);
	snprintf(answer, sizeof(answer), "%s",
		 AUDIO_HEAD("192.168.1.5") "m=audio 7000 RTP/AVP 0\r\n"
					   "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:" PHONE_KEY2
					   "\r\n");
	assert_true(step(&w, c_session(&w), true, IN, answer) < 0); /* not what tag 1 was */
	assert_int_equal(w.r.status, 488);
	world_fini(&w);
}

static void auto_passes_keys_through(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_AUTO);
	assert_int_equal(step(&w, e_session(&w), false, OUT, PHONE_OFFER), 0);
	assert_int_equal(step(&w, c_session(&w), false, OUT, NULL), 0);
	assert_true(has(&w, "RTP/SAVP 0 101\r\n") && has(&w, PHONE_KEY));
	/* ... and the outside leg demands encryption of the answer. */
	assert_true(step(&w, c_session(&w), true, IN, PBX_ANSWER) < 0);
	assert_int_equal(w.r.status, 488);
	world_fini(&w);
}

/* -- SDP shapes -- */

#define MANY                                                                 \
	AUDIO_HEAD("10.9.9.9")                                               \
	"a=group:BUNDLE a v\r\n"                                             \
	"m=audio 4000 RTP/SAVP 0\r\na=mid:a\r\n"                             \
	"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY "\r\n"        \
	"m=video 4002 RTP/SAVPF 97\r\na=mid:v\r\na=rtcp-fb:97 nack pli\r\n"  \
	"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY2 "\r\n"       \
	"m=application 4004 UDP/BFCP *\r\na=floorctrl:c-s\r\n"               \
	"m=message 7394 TCP/MSRP *\r\na=path:msrp://10.9.9.9:7394/x;tcp\r\n" \
	"m=video 0 RTP/SAVP 98\r\n"
#define MANY_ANSWER                                              \
	AUDIO_HEAD("192.168.1.5")                                \
	"m=audio 7000 RTP/AVP 0\r\nm=video 7002 RTP/AVPF 97\r\n" \
	"m=application 7004 UDP/BFCP *\r\nm=message 0 TCP/MSRP *\r\nm=video 0 RTP/AVP 98\r\n"

static void several_lines_keep_their_order(void **state)
{
	struct world w;
	struct addr e, pbx = ip("192.168.1.5", 7004), from = ip("10.9.9.9", 4004);

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_int_equal(step(&w, e_session(&w), false, OUT, MANY), 0);
	assert_true(has(&w, "m=message 0 TCP/MSRP *\r\n") && has(&w, "m=video 0 RTP/SAVP 98\r\n"));
	assert_false(has(&w, "BUNDLE") || has(&w, "10.9.9.9"));
	assert_true(has(&w, "a=mid:v\r\n") && has(&w, "a=rtcp-fb:97 nack pli\r\n"));
	assert_int_equal(step(&w, c_session(&w), false, OUT, NULL), 0);
	assert_true(has(&w, "m=audio 50002 RTP/AVP 0\r\n") &&
		    has(&w, "m=video 50006 RTP/AVPF 97\r\n") &&
		    has(&w, "m=application 50010 UDP/BFCP *\r\n"));
	assert_int_equal(step(&w, c_session(&w), true, IN, MANY_ANSWER), 0);
	assert_int_equal(step(&w, e_session(&w), true, IN, NULL), 0);
	net_pass(&w.net, 500);
	/* Opaque bytes pass from the signalled address only. */
	e = e_port(&w, 2);
	net_queue(&w.net, &w.phone_nat, &e, "\x20hello", 6);
	net_queue(&w.net, &from, &e, "\x20world!", 7);
	net_run(&w.net);
	assert_int_equal(net_got(&w.net, 0, &pbx, NULL), 1);
	assert_int_equal(w.net.got[w.net.n_got - 1].n, 7);
	/* Fewer lines than before: not an offer (RFC 3264 section 8). */
	assert_true(step(&w, e_session(&w), false, OUT, PHONE_OFFER) < 0);
	assert_int_equal(w.r.status, 488);
	world_fini(&w);
}

static void hold_mutes_and_comes_back(void **state)
{
	struct world w;
	struct srtp_ctx *tx;
	struct addr e, c;
	char version[3][64];
	size_t mark;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	snprintf(version[0], 64, "%.40s", strstr(w.sdp.p, "o="));
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	e = e_port(&w, 0);
	c = c_port(&w, 0);
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 1);
	/* The phone holds the old way. */
	call_up(&w,
		"v=0\r\no=x 1 2 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
		"m=audio 4000 RTP/SAVP 0\r\na=sendonly\r\n"
		"a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY "\r\n",
		AUDIO_HEAD("192.168.1.5") "m=audio 7000 RTP/AVP 0\r\na=recvonly\r\n");
	assert_true(has(&w, "a=recvonly\r\n"));
	snprintf(version[1], 64, "%.40s", strstr(w.sdp.p, "o="));
	assert_string_not_equal(version[0], version[1]); /* the version grew */
	mark = w.net.n_got;
	send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 5);
	assert_int_equal(net_got(&w.net, mark, &w.phone_nat, NULL), 0);
	/* The PBX holds, too, and plays music: that still flows to where the phone is. */
	call_up(&w, PHONE_OFFER,
		"v=0\r\no=x 1 1 IN IP4 192.168.1.5\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
		"m=audio 7000 RTP/AVP 0\r\na=sendonly\r\n");
	assert_true(has(&w, "c=IN IP4 0.0.0.0\r\n"));
	mark = w.net.n_got;
	send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 6);
	assert_int_equal(net_got(&w.net, mark, &w.phone_nat, NULL), 1);
	/* Minutes of hold are not idleness. */
	net_pass(&w.net, 600000);
	assert_int_equal(w.e.n_idle + w.c.n_idle, 0);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	mark = w.net.n_got;
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 2);
	send_rtp(&w, NULL, &w.pbx, &c, 0xaaaa, 7);
	assert_int_equal(net_got(&w.net, mark, &w.phone_nat, NULL), 1);
	/* The same again: the same version. */
	snprintf(version[1], 64, "%.40s", strstr(w.sdp.p, "o="));
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	snprintf(version[2], 64, "%.40s", strstr(w.sdp.p, "o="));
	assert_string_equal(version[1], version[2]);
	srtp_ctx_free(tx);
	world_fini(&w);
}

static void silence_ends_a_call(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	net_pass(&w.net, 290000);
	assert_int_equal(w.e.n_idle + w.c.n_idle, 0);
	net_pass(&w.net, 20000);
	assert_int_equal(w.e.n_idle, 1);
	assert_int_equal(w.c.n_idle, 1);
	assert_int_equal(w.e.engine.ports.n_taken, 0);
	world_fini(&w);
}

static void rollback_leaves_the_call_as_it_was(void **state)
{
	struct world w;
	struct srtp_ctx *tx;
	struct addr e;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	assert_int_equal(step(&w, e_session(&w), false, OUT,
			      PHONE_OFFER "m=video 4002 RTP/SAVP 97\r\na=crypto:1 "
					  "AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY2 "\r\n"),
			 0);
	assert_int_equal(w.e.engine.ports.n_taken, 2);
	media_session_rollback(e_session(&w));
	assert_int_equal(w.e.engine.ports.n_taken, 1);
	assert_int_equal(e_session(&w)->state, SESSION_AGREED);
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	e = e_port(&w, 0);
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 1);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 1);
	srtp_ctx_free(tx);
	world_fini(&w);
}

static void a_stream_taken_out_gives_its_ports_back(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, MANY, MANY_ANSWER);
	assert_int_equal(w.c.engine.ports.n_taken, 6);
	call_up(&w,
		AUDIO_HEAD("10.9.9.9") "m=audio 4000 RTP/SAVP 0\r\n"
				       "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY "\r\n"
				       "m=video 0 RTP/SAVPF 97\r\nm=application 0 UDP/BFCP *\r\n"
				       "m=message 0 TCP/MSRP *\r\nm=video 0 RTP/SAVP 98\r\n",
		AUDIO_HEAD("192.168.1.5") "m=audio 7000 RTP/AVP 0\r\nm=video 0 RTP/AVPF 97\r\n"
					  "m=application 0 UDP/BFCP *\r\n"
					  "m=message 0 TCP/MSRP *\r\nm=video 0 RTP/AVP 98\r\n");
	assert_int_equal(w.c.engine.ports.n_taken, 2);
	assert_int_equal(w.e.engine.ports.n_taken, 1);
	assert_int_equal(w.e.engine.mux.by_ufrag.n, 1);
	world_fini(&w);
}

/* Attack row 29. */
static void addresses_that_an_sdp_may_not_name(void **state)
{
	static const char *const outside[] = { "127.0.0.1",	  "224.0.0.5", "169.254.169.254",
					       "255.255.255.255", "240.0.0.1", "172.16.0.1",
					       "198.51.100.1",	  "198.18.0.9" };
	struct addr_prefix prefix;
	struct conf_prefixes refuse = { &prefix, 1 };
	struct world w;
	char sdp[256];

	assert_true(addr_prefix_parse(SLICE("198.18.0.0/15"), &prefix));
	world_init(&w, false);
	w.e.engine.settings.refuse_outside = &refuse;
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		snprintf(sdp, sizeof(sdp),
			 "v=0\r\no=x 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
			 "m=audio 4000 RTP/AVP 0\r\n",
			 outside[i]);
		assert_true(step(&w, e_session(&w), false, OUT, sdp) < 0);
		assert_int_equal(w.r.status, 403);
		assert_string_equal(w.e.code, "media.sdp.refused-address");
		assert_int_equal(w.sdp.n, 0);
	}
	/* Also where only a=rtcp names it. */
	assert_true(step(&w, e_session(&w), false, OUT,
			 AUDIO_HEAD("10.9.9.9") "m=audio 4000 RTP/AVP 0\r\n"
						"a=rtcp:53 IN IP4 127.0.0.1\r\n") < 0);
	assert_int_equal(w.r.status, 403);
	assert_true(step(&w, e_session(&w), false, OUT,
			 "v=0\r\no=x 1 1 IN IP4 1.1.1.1\r\ns=-\r\nm=audio 4000 RTP/AVP 0\r\n") < 0);
	assert_int_equal(w.r.status, 488);
	assert_int_equal(w.e.engine.ports.n_taken, 0);
	world_fini(&w);
}

/* C's own ports in the PBX's SDP: another session yes, the same one no, a listener no. */
static void hairpin_through_the_pbx(void **state)
{
	struct media_leg_params c[2];
	struct world w;
	char sdp[256];
	uint64_t other;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	memcpy(&c[0], &c_session(&w)->legs[0].params, sizeof(c[0]));
	memcpy(&c[1], &c_session(&w)->legs[1].params, sizeof(c[1]));
	other = media_session_new(&w.c.engine, 0, "2", c);
	snprintf(sdp, sizeof(sdp), AUDIO_HEAD("192.168.1.2") "m=audio %u RTP/AVP 0\r\n",
		 c_port(&w, 0).port);
	assert_int_equal(step(&w, media_session_get(&w.c.engine, other), false, IN, sdp), 0);
	/* The same session: a loop. */
	assert_true(step(&w, c_session(&w), false, IN, sdp) < 0);
	assert_int_equal(w.r.status, 403);
	/* A port of the range that nobody has, and a listener. */
	assert_true(step(&w, media_session_get(&w.c.engine, other), false, IN,
			 AUDIO_HEAD("192.168.1.2") "m=audio 50080 RTP/AVP 0\r\n") < 0);
	assert_int_equal(w.r.status, 403);
	assert_true(step(&w, media_session_get(&w.c.engine, other), false, IN,
			 AUDIO_HEAD("192.168.1.2") "m=audio 5060 RTP/AVP 0\r\n") < 0);
	assert_int_equal(w.r.status, 403);
	world_fini(&w);
}

/* E is taken over and names addresses of the inside as its candidates: C sends to E and nowhere
 * else. */
static void hostile_e_cannot_aim_checks(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	w.net.drop_all = false;
	assert_int_equal(
		step(&w, c_session(&w), false, OUT,
		     AUDIO_HEAD(
			     "192.168.1.77") "a=ice-lite\r\nm=audio 22 RTP/SAVP 0\r\n"
					     "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY
					     "\r\n"
					     "a=ice-ufrag:aaaaaaaa\r\na=ice-pwd:"
					     "012345678901234567890123\r\n"
					     "a=candidate:1 1 UDP 2130706431 192.168.1.77 22 typ "
					     "host\r\n"
					     "a=candidate:1 2 UDP 2130706430 127.0.0.1 8125 typ "
					     "host\r\n"),
		0);
	net_pass(&w.net, 3000);
	assert_true(w.net.n_got > 2);
	for (size_t i = 0; i < w.net.n_got; i++)
		assert_true(addr_ip_eq(&w.net.got[i].to, &w.e_in));
	world_fini(&w);
}

static void ports_run_out_and_come_back(void **state)
{
	struct world w;
	struct media_leg_params legs[2];
	uint64_t ids[9];
	unsigned n = 0;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	memcpy(&legs[0], &e_session(&w)->legs[0].params, sizeof(legs[0]));
	memcpy(&legs[1], &e_session(&w)->legs[1].params, sizeof(legs[1]));
	while (n < 9 && (ids[n] = media_session_new(&w.e.engine, 0, "x", legs)) != 0)
		n++;
	assert_int_equal(n, 7); /* max_sessions 8, one is open */
	/* The kernel refuses some ports: others are tried. */
	w.e.open_fails = 3;
	assert_int_equal(step(&w, e_session(&w), false, OUT, PHONE_OFFER), 0);
	assert_int_equal(e_port(&w, 0).port, 40006);
	assert_int_equal(w.e.engine.ports.n_taken, 1);
	/* It refuses all: the offer is, too, and nothing is kept. */
	w.e.open_fails = 1000;
	assert_true(step(&w, media_session_get(&w.e.engine, ids[0]), false, OUT, PHONE_OFFER) < 0);
	assert_int_equal(w.r.status, 500);
	assert_int_equal(w.e.engine.ports.n_taken, 1);
	assert_string_equal(w.e.code, "media.ports.exhausted");
	world_fini(&w);
}

static void serial_forking_turns_the_leg(void **state)
{
	struct media_leg_params p;
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_int_equal(step(&w, e_session(&w), false, OUT, PHONE_OFFER), 0);
	assert_int_equal(step(&w, c_session(&w), false, OUT, NULL), 0);
	assert_int_equal(step(&w, c_session(&w), true, IN, PBX_ANSWER), 0); /* early */
	p = c_session(&w)->legs[IN].params;
	p.crypto = MEDIA_CRYPTO_ENCRYPTED;
	assert_int_equal(media_session_leg_set(c_session(&w), IN, &p), 0);
	assert_false(c_session(&w)->streams[0]->active);
	assert_true(step(&w, c_session(&w), true, IN, PBX_ANSWER) < 0);
	world_fini(&w);
}

/* A phone on IPv6; E's way to C stays IPv4. And E behind static NAT for those on IPv4. */
static void families_and_public_address(void **state)
{
	struct srtp_ctx *tx;
	struct world w;
	struct addr e;

	world_init(&w, false);
	w.e.engine.settings.public_address = ip("192.0.2.200", 0);
	w.e_out = ip("2001:db8::e", 0);
	w.phone_nat = ip("2001:db8:1::7", 62000);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	e_session(&w)->legs[OUT].params.ip6 = true;
	call_up(&w,
		"v=0\r\no=x 1 1 IN IP6 2001:db8:1::7\r\ns=-\r\nc=IN IP6 2001:db8:1::7\r\nt=0 0\r\n"
		"m=audio 4000 RTP/SAVP 0\r\na=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY
		"\r\n",
		PBX_ANSWER);
	assert_true(has(&w, "c=IN IP6 2001:db8::e\r\n") && has(&w, " IN IP6 2001:db8::e\r\n"));
	tx = ctx_of("7 AES_CM_128_HMAC_SHA1_80 inline:" PHONE_KEY);
	e = e_port(&w, 0);
	send_rtp(&w, tx, &w.phone_nat, &e, 0xbbbb, 1);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 1);
	srtp_ctx_free(tx);
	media_session_free(e_session(&w), "next");
	media_session_free(c_session(&w), "next");
	w.e_out = ip("198.51.100.1", 0);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	call_up(&w, PHONE_OFFER, PBX_ANSWER);
	assert_true(has(&w, "c=IN IP4 192.0.2.200\r\n") && !has(&w, "198.51.100.1"));
	world_fini(&w);
}

static void malformed_sdp_is_named(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_true(step(&w, e_session(&w), false, OUT, "v=0\r\nhello") < 0);
	assert_int_equal(w.r.status, 488);
	assert_string_equal(w.why, "SDP line 2: not a `letter=value` line");
	assert_string_equal(w.e.code, "media.sdp.malformed");
	assert_true(step(&w, e_session(&w), true, IN, PBX_ANSWER) < 0); /* no offer yet */
	assert_true(step(&w, e_session(&w), false, OUT,
			 AUDIO_HEAD("10.9.9.9") "m=message 9 TCP/MSRP *\r\n") < 0);
	assert_int_equal(w.r.status, 488);
	world_fini(&w);
}

/* Plain RTP from outside, relayed as it is (C in mode auto). */
static void plain_rtp_needs_a_run(void **state)
{
	struct world w;
	struct addr e, evil = ip("203.0.113.66", 6666);

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	c_session(&w)->legs[OUT].params.crypto = MEDIA_CRYPTO_AUTO;
	call_up(&w, AUDIO_HEAD("10.9.9.9") "m=audio 4000 RTP/AVP 0\r\n", PBX_ANSWER);
	e = e_port(&w, 0);
	for (uint16_t i = 0; i < 50; i++)
		send_rtp(&w, NULL, &evil, &e, 1, i);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 0);
	for (uint16_t i = 0; i < 4; i++)
		send_rtp(&w, NULL, &w.phone_nat, &e, 2, i);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 0);
	send_rtp(&w, NULL, &w.phone_nat, &e, 2, 4);
	assert_int_equal(net_got(&w.net, 0, &w.pbx, NULL), 1);
	world_fini(&w);
}

static void offer_and_answer(void *arg)
{
	struct world *w = arg;
	struct media_leg_params legs[2];

	memcpy(&legs[0], &c_session(w)->legs[0].params, sizeof(legs[0]));
	memcpy(&legs[1], &c_session(w)->legs[1].params, sizeof(legs[1]));
	{
		uint64_t id = media_session_new(&w->c.engine, 0, "sweep", legs);
		struct media_session *s = media_session_get(&w->c.engine, id);

		if (!s)
			return;
		if (step(w, s, false, IN, PBX_ANSWER) == 0 &&
		    step(w, s, true, OUT,
			 AUDIO_HEAD("172.16.0.1") "a=ice-ufrag:aaaaaaaa\r\n"
						  "a=ice-pwd:012345678901234567890123\r\nm=audio "
						  "36000 RTP/SAVP 0\r\n"
						  "a=crypto:1 AES_CM_128_HMAC_SHA1_80 "
						  "inline:" PHONE_KEY "\r\n") == 0)
			assert_true(s->streams[0]->active);
		else
			assert_true(alloc_fail_hit());
		media_session_free(s, "done");
		w->net.timers.now_ms += PORTPOOL_QUARANTINE_MS;
	}
}

static void want_of_memory_refuses_cleanly(void **state)
{
	struct world w;

	world_init(&w, false);
	sessions_open(&w, MEDIA_CRYPTO_NONE);
	assert_true(alloc_fail_sweep(offer_and_answer, &w) > 20);
	assert_int_equal(w.c.engine.ports.n_taken, 0);
	world_fini(&w);
}

/* A guest server at E's inner interface: its SDP names the guest's TURN relay, which is on E
 * itself. The zone is unencrypted, so that the keys toward C are E's. */
static void guest_behind_a_relay_of_ours(void **state)
{
	static const struct {
		const char *ip;
		unsigned port;
		bool taken;
	} rows[] = {
		{ "203.0.113.200", 24002, true }, /* public address of static NAT */
		{ "198.51.100.1", 24000, true },  { "198.51.100.1", 24099, true },
		{ "198.51.100.1", 23998, false }, { "198.51.100.1", 24100, false },
		{ "198.51.100.1", 40000, false }, { "172.16.0.1", 24002, false },
		{ "198.51.100.1", 5060, false },  { "127.0.0.1", 24002, false },
	};
	struct world w;
	char offer[256];
	struct media_leg_params e[2] = { { .kind = MEDIA_LEG_INSIDE, .crypto = MEDIA_CRYPTO_NONE },
					 { .kind = MEDIA_LEG_MUX } };
	struct addr relay;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		world_init(&w, false);
		w.e.relay_public = ip("203.0.113.200", 0);
		w.e.relay = w.e_out;
		w.phone_nat = ip("172.16.0.9", 0);
		sessions_open(&w, MEDIA_CRYPTO_NONE);
		media_session_free(e_session(&w), "made anew");
		e[0].signalling_peer = w.phone_nat;
		e[1].signalling_peer = w.c_ip;
		e[0].local = e[1].local = w.e_in;
		w.es = media_session_new(&w.e.engine, 0, "5e551011", e);
		snprintf(offer, sizeof(offer),
			 "v=0\r\no=x 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
			 "m=audio %u RTP/AVP 0\r\n",
			 rows[i].ip, rows[i].ip, rows[i].port);
		if (!rows[i].taken) {
			assert_int_equal(step(&w, e_session(&w), false, OUT, offer), -EACCES);
			assert_string_equal(w.e.code, "media.sdp.refused-address");
			world_fini(&w);
			continue;
		}
		call_up(&w, offer, AUDIO_HEAD("192.168.1.5") "m=audio 7000 RTP/AVP 0\r\n");
		assert_false(has(&w, "crypto"));
		assert_true(has(&w, "c=IN IP4 172.16.0.1\r\n"));
		assert_non_null(e_session(&w)->streams[0]->ends[IN].crypto.tx.ctx);
		relay = e_session(&w)->streams[0]->ends[OUT].latches[RELAY_RTP].remote;
		assert_true(addr_ip_eq(&relay, &w.e_out));
		assert_int_equal(relay.port, rows[i].port);
		world_fini(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sdp_of_a_call_from_outside),
		cmocka_unit_test(guest_behind_a_relay_of_ours),
		cmocka_unit_test(media_flows_both_ways),
		cmocka_unit_test(nat_between_c_and_e_does_not_matter),
		cmocka_unit_test(rtcp_flows_on_its_own_port),
		cmocka_unit_test(rtcp_mux_is_agreed_leg_by_leg),
		cmocka_unit_test(strangers_get_and_give_nothing),
		cmocka_unit_test(reinvite_keeps_keys_and_counters),
		cmocka_unit_test(a_new_key_is_taken_and_answered_with_a_new_one),
		cmocka_unit_test(call_from_inside),
		cmocka_unit_test(demanded_encryption_is_not_waived),
		cmocka_unit_test(best_effort_offers_both),
		cmocka_unit_test(auto_passes_keys_through),
		cmocka_unit_test(several_lines_keep_their_order),
		cmocka_unit_test(hold_mutes_and_comes_back),
		cmocka_unit_test(silence_ends_a_call),
		cmocka_unit_test(rollback_leaves_the_call_as_it_was),
		cmocka_unit_test(a_stream_taken_out_gives_its_ports_back),
		cmocka_unit_test(addresses_that_an_sdp_may_not_name),
		cmocka_unit_test(hairpin_through_the_pbx),
		cmocka_unit_test(hostile_e_cannot_aim_checks),
		cmocka_unit_test(ports_run_out_and_come_back),
		cmocka_unit_test(serial_forking_turns_the_leg),
		cmocka_unit_test(families_and_public_address),
		cmocka_unit_test(malformed_sdp_is_named),
		cmocka_unit_test(plain_rtp_needs_a_run),
		cmocka_unit_test(want_of_memory_refuses_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
