#include "media/media_conf.h"

#include "core/conf_store.h"
#include "media/engine.h"

#define ROW(k, t, member, ...)                                                          \
	{                                                                               \
		.key = (k), .type = (t), .offset = offsetof(struct media_conf, member), \
		__VA_ARGS__                                                             \
	}

static const struct conf_row rows[] = {
	ROW("ports", CONF_PORTS, ports, .def = "36002-59999",
	    .help = "UDP ports of media streams; even ports carry RTP, the odd ones above RTCP"),
	ROW("mux-ports", CONF_PORTS, mux_ports, .def = "36000-36001",
	    .help = "E: shared ports toward C, one pair, or six on large systems (36000-36011)"),
	ROW("address", CONF_ADDR, address, .def = "any",
	    .help = "local address of media; any: the one that the signalling of the leg uses"),
	ROW("outside-address", CONF_ADDR, outside_address, .def = "any",
	    .help = "E with two interfaces: where phones outside send media; any: as `address`"),
	ROW("public-address", CONF_ADDR, public_address, .def = "any",
	    .help = "E behind static NAT: the media address written into SDP outside; any: none"),
	ROW("refuse-outside", CONF_PREFIXES, refuse_outside,
	    .help = "addresses refused in SDP from outside, besides loopback, multicast and ours"),
	ROW("dscp-audio", CONF_U32, dscp_audio, .def = "46", .max = 63,
	    .help = "DSCP of audio and of the shared ports"),
	ROW("dscp-video", CONF_U32, dscp_video, .def = "34", .max = 63, .help = "DSCP of video"),
	ROW("idle-timeout", CONF_MS, idle_timeout_ms, .def = "5m", .max = 86400000,
	    .help = "a call not on hold is ended when no media came for this time; 0: never"),
	ROW("max-sessions", CONF_U32, max_sessions, .def = "2000", .min = 1, .max = 100000,
	    .help = "calls with media at one time"),
};

static bool overlap(struct conf_ports a, struct conf_ports b)
{
	return a.first <= b.last && b.first <= a.last;
}

static void check(const struct conf_snapshot *snap, const void *section, struct conf_errors *errors)
{
	const struct media_conf *c = section;
	unsigned n_mux = (unsigned)c->mux_ports.last - c->mux_ports.first + 1;

	if (c->ports.first + (c->ports.first & 1) + 1 > c->ports.last)
		conf_error(errors, c, "ports", "no pair of an even and the next odd port in it");
	if (conf_role(snap) != CONF_ROLE_E)
		return;
	if ((c->mux_ports.first & 1) || n_mux % 2 != 0 || n_mux / 2 > MEDIA_MAX_MUX_PAIRS)
		conf_error(
			errors, c, "mux-ports",
			"must be one to %d pairs that begin with an even port, such as 36000-36001",
			MEDIA_MAX_MUX_PAIRS);
	if (overlap(c->ports, c->mux_ports))
		conf_error(errors, c, conf_is_set(c, "ports") ? "ports" : "mux-ports",
			   "`ports` and `mux-ports` must not share ports; with mux-ports = "
			   "36000-36011 write ports = 36012-59999");
}

const struct conf_section media_conf_section = {
	.type = "media",
	.roles = CONF_ROLE_BOTH,
	.size = sizeof(struct media_conf),
	.rows = rows,
	.n_rows = sizeof(rows) / sizeof(rows[0]),
	.help = "ports and rules of audio and video",
	.check = check,
};
