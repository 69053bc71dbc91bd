#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "NAME.h"

static uint64_t digest; /* of the bytes that were computed, by FNV-1a (Fowler, Noll and Vo 1991) */
static double share;    /* the largest difference of an element, as a share of its tolerance */

static void add(const void *made, size_t size)
{
    const unsigned char *const bytes = (const unsigned char *)made;
    size_t i;
    for (i = 0; i < size; i++)
        digest = (digest ^ bytes[i]) * 0x100000001b3u;
}

/* Compares an element with the recorded one, unless that is NaN: the network did not compute it. */
static void compare(double made, double recorded, double absolute, double relative)
{
    const double apart = made == recorded ? 0 : fabs(made - recorded), limit = relative * fabs(recorded);
    const double allowed = limit > absolute && !isinf(limit) ? limit : absolute;
    if (isnan(recorded) || apart == 0)
        return;
    if (!(apart <= share * allowed)) /* also true for NaN */
        share = allowed > 0 && !isnan(apart) ? apart / allowed : INFINITY;
}

static int report(const char *graph, int level, int steps, uint64_t expected)
{
    printf("%s, level %d: %d steps, the worst element uses %.3g %% of its tolerance, bits %016" PRIx64 "%s\n", graph,
           level, steps, 100 * share, digest, digest == expected ? "" : ", which are not those of the export");
    return share <= 1 && digest == expected;
}
