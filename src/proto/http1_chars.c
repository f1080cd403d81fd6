#include "proto/http1_scan.h"

/* Everything below is worked out by the compiler. */
#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define ALPHA(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define HEX(c)	 (DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define TCHAR_SIGN(c)                                                                         \
	((c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || (c) == '&' || (c) == '\'' || \
	 (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' || (c) == '_' ||  \
	 (c) == '`' || (c) == '|' || (c) == '~')
#define CLASS(c)                                                                               \
	((DIGIT(c) || ALPHA(c) || TCHAR_SIGN(c) ? HTTP1_C_TOKEN : 0) |                         \
	 (((c) >= 0x20 && (c) != 0x7f) || (c) == '\t' ? HTTP1_C_VALUE : 0) |                   \
	 ((c) > 0x20 && (c) < 0x7f && (c) != '#' ? HTTP1_C_TARGET : 0) |                       \
	 (DIGIT(c) || ALPHA(c) || (c) == '-' || (c) == '.' || (c) == '_' ? HTTP1_C_NAME : 0) | \
	 (HEX(c) || (c) == ':' || (c) == '.' ? HTTP1_C_IP6 : 0) | (HEX(c) ? HTTP1_C_HEX : 0) | \
	 (DIGIT(c) ? HTTP1_C_DIGIT : 0))
#define ROW4(c)	 CLASS(c), CLASS((c) + 1), CLASS((c) + 2), CLASS((c) + 3)
#define ROW16(c) ROW4(c), ROW4((c) + 4), ROW4((c) + 8), ROW4((c) + 12)
#define ROW64(c) ROW16(c), ROW16((c) + 16), ROW16((c) + 32), ROW16((c) + 48)

const uint8_t http1_class[256] = { ROW64(0), ROW64(64), ROW64(128), ROW64(192) };

bool http1_all(struct slice s, unsigned classes)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!http1_is(s.p[i], classes))
			return false;
	}
	return s.n > 0;
}

bool http_is_token(struct slice s)
{
	return http1_all(s, HTTP1_C_TOKEN);
}
