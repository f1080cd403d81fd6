/* Basic credentials. First line of the input: the domain; the rest: the field's value. */
#include <stdint.h>
#include <stdlib.h>

#include "signin/basic.h"
#include "signin/name.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct slice rest = { (const char *)data, n }, domain = slice_next(&rest, '\n');
	struct signin_credentials c;
	const char *why = NULL;
	enum basic result = signin_basic_parse(rest, domain, &c, &why);

	if (result == BASIC_OK) {
		if (!signin_user_valid(slice_of(c.user)) || c.password[0] == '\0' ||
		    !signin_text_valid(slice_of(c.password)))
			abort();
	} else if (!why || c.user[0] || c.password[0]) {
		abort();
	}
	return 0;
}
