#ifndef BASE_SLICE_H
#define BASE_SLICE_H
/* A read-only view of bytes that somebody else owns. Not NUL-terminated. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

#define SLICE(literal) ((struct slice){ (literal), sizeof(literal) - 1 })
#define SLICE_NONE     ((struct slice){ NULL, 0 })
/* For printf: printf("%.*s", SLICE_ARG(s)) */
#define SLICE_ARG(s) (int)(s).n, ((s).p ? (s).p : "")

static inline struct slice slice_of(const char *cstr)
{
	return cstr ? (struct slice){ cstr, strlen(cstr) } : SLICE_NONE;
}

bool slice_eq(struct slice a, struct slice b);
/* ASCII case-insensitive. */
bool slice_caseeq(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
/* Without spaces, tabs, CR and LF at both ends. */
struct slice slice_trim(struct slice s);
/* Index of the first c, or s.n. */
size_t slice_find(struct slice s, char c);
/* Cuts the part before the first sep off *rest and returns it; without a sep all of it, and *rest
 * becomes empty with p NULL. Call while (rest.p). */
struct slice slice_next(struct slice *rest, char sep);
/* Next word of *rest, words being separated by any run of spaces, tabs and commas. n 0 at the end.
 */
struct slice slice_word(struct slice *rest);
/* Digits only, whole slice, at most max. Returns false otherwise; *out is then untouched. */
bool slice_u64(struct slice s, uint64_t max, uint64_t *out);
/* The other way: the digits of v, not terminated, SLICE_U64_DIGITS at most. Returns how many. */
#define SLICE_U64_DIGITS 20
size_t slice_u64_print(char *out, uint64_t v);
/* NUL-terminated copy that the caller frees, or NULL without memory. */
char *slice_dup(struct slice s);
/* Copies with truncation, always terminates (size > 0). Returns false when cut. */
bool slice_copy(char *dst, size_t size, struct slice s);
/* The same behind the first `at` bytes of dst, which stay: for texts that are put together for each
 * request, where printf() would cost too much. Returns the length of the whole. */
size_t slice_append(char *dst, size_t size, size_t at, struct slice s);

/* Edit distance (insert, delete, replace, each 1) of two short words, case-insensitive; used for
 * "did you mean". Words over 63 bytes count as distance 64. */
unsigned slice_distance(struct slice a, struct slice b);

#endif
