/*
 * Runs of packets as video makes them: every client sends a frame as RUN packets at once, FPS times
 * a second, and the peer echoes. All else is the harness's turnload, whose source this includes (cc
 * -I HARNESS/c); speaks the same barrier protocol.
 *
 *   turn_burst --server IP:PORT --transport udp --allocs N --run N --fps N --size N --seconds S
 */
#define main turnload_main
#include "turnload.c"
#undef main

enum { MAX_RUN = 64 };

/* One system call on a datagram socket, as a sender without pacing does. */
static void send_run(struct alloc *a, int run, size_t size)
{
	static unsigned char packets[MAX_RUN][1500];
	struct mmsghdr mm[MAX_RUN] = { 0 };
	struct iovec iov[MAX_RUN];
	uint64_t t = now_ns();
	int sent;

	if (transport != T_UDP) {
		for (int i = 0; i < run; i++)
			send_one(a, 1, size);
		return;
	}
	for (int i = 0; i < run; i++) {
		unsigned char *d = put16(put16(packets[i], 0x4000), (unsigned)size);

		memcpy(d, &t, 8);
		memcpy(d + 8, &peer_tag, 4);
		memcpy(d + 12, &a->seq, 4);
		a->seq++;
		iov[i] = (struct iovec){ packets[i], 4 + size };
		mm[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	sent = sendmmsg(a->fd, mm, (unsigned)run, MSG_DONTWAIT);
	n_sent += sent > 0 ? (unsigned)sent : 0;
	n_drop += (unsigned)(run - (sent > 0 ? sent : 0));
}

/* The clients' frames are spread evenly over the time between two frames. */
static void bursts(int run, int fps, size_t size, double secs)
{
	uint64_t t0 = now_ns(), end = t0 + (uint64_t)(secs * 1e9), done = 0;

	memset(&h_rtt, 0, sizeof h_rtt);
	n_sent = n_peer = n_back = n_drop = 0;
	peer_tag++;
	for (uint64_t t; (t = now_ns()) < end;) {
		uint64_t due = (uint64_t)((double)(t - t0) / 1e9 * fps * nactive);
		struct timespec ts = { 0, 100000 };

		for (; done < due; done++)
			send_run(&al[done % (unsigned)nactive], run, size);
		poll_once(0);
		nanosleep(&ts, NULL);
		poll_once(0);
	}
	for (uint64_t t = now_ns(); now_ns() - t < NSEC / 4;)
		poll_once(10);
}

int main(int argc, char **argv)
{
	static const struct option lo[] = { { "server", 1, 0, 's' },  { "transport", 1, 0, 't' },
					    { "user", 1, 0, 'u' },    { "pass", 1, 0, 'w' },
					    { "allocs", 1, 0, 'n' },  { "run", 1, 0, 'r' },
					    { "fps", 1, 0, 'f' },     { "size", 1, 0, 'z' },
					    { "seconds", 1, 0, 'd' }, { 0 } };
	int o, run = 10, fps = 30, size = 1200;
	double secs = 3;
	struct epoll_event ev = { .events = EPOLLIN };
	socklen_t l = sizeof peer;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((o = getopt_long(argc, argv, "", lo, NULL)) != -1) {
		switch (o) {
		case 's':
			srv = parse_addr(optarg);
			break;
		case 't':
			transport = !strcmp(optarg, "udp")   ? T_UDP
				    : !strcmp(optarg, "tcp") ? T_TCP
							     : T_TLS;
			break;
		case 'u':
			user = optarg;
			break;
		case 'w':
			pass = optarg;
			break;
		case 'n':
			nalloc = atoi(optarg);
			break;
		case 'r':
			run = atoi(optarg);
			break;
		case 'f':
			fps = atoi(optarg);
			break;
		case 'z':
			size = atoi(optarg);
			break;
		case 'd':
			secs = atof(optarg);
			break;
		default:
			return 2;
		}
	}
	if (run < 1 || run > MAX_RUN || size < 16 || size > 1400 || nalloc < 1)
		die("run 1..%d, size 16..1400", MAX_RUN);
	nactive = nalloc;
	raise_nofile();
	tls = tls_client_ctx();
	ep = epoll_create1(0);
	al = calloc((size_t)nalloc, sizeof *al);
	for (int i = 0; i < nalloc; i++)
		al[i] = (struct alloc){ .id = i, .fd = -1, .c.fd = -1 };
	peer = srv;
	peer.sin_port = 0;
	peerfd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	big_bufs(peerfd, 8 << 20);
	if (bind(peerfd, (struct sockaddr *)&peer, sizeof peer) < 0)
		die("bind peer: %s", strerror(errno));
	getsockname(peerfd, (struct sockaddr *)&peer, &l);
	epoll_ctl(ep, EPOLL_CTL_ADD, peerfd, &ev);

	barrier("start", NULL);
	run_phase(nalloc, S_ALLOC1, start_alloc);
	if (failed)
		die("%d allocations failed", failed);
	run_phase(nalloc, S_BIND, begin_bind);
	if (failed)
		die("%d binds failed", failed);
	bursts(run, fps, (size_t)size, 0.5);
	barrier("warm", NULL);
	bursts(run, fps, (size_t)size, secs);
	barrier("relay",
		"\"sent\":%llu,\"peer\":%llu,\"back\":%llu,\"drop\":%llu,\"secs\":%.3f,\"rtt_p50_"
		"us\":%.0f,\"rtt_p99_us\":%.0f",
		(unsigned long long)n_sent, (unsigned long long)n_peer, (unsigned long long)n_back,
		(unsigned long long)n_drop, secs, hist_pct(&h_rtt, 50) / 1e3,
		hist_pct(&h_rtt, 99) / 1e3);
	run_phase(nalloc, S_FREE, begin_free);
	return 0;
}
