#include "media/stats.h"

void media_stats_init(struct media_stats *s, uint32_t clock_rate)
{
	*s = (struct media_stats){ .clock_rate = clock_rate ? clock_rate : 8000 };
}

void media_stats_rtp(struct media_stats *s, const struct rtp_header *h, size_t n, int64_t now_us)
{
	rtp_source_update(&s->source, h, n, rtp_units((uint64_t)now_us, s->clock_rate));
}

void media_stats_rtcp(struct media_stats *s, const uint8_t *p, size_t n)
{
	struct rtcp_packet packet;
	struct rtcp_report report;
	size_t at = 0;

	while (rtcp_next(p, n, &at, &packet)) {
		if (!rtcp_report(&packet, 0, &report))
			continue;
		s->reported = true;
		s->remote_fraction = report.fraction;
		s->remote_lost = report.lost;
		s->remote_jitter = report.jitter;
	}
}

double media_stats_loss_percent(const struct media_stats *s)
{
	uint32_t expected = rtp_source_expected(&s->source);
	int32_t lost = rtp_source_lost(&s->source);

	return expected && lost > 0 ? 100.0 * lost / expected : 0;
}

double media_stats_jitter_ms(const struct media_stats *s)
{
	return 1000.0 * rtp_source_jitter(&s->source) / s->clock_rate;
}

double media_stats_mos_of(double loss_percent, double delay_ms)
{
	/* G.107: R = 93.2 - Id - Ie,eff; Ie 0 and Bpl 25.1 for G.711 with concealment. */
	double id = 0.024 * delay_ms + (delay_ms > 177.3 ? 0.11 * (delay_ms - 177.3) : 0);
	double r = 93.2 - id - 95 * loss_percent / (loss_percent + 25.1);

	if (r < 6.5) /* below it the formula of annex B turns around */
		return 1;
	if (r > 100)
		return 4.5;
	return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6;
}

double media_stats_mos(const struct media_stats *s)
{
	/* A jitter buffer of twice the jitter and a packet of 20 ms; the path is not known here. */
	if (s->source.received == 0)
		return 0;
	return media_stats_mos_of(media_stats_loss_percent(s), 40 + 2 * media_stats_jitter_ms(s));
}
