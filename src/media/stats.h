#ifndef MEDIA_STATS_H
#define MEDIA_STATS_H
/*
 * What is known of the quality of one direction: loss and jitter of what a peer sends us (RFC 3550
 * A.3, A.8), what the peer reports of what it got (receiver reports, where RTCP is in clear here),
 * and an estimate of the opinion score: the E-model (ITU-T G.107) with all but loss and delay at
 * their defaults, as if the codec were G.711 with concealment (G.113 appendix I). An estimate for
 * comparing calls, not a measurement.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/rtp.h"

struct media_stats {
	struct rtp_source source; /* of the newest SSRC */
	uint32_t clock_rate;
	bool reported; /* a receiver report was seen */
	uint8_t remote_fraction;
	int32_t remote_lost;
	uint32_t remote_jitter;
};

void media_stats_init(struct media_stats *s, uint32_t clock_rate);
void media_stats_rtp(struct media_stats *s, const struct rtp_header *h, size_t n, int64_t now_us);
/* A checked RTCP datagram in clear. */
void media_stats_rtcp(struct media_stats *s, const uint8_t *p, size_t n);

double media_stats_loss_percent(const struct media_stats *s);
double media_stats_jitter_ms(const struct media_stats *s);
/* 1.0 to 4.5; 0 before anything was received. */
double media_stats_mos(const struct media_stats *s);
/* loss in percent, delay in ms, mouth to ear. */
double media_stats_mos_of(double loss_percent, double delay_ms);

#endif
